"""Runs the cases named by `--only`, or all, beside their peers; prints tables, keeps results."""

from __future__ import annotations

import argparse
import compileall
import importlib
import pkgutil
import shutil
import sys
from datetime import UTC, datetime

from bench import cases
from bench.case import Bench, Case, Measured, Verdict
from bench.measure import CommandFailed, measure
from bench.places import PROJECT, find_peers, folder, versions
from bench.report import print_bars, print_table, write_results

ROUNDS = 5
_SHARED_BYTES = 3 << 30


def all_cases() -> dict[str, Case]:
    """Every `CASE` of the files in bench/cases, by name."""
    found = {}
    for module in pkgutil.iter_modules(cases.__path__):
        case: Case = importlib.import_module(f"bench.cases.{module.name}").CASE
        found[case.name] = case
    return found


def main() -> int:
    """Exit status 1 when a bar is missed, 2 for a case that there is not."""
    known = all_cases()
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(known), metavar="NAME")
    parser.add_argument("--rounds", type=int, help=f"runs of each contender ({ROUNDS})")
    parser.add_argument("--scale", type=float, default=1.0, help="of the data, for a trial")
    parser.add_argument("--list", action="store_true", help="say which cases there are")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(f"{case.name:24} {case.title}" for case in known.values()))
        return 0
    compileall.compile_dir(PROJECT / "drkit", quiet=1)
    peers = find_peers()
    found_versions = versions(peers)
    print("\n".join(f"{name}: {version}" for name, version in found_versions.items()))
    missed = []
    judged: dict[str, list[Verdict]] = {}
    names = arguments.only or list(known)
    needs_bytes = max(known[name].needs_bytes for name in names) * arguments.scale
    with folder(_SHARED_BYTES + int(needs_bytes)) as root:
        print(f"repositories in {root.parent}", flush=True)
        for name in names:
            case = known[name]
            bench = Bench(root / name, root / "shared", arguments.scale, peers)
            rounds = arguments.rounds or case.rounds or ROUNDS
            try:
                medians, verdicts = _run(case, bench, rounds)
            except CommandFailed as error:
                print(f"\n{name}: {error}")
                missed.append(name)
                continue
            print_table(case, medians, verdicts)
            judged[name] = verdicts
            if arguments.scale == 1:
                day = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
                write_results({name: (case, medians, verdicts)}, versions=found_versions, day=day)
                missed += [name] if any(verdict.met is False for verdict in verdicts) else []
    print_bars(judged, found_versions)
    if missed:
        print(f"\nbars missed: {', '.join(missed)}")
    return 1 if missed else 0


def _run(case: Case, bench: Bench, rounds: int) -> tuple[dict[str, Measured], list[Verdict]]:
    bench.root.mkdir(parents=True)
    bench.shared.mkdir(exist_ok=True)
    try:
        medians = measure(case.prepare(bench), rounds)
    finally:
        shutil.rmtree(bench.root, ignore_errors=True)
    return medians, [bar.judge(medians) for bar in case.bars]


if __name__ == "__main__":
    sys.exit(main())
