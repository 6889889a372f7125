"""What `drkit --help` costs, beside a typer application of two commands, in the same run.

Bar: at most 3 times the small application's, and under 0.5 s. Medians of alternating runs.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 9
MOST_TIMES = 3.0
MOST_S = 0.5

SMALL = """
import typer
app = typer.Typer()
@app.command()
def one(count: int = 1) -> None: "The first."
@app.command()
def two(name: str = "x") -> None: "The second."
app(["--help"])
"""
DRKIT = "from drkit.cli.main import app; app(['--help'])"


def main() -> bool:
    """Prints both costs; True when the bar is met."""
    spent: dict[str, list[float]] = {SMALL: [], DRKIT: []}
    for round_number in range(RUNS + 1):
        for code, times in spent.items():
            began_s = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
            if round_number:  # the first round fills the caches
                times.append(time.perf_counter() - began_s)
    small_s, drkit_s = (statistics.median(spent[code]) for code in (SMALL, DRKIT))
    print(f"two-command typer application --help  {small_s:.3f} s")
    print(
        f"drkit --help                          {drkit_s:.3f} s  "
        f"({drkit_s / small_s:.2f} times; at most {MOST_TIMES:g} times and {MOST_S:g} s)"
    )
    return drkit_s <= MOST_TIMES * small_s and drkit_s < MOST_S
