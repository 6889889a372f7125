"""Each thing that can be wrong with a store is found, told with advice, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from drkit.clock import ManualClock
from drkit.config.models import Config
from drkit.errors import MissingCredential
from drkit.operations.readiness.doctor import (
    PROBES,
    Diagnosis,
    examine_secrets,
    examine_stores,
    summary,
    wanted_of,
)
from drkit.operations.readiness.doctor_rules import Finding, judge
from drkit.secrets.memory import MemorySecrets
from drkit.stores.inspection import Inspection, LifecycleRule
from drkit.stores.interface import Store
from drkit.stores.memory import MemoryStore, Trouble

CLOUD: dict[str, Any] = {
    "kind": "gcs",
    "role": "primary",
    "bucket": "b",
    "region": "europe-west4",
    "prefix": "here",
    "credentials": "env:KEY",
}
SOUND = Inspection(
    place="gs://b/here/",
    prefix="here/",
    region="europe-west4",
    skew_s=0.4,
    versioned=False,
    soft_delete_s=86400.0,
    lifecycle=(),
    lockable=True,
    public=False,
)


def config(store: dict[str, Any] | None = None, **more: Any) -> Config:
    source = {"kind": "tree", "path": "/x", **more}
    values = {
        "drkit": 1,
        "stores": {"cloud": {**CLOUD, **(store or {})}},
        "repository": {"password": "env:PASSWORD"},
        "sources": {"sncp": source},
    }
    return Config.model_validate(values)


def bad(found: Inspection, store: dict[str, Any] | None = None, **more: Any) -> list[Finding]:
    findings = judge(wanted_of("cloud", config(store, **more)), found)
    return [finding for finding in findings if finding.level in ("warning", "problem")]


def test_a_sound_store_has_nothing_to_mend() -> None:
    assert bad(SOUND) == []
    assert bad(SOUND, residency="eu") == []


LOCK = {"object_lock": {"mode": "governance", "days": 30}}


@pytest.mark.parametrize(
    ("change", "store", "check", "level", "word"),
    [
        ({"lacking": ("storage.objects.list",)}, {}, "rights", "problem", "may not"),
        ({"lacking": ("storage.objects.delete",)}, {}, "rights", "warning", "pruned"),
        ({"excess": ("storage.buckets.delete",)}, {}, "rights", "warning", "buckets.delete"),
        ({"skew_s": -400.0}, {}, "clock", "problem", "differ by 6 min"),
        ({"skew_s": 60.0}, {}, "clock", "warning", "differ by 1 min"),
        ({"region": "us-east1"}, {}, "region", "problem", "lies in us-east1"),
        ({"soft_delete_s": 0.0}, {}, "versioning", "warning", "gone at once"),
        ({"versioned": True}, {}, "versioning", "warning", "bills for ever"),
        ({"retention_s": 864000.0}, {}, "object-lock", "warning", "for 10 d"),
        ({"lockable": False}, LOCK, "object-lock", "problem", "does not allow"),
        ({"public": True}, {}, "public", "warning", "public"),
        ({"free_bytes": 1 << 30}, {}, "room", "warning", "1.0 GiB"),
    ],
)
def test_what_is_wrong_is_found_with_advice(
    change: dict[str, Any], store: dict[str, Any], check: str, level: str, word: str
) -> None:
    (finding,) = bad(replace(SOUND, **change), store)
    assert (finding.subject, finding.check, finding.level) == ("cloud", check, level)
    assert word in finding.text
    assert finding.advice


@pytest.mark.parametrize(
    ("rule", "level"),
    [
        (LifecycleRule("delete", days=30), "problem"),
        (LifecycleRule("delete", "here/repository/", days=400), "problem"),
        (LifecycleRule("thaw", "he", days=30), "problem"),
        (LifecycleRule("cool", days=30), "warning"),
        (LifecycleRule("delete", "elsewhere/", days=1), None),
        (LifecycleRule("delete", days=30, old_only=True), None),
        (LifecycleRule("abort-uploads", days=7), None),
    ],
)
def test_a_lifecycle_rule_is_compared_with_what_snapshots_need(
    rule: LifecycleRule, level: str | None
) -> None:
    found = [finding.level for finding in bad(replace(SOUND, lifecycle=(rule,)))]
    assert found == ([level] if level else [])


def test_old_versions_that_a_rule_removes_are_no_cost_for_ever() -> None:
    rule = LifecycleRule("delete", days=7, old_only=True)
    assert bad(replace(SOUND, versioned=True, lifecycle=(rule,))) == []


@pytest.mark.parametrize(
    ("found", "configured", "residency", "fine"),
    [
        ("europe-west4", None, "eu", True),
        ("us-east1", None, "eu", False),
        (None, "europe-west1", "eu", True),
        (None, None, "eu", False),
    ],
)
def test_a_source_that_must_stay_somewhere_is_compared_with_the_region(
    found: str | None, configured: str | None, residency: str, fine: bool
) -> None:
    inspection = replace(SOUND, region=found)
    checks = [one.check for one in bad(inspection, {"region": configured}, residency=residency)]
    assert checks == ([] if fine else ["residency"])


def test_what_could_not_be_asked_is_said() -> None:
    findings = judge(wanted_of("cloud", config()), replace(SOUND, unasked=("lifecycle: denied",)))
    assert [one.text for one in findings if one.check == "settings"] == [
        "not asked: lifecycle: denied"
    ]


class Pretending(MemoryStore):
    """Takes conditions and ignores them, as some servers do."""

    def put_if_absent(self, name: str, data: bytes) -> str:
        self.put(name, data, size_bytes=len(data))
        return "1"

    def replace_if(self, name: str, data: bytes, version: str) -> str:
        return self.put_if_absent(name, data)


class Plain:
    """A memory store without conditional writes."""

    def __init__(self) -> None:
        self.inner = MemoryStore("cloud")
        for method in ("put", "get", "stat", "list", "delete", "close", "name"):
            setattr(self, method, getattr(self.inner, method))


def examined(store: Any, **more: Any) -> list[Finding]:
    opener = store if callable(store) else lambda _name: store
    values = {**config().model_dump(mode="json", exclude_none=True), **more}
    return list(examine_stores(Config.model_validate(values), opener, clock=ManualClock()))


def test_a_store_is_reached_and_left_as_it_was() -> None:
    store = MemoryStore("cloud")
    store.put("a", b"x", size_bytes=1)
    findings = examined(Plain())
    assert "conditional" not in {one.check for one in findings}
    findings = [one for one in examined(store) if one.check != "conditional"]
    levels = {("reach", "ok"), ("throughput", "ok"), ("repository", "note")}
    assert {(one.check, one.level) for one in findings} == levels
    assert list(store.objects) == ["a"]


def test_a_store_without_the_repository_that_others_hold_is_warned_of() -> None:
    stores = {name: MemoryStore(name) for name in ("cloud", "other")}
    stores["other"].put("repository/config", b"x", size_bytes=1)
    values = config().model_dump(mode="json", exclude_none=True)
    values["stores"]["other"] = values["stores"]["cloud"] | {"bucket": "other"}
    open_one = stores.__getitem__
    found = list(examine_stores(Config.model_validate(values), open_one, clock=ManualClock()))
    (finding,) = [one for one in found if one.check == "repository"]
    assert (finding.subject, finding.level) == ("cloud", "warning")
    assert "drkit init --store cloud" in finding.advice


def test_a_credential_that_may_not_delete_is_right_for_an_archive() -> None:
    store = MemoryStore("cloud")
    store.fail(Trouble.REFUSES, calls=["delete"])
    (finding,) = [one for one in examined(store) if one.check == "access"]
    assert finding.level == "warning"
    assert "may not delete" in finding.text and "archive" in finding.advice
    assert [len(data) for data in store.objects.values()] == [4096]


@pytest.mark.parametrize("call", ["put", "get", "list"])
def test_a_store_that_refuses_something_is_a_problem_that_names_it(call: str) -> None:
    store = MemoryStore("cloud")
    store.fail(Trouble.REFUSES, calls=[call])
    (finding,) = examined(store)
    assert (finding.check, finding.level) == ("access", "problem")
    assert f"refuses to {call}" in finding.text
    assert not [name for name in store.objects if name.startswith(PROBES)]


def test_a_store_that_answers_with_other_bytes_is_not_trusted() -> None:
    store = MemoryStore("cloud")
    store.fail(Trouble.DAMAGES)
    (finding,) = examined(store)
    assert (finding.check, finding.level) == ("access", "problem")
    assert store.objects == {}


def test_a_store_that_does_not_answer_is_asked_nothing_more() -> None:
    store = MemoryStore("cloud")
    store.down = True
    (finding,) = examined(store)
    assert (finding.check, finding.level) == ("reach", "problem")
    assert [call for call, _ in store.calls] == ["put"]


def test_a_store_without_its_credential_is_a_finding_and_no_end() -> None:
    def lacking(_name: str) -> Store:
        raise MissingCredential("a credential is missing: $KEY", hint="set it")

    (finding,) = examined(lacking)
    assert (finding.check, finding.level, finding.advice) == ("reach", "problem", "set it")


@pytest.mark.parametrize(
    ("honest", "needed", "level"),
    [(True, True, "ok"), (False, True, "problem"), (False, False, "note")],
)
def test_conditional_writes_are_proved_where_the_arbiter_needs_them(
    honest: bool, needed: bool, level: str
) -> None:
    arbiter = {"arbiter": {"kind": "store", "store": "cloud"}} if needed else {}
    store = MemoryStore("cloud") if honest else Pretending("cloud")
    levels = {one.check: one.level for one in examined(store, **arbiter)}
    assert levels["conditional"] == level
    assert store.objects == {}


def test_an_arbiter_in_a_store_that_cannot_compare_is_a_problem() -> None:
    arbiter = {"kind": "store", "store": "cloud"}
    levels = {one.check: one.level for one in examined(Plain(), arbiter=arbiter)}
    assert levels["conditional"] == "problem"


def test_each_secret_is_a_finding_and_none_is_shown() -> None:
    secrets = MemorySecrets({"env:A": "planted"})
    asked = [("stores.x", ("env:A",)), ("stores.y", ("env:B", "file:/c"))]
    fine, lacking = examine_secrets(asked, secrets.missing)
    assert (fine.level, lacking.level) == ("ok", "problem")
    assert "env:B is not set" in lacking.text
    assert "planted" not in f"{fine}{lacking}"


def test_a_fallback_that_is_not_there_is_said_and_one_from_afar_alone_is_noted() -> None:
    secrets = MemorySecrets({"env:A": "x", "vault:a/b#c": "x"})
    asked = [
        ("one", ("env:B", "env:A")),
        ("two", ("vault:a/b#c",)),
        ("three", ("env:A", "vault:a/b#c")),
    ]
    one, two, three = examine_secrets(asked, secrets.missing)
    assert (one.level, two.level, three.level) == ("ok", "note", "ok")
    assert "not: env:B is not set" in one.text
    assert "this machine" in two.advice


def test_the_verdict_is_of_the_worst_finding() -> None:
    def finding(check: str, level: Any) -> Finding:
        return Finding("cloud", check, level, "text")

    warning, reach = finding("public", "warning"), finding("reach", "problem")
    assert Diagnosis((warning,)).worst == "ok"
    assert Diagnosis((warning, reach)).worst == "unreachable"
    assert Diagnosis((reach, finding("lifecycle", "problem"))).worst == "problem"
    assert summary([warning, reach]) == {"problem": 1, "warning": 1, "note": 0, "ok": 0}
