"""Runs the benchmarks named on the command line, or all of them, and prints their tables."""

import sys

from bench import help_cost

BENCHMARKS = {"help_cost": help_cost.main}


def main() -> int:
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark {unknown[0]}; there are {', '.join(BENCHMARKS)}")
        return 2
    missed = [name for name in names if not BENCHMARKS[name]()]
    if missed:
        print(f"bars missed: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
