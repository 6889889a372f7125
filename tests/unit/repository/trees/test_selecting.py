"""Selectors and filters mean what restic means by them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from drkit.errors import ConfigError, NoRepository
from drkit.repository.forget.retention import KeepRules, judge
from drkit.repository.format.snapshot import Snapshot
from drkit.repository.repository import ListedSnapshot
from drkit.repository.trees.select import (
    SnapshotFilter,
    choose,
    choose_all,
    group,
    read_filter,
    read_group_keys,
)


def listed(
    id_: str, day: int, host: str = "vm", tags: tuple[str, ...] = (), paths: tuple[str, ...] = ()
) -> ListedSnapshot:
    snapshot = Snapshot(datetime(2026, 1, day, tzinfo=UTC), "00" * 32, paths, host, "root", tags)
    return ListedSnapshot(id_.ljust(64, "0"), snapshot, frozenset({"gcs"}))


ALL = [
    listed("aa01", 1, tags=("drkit", "epoch:1"), paths=("/sncp",)),
    listed("aa02", 2, host="laptop", tags=("by-hand",), paths=("/home", "/etc")),
    listed("bb03", 3, paths=("/sncp", "/etc")),
]


def ids(found: tuple[ListedSnapshot, ...]) -> list[str]:
    return [one.id[:4] for one in found]


def test_latest_is_the_newest_that_passes_the_filter() -> None:
    assert choose(ALL).listed.id.startswith("bb03")
    assert choose(ALL, "latest", read_filter(hosts=["laptop"])).listed.id.startswith("aa02")
    with pytest.raises(NoRepository, match="--host nowhere"):
        choose(ALL, "latest", read_filter(hosts=["nowhere"]))


@pytest.mark.parametrize("new_id", ["01", "ff"])
def test_of_two_of_one_time_the_one_written_anew_is_latest_whatever_its_id(new_id: str) -> None:
    old = listed("aa02", 2, tags=("drkit",))
    retagged = replace(
        listed(new_id, 2, tags=("drkit", "pinned")),
        snapshot=replace(old.snapshot, tags=("drkit", "pinned"), original=old.id),
    )
    for order in ([old, retagged], [retagged, old]):
        assert choose(order).listed is retagged
        assert choose_all(order) == (old, retagged)
        kept = judge(order, KeepRules(counts={"last": 1}), datetime(2026, 2, 1, tzinfo=UTC))
        assert [(one.listed.id, bool(one.reasons)) for one in kept] == [
            (retagged.id, True),
            (old.id, False),
        ]


def test_the_start_of_an_id_must_name_exactly_one() -> None:
    assert choose(ALL, "AA01").listed is ALL[0]
    for wrong, said in (("aa", "2 snapshots"), ("cc", "no snapshot"), ("", "no snapshot")):
        with pytest.raises(ConfigError, match=said):
            choose(ALL, wrong)


@pytest.mark.parametrize(
    ("typed", "folder"),
    [
        ("latest", "/"),
        ("latest:", "/"),
        ("bb03:/sncp/a", "/sncp/a"),
        ("bb03:sncp//a/", "/sncp/a"),
        ("bb03:/sncp/../../a:b", "/a:b"),
    ],
)
def test_a_folder_may_follow_the_selector(typed: str, folder: str) -> None:
    assert choose(ALL, typed).subfolder == folder


def test_filters_are_any_host_any_tag_list_and_all_paths() -> None:
    def found(**filters: list[str]) -> list[str]:
        return ids(choose_all(ALL, (), read_filter(**filters)))

    assert found() == ["aa01", "aa02", "bb03"]
    assert found(hosts=["vm", "laptop"]) == ["aa01", "aa02", "bb03"]
    assert found(tags=["drkit,epoch:1", "by-hand"]) == ["aa01", "aa02"]
    assert found(tags=["drkit,by-hand"]) == []
    assert found(tags=[""]) == ["bb03"], "an empty list means: without tags"
    assert found(paths=["/etc"]) == ["aa02", "bb03"]
    assert found(paths=["/etc/", "/sncp"]) == ["bb03"]


def test_several_selectors_name_each_snapshot_once() -> None:
    assert ids(choose_all(ALL, ["bb", "latest", "aa01"])) == ["aa01", "bb03"]
    with pytest.raises(ConfigError, match="folder"):
        choose_all(ALL, ["bb03:/sncp"])
    with pytest.raises(ConfigError, match="no effect"):
        choose_all(ALL, ["bb03"], SnapshotFilter(hosts=("vm",)))


def test_groups_agree_in_what_they_are_grouped_by() -> None:
    groups = group(ALL, read_group_keys("hosts"))
    assert [(one.host, ids(one.snapshots)) for one in groups] == [
        ("laptop", ["aa02"]),
        ("vm", ["aa01", "bb03"]),
    ]
    assert len(group(ALL, read_group_keys("host,paths"))) == 3
    assert [one.paths for one in group(ALL, ())] == [None]
    with pytest.raises(ConfigError, match="'size'"):
        read_group_keys("host,size")
