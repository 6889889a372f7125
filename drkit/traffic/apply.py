"""The rail that every switch is applied on: look, set, read back."""

from __future__ import annotations

from collections.abc import Callable

from drkit.compute.interface import Still
from drkit.errors import GuardRefused
from drkit.traffic.interface import (
    Destination,
    Setting,
    Switch,
    SwitchFailed,
    SwitchMoved,
    SwitchPlan,
    SwitchUnknown,
)


def apply_plan(
    switch: Switch,
    plan: SwitchPlan,
    set_: Callable[[SwitchPlan, Still], None],
    still: Still,
    *,
    passing: tuple[Setting, ...] = (),
    settled: Callable[[Setting], bool] | None = None,
) -> None:
    """Applies exactly `plan` to `switch` by `set_`, and reads it back.

    `passing` are settings between before and after that an interrupted `set_` can have left.
    `set_` calls `still` before each request, and raises `SwitchUnknown` where no answer comes; what
    the switch shows then decides. `settled(after)` waits until it is shown; by default one reading
    has to do.
    """
    if (plan.switch, plan.record) != (switch.name, switch.record):
        raise GuardRefused(
            f"a plan for {plan.switch} ({plan.record}) is not applied to {switch.name} "
            f"({switch.record})",
            hint="make a new plan for this switch",
        )
    now = switch.read()
    if now == plan.after:
        return
    if now != plan.before and now not in passing:
        raise moved(switch, plan, now)
    unanswered: SwitchUnknown | None = None
    try:
        set_(plan, still)
    except SwitchUnknown as error:
        unanswered = error
    try:
        if (settled or (lambda wanted: switch.read() == wanted))(plan.after):
            return
        seen = f"shows {shown(switch.read())}"
    except SwitchFailed as error:
        seen = f"cannot be read since: {error.message}"
    raise unanswered or SwitchUnknown(
        f"{switch.name}: {switch.record} was set to {shown(plan.after)} and {seen}",
        hint="see the switch's own log; run the command again once it takes changes",
    )


def moved(switch: Switch, plan: SwitchPlan, now: Setting) -> SwitchMoved:
    return SwitchMoved(
        f"{switch.name}: {switch.record} is {shown(now)} and no longer {shown(plan.before)}; "
        "it was left as it is",
        hint="somebody else moved it: see who, then plan again from where it stands",
    )


def refuse(switch: Switch, destination: Destination) -> None:
    """Raises `GuardRefused` for what this kind of switch cannot carry."""
    if why := switch.refusal(destination):
        raise GuardRefused(
            f"{switch.name} ({switch.record}): {why}",
            hint="give the target an address with a fixed port, or put a gateway in front",
        )


def shown(setting: Setting) -> str:
    value = setting.value or "unset"
    return f"on the external API (set to {value})" if setting.held else value
