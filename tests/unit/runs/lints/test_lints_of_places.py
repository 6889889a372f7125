"""Lints of what a runbook leans on: lost sites, endpoints, certificates, baselines, credentials."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from lint_world import KNOWN, ROOT, RUNPOD, WARM, book, changed, found, only, swap

from drkit.config.models import Config
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.book.critical_path import critical_path
from drkit.runs.book.plan import asks_a_person
from drkit.runs.book.schema import Runbook, load_runbook
from drkit.runs.lints.check import check_runbook
from drkit.runs.lints.values import Known

DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({"switch__gateway__url": "http://203.0.113.10:9000"}, ("switch", "gateway", "url")),
        (
            {
                "stores__b2__endpoint": "http://203.0.113.10:9000",
                "arbiter": {"kind": "store", "store": "b2"},
            },
            ("arbiter",),
        ),
        ({"sources__qdrant__lives_on": "lambda"}, ("sources", "qdrant", "restore_to")),
        (
            {
                "sources__qdrant__lives_on": "lambda",
                "sources__qdrant__restore_to": {"url": "http://203.0.113.10:6334"},
            },
            ("sources", "qdrant", "restore_to", "url"),
        ),
        (
            {
                "stores__b2__endpoint": "http://203.0.113.10:9000",
                "sources__weights__stores": ["b2"],
            },
            ("sources", "weights", "stores"),
        ),
    ],
    ids=["gateway", "arbiter", "no place for vectors", "the same place for vectors", "mirrors"],
)
def test_R13_nothing_leans_on_a_lost_site(
    shipped: Runbook, config: Config, changes: Mapping[str, Any], at: tuple[str, ...]
) -> None:
    assert only(found(shipped, changed(config, **changes)), "lost-places").at == at


def test_R13_when_this_machine_is_lost_what_lies_on_it_is_too(
    tmp_path: Path, config: Config
) -> None:
    runbook = book(tmp_path, swap("lost: [lambda]", "lost: [lambda, vm]"))
    folder = {"kind": "folder", "role": "primary", "path": "/srv/store"}
    on_this_machine = changed(
        config,
        stores={"here": folder},
        arbiter={"kind": "folder", "path": "/srv/arbiter"},
        sources__weights__stores=["here"],
    )
    ats = [each.at for each in found(runbook, on_this_machine)]
    assert ats == [("stores",), ("arbiter",), ("switch", "gateway", "url")]


def test_R13_weights_that_served_on_a_lost_machine_are_read_here(
    shipped: Runbook, config: Config
) -> None:
    ours = {"kind": "weights", "mode": "repository", "path": "/srv/ours", "lives_on": "lambda"}
    assert found(shipped, changed(config, sources__ours=ours)) == []


def test_R13_a_secret_that_only_a_lost_vault_has_needs_a_second_place(
    shipped: Runbook, config: Config
) -> None:
    known = Known(golden=True, used_s=KNOWN.used_s, vault_host="203.0.113.10")
    alone = changed(config, switch__dns__token="vault:kv/dns#token")
    assert only(found(shipped, alone, known), "lost-places").at == ("switch", "dns", "token")
    both = changed(config, switch__dns__token=["vault:kv/dns#token", "file:/etc/dns"])
    assert found(shipped, both, known) == []


def test_R13_a_target_of_the_lost_account_is_warned_of(shipped: Runbook, config: Config) -> None:
    provider = {"kind": "lambda", "api_key": "env:LAMBDA_API_KEY", "ssh_key_name": "drkit"}
    same = changed(config, targets__coreweave__provider=provider)
    assert only(found(shipped, same), "lost-places", "warn").at[:2] == ("targets", "coreweave")


def test_R13_a_host_that_is_lost_is_no_target(shipped: Runbook, config: Config) -> None:
    provider = {"kind": "ssh", "host": "me@203.0.113.10", "identity": "file:/etc/id"}
    lost = changed(config, targets__coreweave__provider=provider)
    assert only(found(shipped, lost), "lost-places").at[-1] == "host"
    elsewhere = changed(config, targets__coreweave__provider=provider | {"host": "me@203.0.113.11"})
    assert found(shipped, elsewhere) == []


@pytest.fixture
def switching() -> Runbook:
    return load_runbook(ROOT / "runbooks" / "switch-to-standby.yaml")


def test_R13_a_standby_depends_on_nothing_that_is_lost(switching: Runbook, config: Config) -> None:
    warm = changed(config, **WARM)
    assert found(switching, warm) == []
    there = changed(warm, targets__coreweave__endpoint="http://203.0.113.10:9000")
    assert only(found(switching, there), "lost-places").at == ("targets", "coreweave", "endpoint")
    bereft = changed(warm, sources__history__lives_on="lambda")
    findings = [f for f in found(switching, bereft) if f.at == ("sources", "history", "lives_on")]
    assert only(findings, "lost-places").at == ("sources", "history", "lives_on")
    # without a standby nobody could carry it out, and what is restored elsewhere may be lost
    cold = changed(config, sources__history__lives_on="lambda")
    assert [f for f in found(switching, cold) if f.at[:1] == ("sources",)] == []
    same = changed(warm, sites__lambda__provider=warm.targets["coreweave"].provider.model_dump())
    assert only(found(switching, same), "lost-places", "warn").at[-1] == "provider"


def test_a_standby_whose_port_nothing_can_carry_is_refused(
    switching: Runbook, config: Config
) -> None:
    warm = changed(config, **WARM, targets__coreweave__provider=RUNPOD, switch__gateway__route=None)
    assert "no switch can lead to coreweave" in only(found(switching, warm), "endpoints").text


def test_detection_decision_and_a_switch_to_the_standby_take_less_than_five_minutes(
    switching: Runbook,
) -> None:
    detect_s, decide_s = 90.0, 5.0
    path = critical_path(switching.steps)
    assert detect_s + decide_s + path.minutes * 60 < 5 * 60
    assert {"fence", "verify", "cutover", "verify_public"} <= set(path.steps)
    assert asks_a_person(switching, ACTIONS) == ()


def test_a_random_port_that_nothing_can_carry_is_refused(shipped: Runbook, config: Config) -> None:
    dns_only = changed(config, targets__coreweave__provider=RUNPOD, switch__gateway__route=None)
    finding = only(found(shipped, dns_only), "endpoints")
    assert "an A record carries no port" in finding.text
    assert "gateway" in finding.instead


def test_a_name_that_stays_behind_is_warned_of(shipped: Runbook, config: Config) -> None:
    random_port = changed(config, targets__coreweave__provider=RUNPOD)
    assert "dns cannot lead" in only(found(shipped, random_port), "endpoints", "warn").text


def test_without_a_switch_nothing_can_be_moved(shipped: Runbook, config: Config) -> None:
    findings = found(shipped, changed(config, switch={}))
    assert ("endpoints", "refuse") in [(each.lint, each.level) for each in findings]


def test_users_are_held_where_there_is_an_external_api(config: Config) -> None:
    emergency = load_runbook(ROOT / "runbooks" / "emergency-rollback.yaml")
    nowhere = changed(config, service__external=None)
    assert only(found(emergency, nowhere), "external").at == ("service", "external")
    by_dns = changed(config, switch__gateway=None)
    assert only(found(emergency, by_dns), "external").at == ("switch",)


def test_a_hold_without_an_external_api_is_warned_of(shipped: Runbook, config: Config) -> None:
    nowhere = changed(config, service__external=None)
    assert only(found(shipped, nowhere), "external", "warn")


def test_a_machine_that_is_rented_can_be_given_weights(shipped: Runbook, config: Config) -> None:
    finding = only(found(shipped, changed(config, service__weights=None)), "weights")
    assert finding.at == ("service", "weights")
    assert "mode: mirror" in finding.instead


def test_what_rents_nothing_needs_no_weights(config: Config) -> None:
    emergency = load_runbook(ROOT / "runbooks" / "emergency-rollback.yaml")
    assert found(emergency, changed(config, service__weights=None)) == []


def test_somebody_says_who_terminates_tls(shipped: Runbook, config: Config) -> None:
    assert only(found(shipped, changed(config, switch__dns__tls=None)), "tls", "warn").at == (
        "switch",
        "dns",
        "tls",
    )
    at_server = changed(config, switch__dns__tls="endpoint")
    assert "--ssl-certfile" in only(found(shipped, at_server), "tls").instead
    args = ["--ssl-certfile", "/c.pem", "--ssl-keyfile", "/k.pem"]
    assert found(shipped, changed(at_server, service__args=args)) == []
    no_gateway = changed(config, switch__dns__tls="gateway", switch__gateway=None)
    assert ("tls", "refuse") in [(e.lint, e.level) for e in found(shipped, no_gateway)]


def test_a_quantised_candidate_is_a_lower_tier_or_has_no_baseline(
    shipped: Runbook, config: Config
) -> None:
    candidate = {"gpu": "L40", "quantization": "fp8", "max_usd_per_hour": 1.5}
    same = changed(config, targets__coreweave__candidates=[candidate])
    assert "tier: lower" in only(found(shipped, same), "golden").instead
    lower = changed(config, targets__coreweave__candidates=[candidate | {"tier": "lower"}])
    assert found(shipped, lower) == []


def test_a_baseline_that_was_never_recorded_is_warned_of(shipped: Runbook, config: Config) -> None:
    none = Known(golden=False, used_s=KNOWN.used_s)
    assert only(found(shipped, config, none), "golden", "warn")
    unknown = check_runbook(shipped, config, ACTIONS, Known(used_s=KNOWN.used_s))
    assert [(each.lint, each.level) for each in unknown] == [("golden", "note")]


def test_a_credential_that_did_not_work_for_a_day_is_warned_of(
    shipped: Runbook, config: Config
) -> None:
    old = Known(golden=True, used_s={**KNOWN.used_s, "stores.s3": DAY_S + 1})
    assert only(found(shipped, config, old), "credentials", "warn").at == ("stores", "s3")
    edge = Known(golden=True, used_s={**KNOWN.used_s, "stores.s3": DAY_S})
    assert found(shipped, config, edge) == []


def test_a_credential_of_which_nothing_is_known_is_not_measured(
    shipped: Runbook, config: Config
) -> None:
    (note,) = check_runbook(shipped, config, ACTIONS, Known(golden=True))
    assert (note.lint, note.level) == ("credentials", "note")
    assert "not measured" in note.text
