"""Runbooks and plans: what is accepted, what is frozen, and how it is said when it does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from drkit.errors import ConfigError, GuardRefused, NotInThisVersion
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.book.plan import Plan, make_plan
from drkit.runs.book.references import fill_outputs, fill_target
from drkit.runs.book.schema import ActionName, Runbook, load_runbook, runbook_schema
from drkit.runs.records import EXTERNAL

if TYPE_CHECKING:
    from conftest import World

ROOT = Path(__file__).parents[4]
SHIPPED = ROOT / "runbooks" / "primary-gpu-down.yaml"
STEP = "  - {id: hold, phase: dns, action: hold}\n"
HEAD = "drkit: 1\nname: test\nkind: failover\nlost: [lambda]\n"


def _load(tmp_path: Path, text: str) -> Runbook:
    path = tmp_path / "runbook.yaml"
    path.write_text(text)
    return load_runbook(path)


def test_the_shipped_runbook_is_the_documented_procedure_made_safe(world: World) -> None:
    needs = {step.id: set(step.needs) for step in world.runbook.steps}
    assert len(needs) == 12
    assert needs["hold"] == needs["preflight"] == set()
    assert needs["acquire"] == needs["fence"] == {"preflight"}
    assert needs["deploy"] == {"acquire"}
    assert (needs["point"], needs["restore"]) == ({"fence"}, {"point"})
    assert needs["verify"] == {"deploy", "restore"}
    assert "verify" in needs["cutover"]
    assert needs["verify_public"] == {"cutover"}
    assert (needs["observe"], needs["commit"]) == ({"verify_public"}, {"observe"})


def test_the_budgets_of_the_four_phases_roll_up_to_35_minutes(world: World) -> None:
    budgets = dict.fromkeys(("dns", "deploy", "restore", "verify"), 0.0)
    for step in world.runbook.steps:
        if step.phase in budgets:
            budgets[step.phase] += step.budget_min or 0
    assert budgets == {"dns": 5, "deploy": 10, "restore": 15, "verify": 5}
    assert sum(budgets.values()) == world.runbook.targets.rto_min == 35


def test_a_runbook_can_ask_for_every_action_and_for_no_other() -> None:
    from typing import get_args

    assert set(get_args(ActionName)) == set(ACTIONS)
    assert all(name == action.name for name, action in ACTIONS.items())
    for action in ACTIONS.values():
        assert (action.look is not None) == action.effect.must_look, action.name


def test_what_costs_money_or_moves_traffic_can_be_undone() -> None:
    for action in ACTIONS.values():
        if action.effect.value in ("paid", "traffic"):
            assert action.undo is not None, action.name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "steps:\n" + STEP + "    badkey: 1\n", ":"),
        (HEAD + "steps:\n  - {id: a, phase: dns, action: holdd}\n", "did you mean `hold`"),
        (HEAD + "steps:\n  - {id: a, phase: dns, action: hold, needs: [b]}\n", "`b` is no step"),
        (HEAD + "steps:\n" + STEP + STEP, "is the id of an earlier step too"),
        (HEAD + "steps:\n  - {id: a, phase: dns, action: hold, nedes: [a]}\n", "unknown key"),
        (HEAD + "steps: []\n", "at least one"),
        (HEAD + "steps:\n  - {id: A b, phase: dns, action: hold}\n", "lower-case"),
        (
            HEAD + "steps:\n  - {id: a, phase: dns, action: hold, needs: [a]}\n",
            "waits for itself",
        ),
    ],
)
def test_a_runbook_that_is_wrong_is_refused_with_its_line(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, text)
    assert said in caught.value.message
    assert "runbook.yaml:" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "reference",
    ["${env:HOME}", "${steps.acquire}", "${target}", "${ target.name }", "${steps.x.y", "${}"],
)
def test_there_is_no_templating_language(tmp_path: Path, reference: str) -> None:
    step = f'  - {{id: a, phase: dns, action: hold, with: {{x: "{reference}"}}}}\n'
    with pytest.raises(ConfigError, match=r"runbook.yaml:6: steps\[0\].with.x"):
        _load(tmp_path, HEAD + "steps:\n" + step)


def test_an_output_of_a_step_that_is_not_waited_for_is_refused(tmp_path: Path) -> None:
    step = '  - {id: b, phase: dns, action: hold, with: {x: "${steps.hold.held}"}}\n'
    with pytest.raises(ConfigError, match="does not wait for `hold`"):
        _load(tmp_path, HEAD + "steps:\n" + STEP + step)


def test_a_runbook_that_is_not_there_says_where_they_lie(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no") as caught:
        load_runbook(tmp_path / "none.yaml")
    assert "runbooks" in caught.value.hint


def test_the_schema_names_every_key_of_the_shipped_runbook() -> None:
    schema = runbook_schema()
    assert schema["additionalProperties"] is False
    assert {"with", "needs", "on_failure"} <= set(schema["$defs"]["Step"]["properties"])
    json.dumps(schema)


def test_the_same_runbook_gives_the_same_checksum_and_another_one_does_not(world: World) -> None:
    plan = world.plan()
    assert plan.checksum == world.plan().checksum
    assert plan.checksum != world.plan("drill").checksum
    again = Plan.from_json(plan.to_json())
    assert (again, again.checksum) == (plan, plan.checksum)


def test_a_plan_with_a_field_of_tomorrow_is_not_read_as_one_of_today(world: World) -> None:
    values = json.loads(world.plan().to_json())
    values["steps"][0]["new"] = 1
    with pytest.raises(ValueError, match="new"):
        Plan.from_json(json.dumps(values))


def test_the_tighter_of_two_limits_counts(world: World) -> None:
    limits = world.runbook.limits.model_copy(update={"usd_per_hour": 2.0, "ttl_min": 500})
    world.runbook = world.runbook.model_copy(update={"limits": limits})
    plan = world.plan()
    assert (plan.usd_per_hour, plan.usd_per_run, plan.ttl_min) == (2.0, 20, 240)


def _make(world: World, **changes: object) -> Plan:
    values = {"config": world.config, "kind": "failover", "target": "coreweave", **changes}
    return make_plan(world.runbook, actions=ACTIONS, **values)  # type: ignore[arg-type]


def test_what_does_not_fit_the_deployment_is_refused_before_anything_begins(world: World) -> None:
    with pytest.raises(ConfigError, match="'nowhere' is no target"):
        _make(world, target="nowhere")
    with pytest.raises(ConfigError, match="no service"):
        _make(world, config=world.config.model_copy(update={"service": None}))
    world.runbook = world.runbook.model_copy(update={"lost": ("coreweave",)})
    with pytest.raises(GuardRefused, match="lost"):
        _make(world)


def test_a_runbook_that_rents_a_machine_needs_a_target_to_rent_it_from(world: World) -> None:
    with pytest.raises(ConfigError, match="is no target"):
        _make(world, target=EXTERNAL)


def test_what_this_version_cannot_do_is_said_before_anything_begins(world: World) -> None:
    first, *rest = world.runbook.steps
    changed = first.model_copy(update={"with_": {"token": "${secret:TOKEN}"}})
    world.runbook = world.runbook.model_copy(update={"steps": (changed, *rest)})
    with pytest.raises(NotInThisVersion):
        _make(world)


def test_an_approval_is_frozen_with_its_step(world: World) -> None:
    before = world.plan()
    first, *rest = world.runbook.steps
    changed = first.model_copy(update={"approval": "operator"})
    world.runbook = world.runbook.model_copy(update={"steps": (changed, *rest)})
    plan = world.plan()
    assert [step.approval for step in plan.steps] == ["operator"] + ["none"] * len(rest)
    assert plan.checksum != before.checksum
    assert Plan.from_json(plan.to_json()) == plan


def test_R6_a_plan_that_says_nothing_of_approvals_is_read_and_keeps_its_checksum(
    world: World,
) -> None:
    text = world.plan().to_json()
    assert "approval" not in text
    assert Plan.from_json(text).to_json() == text


@pytest.mark.parametrize("approval", ["two_person", "", None, 1])
def test_R6_an_approval_that_this_version_does_not_know_is_refused(
    world: World, approval: object
) -> None:
    values = json.loads(world.plan().to_json())
    values["steps"][0]["approval"] = approval
    with pytest.raises(ValueError, match="approval"):
        Plan.from_json(json.dumps(values))


def test_R11_a_drill_has_its_own_name_at_the_arbiter(world: World) -> None:
    assert world.plan("failover").service_key == "assistant"
    assert world.plan("drill").service_key == "assistant/drill"
    assert world.plan("drill").namespace == "drill"


def test_references_are_filled_in_and_keep_their_kind() -> None:
    filled = fill_target({"a": "${target.name}", "b": "to ${target.name}!"}, {"name": "vast"})
    assert filled == {"a": "vast", "b": "to vast!"}
    outputs = {"acquire": {"price": 1.5}}
    assert fill_outputs({"p": "${steps.acquire.price}"}, outputs) == {"p": 1.5}
    assert fill_outputs({"p": "${steps.gone.price}"}, outputs) == {"p": None}
    with pytest.raises(ConfigError, match="does not have"):
        fill_target({"a": "${target.colour}"}, {"name": "vast"})
