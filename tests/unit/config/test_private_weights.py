"""`mode: repository`: weights that are kept as trees are, and no target is ever given."""

from __future__ import annotations

from pathlib import Path

import pytest

from drkit.config.load import InvalidDocument, load_config
from drkit.config.models import Config
from drkit.config.sources import PrivateWeights, TreeSource, WeightsSource
from drkit.operations.costs.cost import monthly_cost

SHIPPED = load_config(Path(__file__).parents[3] / "schedules.yaml")
SMALLEST = """\
drkit: 1
stores:
  disk: {kind: folder, role: primary, path: /mnt/disk}
repository: {password: "env:RESTIC_PASSWORD"}
sources:
  ours:
    kind: weights
    mode: repository
    path: /srv/ours
"""


def load(tmp_path: Path, text: str) -> Config:
    (tmp_path / "schedules.yaml").write_text(text)
    return load_config(tmp_path / "schedules.yaml")


def test_they_need_a_path_and_no_store_and_are_written_as_they_were_read(tmp_path: Path) -> None:
    ours = load(tmp_path, SMALLEST).sources["ours"]
    assert isinstance(ours, PrivateWeights) and isinstance(ours, TreeSource)
    assert not isinstance(ours, WeightsSource)
    again = Config.model_validate(load(tmp_path, SMALLEST).model_dump(mode="json"))
    assert again.sources["ours"] == ours


def test_weights_are_mirrored_where_nothing_is_said() -> None:
    assert isinstance(SHIPPED.sources["weights"], WeightsSource)


@pytest.mark.parametrize(
    ("change", "line", "field", "text"),
    [
        (("path: /srv/ours", "path: /srv/ours\n    stores: [disk]"), 10, "stores", "unknown key"),
        (("path: /srv/ours", "pth: /srv/ours"), 9, "pth", "unknown key"),
        (("mode: repository", "mode: repositry"), 8, "mode", "`repositry` is not 'mirror'"),
        (("    mode: repository\n", ""), 6, "model", "missing"),
    ],
)
def test_what_is_wrong_is_told_by_its_line(
    tmp_path: Path, change: tuple[str, str], line: int, field: str, text: str
) -> None:
    with pytest.raises(InvalidDocument) as caught:
        load(tmp_path, SMALLEST.replace(*change))
    found = {problem.field: problem for problem in caught.value.problems}
    assert (found[f"sources.ours.{field}"].line, text) == (
        line,
        found[f"sources.ours.{field}"].text[: len(text)],
    )


def test_K1_a_service_cannot_be_brought_up_with_them(tmp_path: Path) -> None:
    raw = SHIPPED.model_dump(mode="json")
    raw["sources"]["ours"] = {"kind": "weights", "mode": "repository", "path": "/srv/ours"}
    assert Config.model_validate(raw)
    raw["service"]["weights"] = "ours"
    with pytest.raises(ValueError, match="no rented machine gets"):
        Config.model_validate(raw)


def test_they_are_paid_for_in_every_store() -> None:
    raw = SHIPPED.model_dump(mode="json")
    raw["sources"]["ours"] = {"kind": "weights", "mode": "repository", "path": "/srv/ours"}
    before, after = monthly_cost(SHIPPED), monthly_cost(Config.model_validate(raw))
    for old, new in zip(before.stores, after.stores, strict=True):
        assert new.stored_bytes - old.stored_bytes == pytest.approx(8e9, rel=0.01)
