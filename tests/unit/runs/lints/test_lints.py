"""Each lint of runbooks: one runbook, or one deployment, that trips exactly it."""

from __future__ import annotations

from pathlib import Path

import pytest
from lint_world import KNOWN, ROOT, book, changed, found, only, swap

from drkit.config.load import load_config
from drkit.config.models import Config
from drkit.operations.readiness.check_runbooks import Checked, check_runbooks
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.book.critical_path import critical_path, draw
from drkit.runs.book.schema import Runbook, load_runbook
from drkit.runs.lints.check import LINTS
from drkit.runs.lints.values import Known

SHIPPED = ("emergency-rollback", "failback", "primary-gpu-down", "switch-to-standby")


@pytest.mark.parametrize("name", SHIPPED)
def test_nothing_is_to_say_of_the_shipped_runbooks(name: str, config: Config) -> None:
    findings = found(load_runbook(ROOT / "runbooks" / f"{name}.yaml"), config)
    assert findings == []


def test_every_lint_has_a_test_here() -> None:
    text = "".join(file.read_text() for file in Path(__file__).parent.glob("test_lints*.py"))
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
    assert "refuse" in {each.level for each in findings}


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
