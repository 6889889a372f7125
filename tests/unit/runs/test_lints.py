"""Each lint of runbooks: one runbook, or one deployment, that trips exactly it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from drkit.config.load import load_config
from drkit.config.models import Config
from drkit.operations.check_runbooks import Checked, check_runbooks
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.critical_path import critical_path, draw
from drkit.runs.lints.check import LINTS, check_runbook, refuses
from drkit.runs.lints.values import Finding, Known
from drkit.runs.plan import asks_a_person
from drkit.runs.schema import Runbook, load_runbook

ROOT = Path(__file__).parents[3]
SHIPPED = ("emergency-rollback", "failback", "primary-gpu-down", "switch-to-standby")
PARTS = (
    *("stores.gcs", "stores.s3", "stores.b2", "repository", "service", "arbiter"),
    *("targets.coreweave", "switch.dns", "switch.gateway"),
)
KNOWN = Known(golden=True, used_s=dict.fromkeys(PARTS, 60.0))
DAY_S = 86_400.0


@pytest.fixture(scope="module")
def config() -> Config:
    """The shipped deployment with one target, whose lints have nothing to say."""
    shipped = load_config(ROOT / "schedules.yaml")
    values = shipped.model_dump(mode="json")
    values["targets"] = {"coreweave": values["targets"]["coreweave"]}
    values["switch"]["dns"]["tls"] = "edge"
    return Config.model_validate(values)


def changed(config: Config, **changes: Any) -> Config:
    """`config` with values at dotted paths replaced (None: taken out)."""
    values = config.model_dump(mode="json")
    for dotted, value in changes.items():
        *path, last = dotted.split("__")
        place = values
        for part in path:
            place = place[int(part)] if isinstance(place, list) else place[part]
        if value is None:
            place.pop(last)
        else:
            place[last] = value
    return Config.model_validate(values)


def book(tmp_path: Path, change: Callable[[str], str], name: str = "primary-gpu-down") -> Runbook:
    text = (ROOT / "runbooks" / f"{name}.yaml").read_text()
    after = change(text)
    assert after != text
    path = tmp_path / f"{name}.yaml"
    path.write_text(after)
    return load_runbook(path)


def found(runbook: Runbook, config: Config, known: Known = KNOWN) -> list[Finding]:
    return [f for f in check_runbook(runbook, config, ACTIONS, known) if f.level != "note"]


def only(findings: list[Finding], lint: str, level: str = "refuse") -> Finding:
    assert [(each.lint, each.level) for each in findings] == [(lint, level)], findings
    assert findings[0].text
    assert findings[0].instead
    return findings[0]


def swap(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


@pytest.fixture
def shipped() -> Runbook:
    return load_runbook(ROOT / "runbooks" / "primary-gpu-down.yaml")


@pytest.mark.parametrize("name", SHIPPED)
def test_nothing_is_to_say_of_the_shipped_runbooks(name: str, config: Config) -> None:
    findings = found(load_runbook(ROOT / "runbooks" / f"{name}.yaml"), config)
    assert findings == []


def test_every_lint_has_a_test_here() -> None:
    text = Path(__file__).read_text()
    for lint in LINTS:
        assert f'"{lint}"' in text, lint


def test_traffic_is_not_led_to_a_site_without_a_proof(tmp_path: Path, config: Config) -> None:
    runbook = book(
        tmp_path,
        lambda text: text.replace(
            "needs: [verify, hold]", "needs: [deploy, restore, hold]"
        ).replace('      verified_at: "${steps.verify.verified_at}"\n', ""),
    )
    finding = only(found(runbook, config), "proof")
    assert "`cutover`" in finding.text


def test_a_proof_that_drills_leave_out_is_none_for_drills(tmp_path: Path, config: Config) -> None:
    runbook = book(
        tmp_path, swap("    action: verify\n", "    action: verify\n    modes: [failover]\n")
    )
    assert "in a drill" in only(found(runbook, config), "proof").text


def test_no_point_is_chosen_before_the_fence(tmp_path: Path, config: Config) -> None:
    runbook = book(tmp_path, swap("    needs: [fence]\n", "    needs: [preflight]\n"))
    findings = found(runbook, config)
    assert {each.lint for each in findings} == {"fence"}
    assert {each.at[1] for each in findings} == {5, 6}  # point and restore
    assert refuses(findings)


def test_a_final_point_is_not_made_before_the_target_is_fenced(
    tmp_path: Path, config: Config
) -> None:
    def unfenced(text: str) -> str:
        loose = text.replace("    needs: [fence]\n", "    needs: [hold]\n")
        return loose.replace(', quiet: "${steps.fence.fingerprints}"', "")

    runbook = book(tmp_path, unfenced, name="failback")
    findings = found(runbook, config)
    assert {each.lint for each in findings} == {"fence"}
    assert "fence_target" in findings[0].instead


def test_what_costs_money_is_given_back(tmp_path: Path, config: Config) -> None:
    runbook = book(
        tmp_path,
        swap("    on_failure: fallback\n", "    on_failure: fallback\n    rollback: {none: x}\n"),
    )
    assert only(found(runbook, config), "rollback").at == ("steps", 2, "rollback")


def test_a_run_has_a_bound_on_what_it_may_cost(shipped: Runbook, config: Config) -> None:
    without = changed(config, targets__coreweave__limits__usd_per_run=None)
    finding = only(found(shipped, without), "price")
    assert finding.in_config
    assert "usd_per_run: 20" in finding.instead
    limits = shipped.limits.model_copy(update={"usd_per_run": 5.0})
    assert found(shipped.model_copy(update={"limits": limits}), without) == []


@pytest.mark.parametrize("step", ["acquire", "deploy", "fence", "restore", "cutover", "commit"])
def test_nothing_that_changes_something_is_gone_on_without_but_hold(
    shipped: Runbook, config: Config, step: str
) -> None:
    steps = tuple(
        each.model_copy(update={"on_failure": "continue"}) if each.id == step else each
        for each in shipped.steps
    )
    finding = only(found(shipped.model_copy(update={"steps": steps}), config), "continue")
    assert f"`{step}`" in finding.text


def test_the_longest_way_fits_into_the_objective(tmp_path: Path, config: Config) -> None:
    runbook = book(tmp_path, swap("rto_min: 35", "rto_min: 25"))
    finding = only(found(runbook, config), "budget")
    assert "26 min, 1 min more than rto_min 25" in finding.text
    assert "preflight - fence - point - restore - verify - cutover" in finding.text


def test_a_step_of_a_phase_has_a_budget(tmp_path: Path, config: Config) -> None:
    runbook = book(tmp_path, swap("    budget_min: 14\n", ""))
    assert only(found(runbook, config), "budget", "warn").at == ("steps", 6, "budget_min")


def test_one_step_at_a_time_moves_traffic(tmp_path: Path, config: Config) -> None:
    runbook = book(tmp_path, swap("needs: [verify, hold]", "needs: [verify]"))
    assert "`hold` and `cutover`" in only(found(runbook, config), "one-mover").text


def test_users_who_were_led_somewhere_are_asked_whether_they_arrived(
    tmp_path: Path, config: Config
) -> None:
    runbook = book(tmp_path, swap("    action: verify_public\n", "    action: observe\n"))
    assert "`cutover`" in only(found(runbook, config), "public", "warn").text


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("${target.colour}", "no `colour`"),
        ("${target.brought}", "no `brought`"),
        ("${secret:TOKEN}", "cannot be resolved"),
    ],
)
def test_a_reference_asks_for_what_is_known(
    tmp_path: Path, config: Config, reference: str, said: str
) -> None:
    runbook = book(tmp_path, swap('"${steps.restore.restored}"', f'"{reference}"'))
    findings = found(runbook, config)
    assert {each.lint for each in findings} == {"references"}
    assert said in findings[0].text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("token", "plain-words"),
        ("api_key", "x"),
        ("url", "http://me:hunter2@example.org/"),
        ("header", "Bearer abc.def"),
        ("note", "AKIA" + "ABCDEFGHIJ" + "KLMNOP"),
        ("note", "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF"),
    ],
)
def test_no_secret_stands_in_a_runbook(
    tmp_path: Path, config: Config, key: str, value: str
) -> None:
    runbook = book(
        tmp_path,
        swap("    action: fence\n", f'    action: fence\n    with: {{{key}: "{value}"}}\n'),
    )
    finding = only(found(runbook, config), "secrets")
    assert value not in finding.text + finding.instead


def test_no_secret_stands_in_an_address_to_notify(tmp_path: Path, config: Config) -> None:
    address = "https://anna:hunter2@example.org/hook"
    runbook = book(tmp_path, swap("kind: failover\n", f"kind: failover\nnotify: ['{address}']\n"))
    finding = only(found(runbook, config), "secrets")
    assert finding.at == ("notify", 0)
    assert "hunter2" not in finding.text + finding.instead


@pytest.mark.parametrize("value", ["anna", "ticket 4711", "${steps.acquire.instance_id}"])
def test_words_are_no_secrets(tmp_path: Path, config: Config, value: str) -> None:
    runbook = book(
        tmp_path,
        swap(
            "    action: verify_public\n    with: {instance:",
            f'    action: verify_public\n    with: {{note: "{value}", instance:',
        ),
    )
    assert found(runbook, config) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("lost: [lambda]", "lost: [lambda, moon]", "`moon` is no site"),
        ("kind: failover", "kind: failover\nservice: another", "no service `another`"),
    ],
)
def test_names_are_those_of_the_deployment(
    tmp_path: Path, config: Config, old: str, new: str, said: str
) -> None:
    assert said in only(found(book(tmp_path, swap(old, new)), config), "names").text


def test_a_runbook_is_called_as_its_file(shipped: Runbook, config: Config) -> None:
    known = Known(golden=True, used_s=KNOWN.used_s, file_name="gpu-down")
    assert "name: gpu-down" in only(found(shipped, config, known), "names").instead


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


WARM = {
    "targets__coreweave__standby": True,
    "targets__coreweave__endpoint": "http://198.51.100.7:8000",
}


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


RUNPOD = {"kind": "runpod", "api_key": "env:RUNPOD_API_KEY"}


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


def test_what_no_runbook_can_be_is_a_finding_of_its_structure(
    tmp_path: Path, config: Config
) -> None:
    def check(name: str, text: str) -> Checked:
        (tmp_path / f"{name}.yaml").write_text(text)
        (one,) = check_runbooks(
            tmp_path,
            [name],
            config=config,
            config_path=ROOT / "schedules.yaml",
            actions=ACTIONS,
            known=lambda _name: KNOWN,
        )
        return one

    head = "drkit: 1\nname: x\nkind: failover\nlost: [lambda]\nsteps:\n"
    cycle = check(
        "cycle",
        head + "  - {id: a, phase: dns, action: hold, needs: [b]}\n"
        "  - {id: b, phase: dns, action: hold, needs: [a]}\n",
    )
    unknown = check(
        "unknown",
        head + "  - {id: a, phase: dns, action: holdd}\n  - {id: b, phase: dns, action: hold}\n",
    )
    twice = check("twice", head + 2 * "  - {id: a, phase: dns, action: hold}\n")
    nothing = check("nothing", "")
    unlost = check(
        "unlost", head.replace("lost: [lambda]\n", "") + "  - {id: a, phase: dns, action: hold}\n"
    )
    for one, line, said in (
        (cycle, 6, "waits for itself"),
        (unknown, 6, "did you mean `hold`?"),
        (twice, 7, "earlier step"),
        (nothing, 0, "is empty"),
        (unlost, 1, "names the sites that are gone"),
    ):
        assert one.refused
        first = one.findings[0]
        assert (first.lint, first.line) == ("structure", line)
        assert said in str(first)


def test_a_finding_says_file_line_field_and_what_to_write(tmp_path: Path, config: Config) -> None:
    text = (ROOT / "runbooks" / "primary-gpu-down.yaml").read_text()
    path = tmp_path / "primary-gpu-down.yaml"
    path.write_text(text.replace("needs: [verify, hold]", "needs: [verify]"))
    (one,) = check_runbooks(
        tmp_path,
        [],
        config=config,
        config_path=ROOT / "schedules.yaml",
        actions=ACTIONS,
        known=lambda _name: KNOWN,
    )
    (finding,) = one.findings
    line = path.read_text().splitlines()[finding.line - 1]
    assert line.strip().startswith("needs: [verify]")
    assert str(finding).startswith(f"{path}:{finding.line}: steps[8].needs: ")
    assert str(finding).endswith("[one-mover]")


def test_a_finding_of_the_deployment_names_its_line_there(tmp_path: Path) -> None:
    config = load_config(ROOT / "schedules.yaml")
    found = check_runbooks(
        ROOT / "runbooks",
        ["primary-gpu-down"],
        config=config,
        config_path=ROOT / "schedules.yaml",
        actions=ACTIONS,
        known=lambda _name: KNOWN,
    )
    warned = [each for each in found[0].findings if each.lint == "endpoints"]
    lines = (ROOT / "schedules.yaml").read_text().splitlines()
    assert ["runpod" in lines[each.line - 1] for each in warned] == [True, False]
    assert "vast" in lines[warned[1].line - 1]


def test_the_longest_way_is_the_documented_26_minutes(shipped: Runbook) -> None:
    path = critical_path(shipped.steps)
    assert path.minutes == 26
    assert path.slack_min(35) == 9
    assert path.steps[0] == "preflight"
    assert path.steps[-1] == "verify_public"
    without = critical_path(shipped.steps, skipped=frozenset({"restore", "point"}))
    assert without.minutes == 1 + 3 + 7 + 4 + 4 + 1
    assert "acquire" in without.steps


def test_the_graph_shows_every_step_and_the_longest_way(shipped: Runbook) -> None:
    lines = draw(shipped.steps, critical_path(shipped.steps))
    assert len(lines) == len(shipped.steps)
    longest = {line.split()[0] for line in lines if "=" in line}
    assert longest == set(critical_path(shipped.steps).steps)
    assert next(line for line in lines if line.startswith("verify ")).endswith(
        "after deploy, restore"
    )
