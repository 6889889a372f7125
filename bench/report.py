"""The table that is printed, and bench/results.json, which keeps the cases that did not run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from bench.case import DRKIT, Case, Measured, Verdict

RESULTS = Path(__file__).parent / "results.json"


def print_table(case: Case, medians: Mapping[str, Measured], verdicts: list[Verdict]) -> None:
    print(f"\n{case.name}: {case.title}")
    print(
        f"  {'':24}{'wall s':>9}{'ratio':>8}{'best s':>9}{'CPU s':>9}{'ratio':>8}"
        f"{'peak MB':>9}{'others':>8}"
    )
    own = medians.get(DRKIT)
    for name, found in medians.items():
        wall = f"{found.wall_s / own.wall_s:.2f}" if own else ""
        cpu = f"{found.cpu_s / own.cpu_s:.2f}" if own and own.cpu_s else ""
        print(
            f"  {name:24}{found.wall_s:9.3f}{wall:>8}{min(found.walls_s):9.3f}{found.cpu_s:9.2f}"
            f"{cpu:>8}{found.peak_mb:9.0f}{found.foreign_cpus:8.2f}"
        )
        for key, value in found.extra.items():
            print(f"    {key}: {value:g}")
    for verdict in verdicts:
        print(f"  bar: {verdict.text}: {_judged(verdict)}", flush=True)


def print_bars(verdicts: Mapping[str, list[Verdict]], versions: Mapping[str, str]) -> None:
    """Every bar of the cases that ran, beside its figure, and what ran."""
    print("\n" + "; ".join(f"{name}: {version}" for name, version in versions.items()))
    for name, found in verdicts.items():
        for verdict in found:
            print(f"  {name:24}{verdict.text:64}{_judged(verdict)}")


def _judged(verdict: Verdict) -> str:
    figure = "not measured" if verdict.value is None else f"{verdict.value:.2f}"
    met = {True: "met", False: "MISSED", None: ""}[verdict.met]
    stretch = {True: ", stretch met", False: "", None: ""}[verdict.stretch_met]
    return f"{figure} {met}{stretch}"


def write_results(
    ran: Mapping[str, tuple[Case, Mapping[str, Measured], list[Verdict]]],
    *,
    versions: Mapping[str, str],
    day: str,
    path: Path = RESULTS,
) -> None:
    """Replaces the results of the cases in `ran`; each says when and with what it ran."""
    try:
        cases = json.loads(path.read_text())["cases"]
    except (OSError, ValueError, KeyError):
        cases = {}
    for name, (case, medians, verdicts) in ran.items():
        cases[name] = {
            "title": case.title,
            "day": day,
            "versions": dict(versions),
            "contenders": {who: _rounded(found) for who, found in medians.items()},
            "bars": [asdict(verdict) for verdict in verdicts],
        }
    about = "Medians. others: CPUs that other processes of the machine used meanwhile."
    content = {"about": about, "cases": dict(sorted(cases.items()))}
    path.write_text(json.dumps(content, indent=1, sort_keys=False) + "\n")


def _rounded(found: Measured) -> dict[str, object]:
    return {
        key: round(value, 4) if isinstance(value, float) else value
        for key, value in asdict(found).items()
    }
