"""The pages say what is so: the diagrams are those of the tables, and every rule has its test."""

from __future__ import annotations

import re
from pathlib import Path

import machines
import pytest

PROJECT = Path(__file__).parents[2]
MODEL = (PROJECT / "docs" / "model.md").read_text()
RULES = {"S": 14, "K": 6, "T": 3, "R": 13, "H": 5, "Q": 4}
ALL = [f"{letter}{number}" for letter, most in RULES.items() for number in range(1, most + 1)]
NO_TEST: set[str] = set()
"""Without a test of their name; docs/model.md then says so, under "Not covered"."""

TESTS = {
    name
    for path in (PROJECT / "tests").rglob("test_*.py")
    for name in re.findall(r"^\s*(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
}


def _named(rule: str) -> set[str]:
    return {name for name in TESTS if re.match(rf"test_(?:[A-Z]\d+_)*{rule}_", name)}


def test_the_diagrams_are_those_of_the_tables() -> None:
    assert machines.PAGE.read_text() == machines.page(), "run: python tests/tools/machines.py"


@pytest.mark.parametrize("rule", ALL)
def test_every_rule_has_a_test_of_its_name_or_the_page_says_that_it_has_none(rule: str) -> None:
    assert bool(_named(rule)) is (rule not in NO_TEST)
    if rule in NO_TEST:
        assert f"{rule} (" in MODEL.split("## Not covered")[1]


@pytest.mark.parametrize("rule", [rule for rule in ALL if rule[0] in "TRH"])
def test_the_page_names_what_covers_each_rule_of_time_runs_and_health(rule: str) -> None:
    rows = [line.split("|") for line in MODEL.splitlines() if line.startswith(f"| {rule} |")]
    assert len(rows) == 1
    (row,) = rows
    if named := re.search(r"`(test_\w+)`", row[2]):
        assert named[1] in TESTS
        assert named[1] in _named(rule)
    else:
        guards = (PROJECT / "tests" / "model" / "test_guards.py").read_text()
        assert f"def test_{rule}_" in guards
        assert row[3].strip() == "found"
