"""Every action by its name. A runbook can ask for these and no others."""

from __future__ import annotations

from collections.abc import Mapping

from drkit.runs.actions import (
    acquire,
    commit,
    cutover,
    deploy,
    divergence,
    fence,
    fence_target,
    final_point,
    hold,
    observe,
    point,
    preflight,
    record_hold,
    release,
    restore,
    restore_home,
    standby,
    swap_home,
    verify,
    verify_held,
    verify_public,
)
from drkit.runs.actions.interface import Action

ACTIONS: Mapping[str, Action] = {
    "hold": hold.ACTION,
    "preflight": preflight.ACTION,
    "acquire": acquire.ACTION,
    "deploy": deploy.ACTION,
    "fence": fence.ACTION,
    "point": point.ACTION,
    "restore": restore.ACTION,
    "verify": verify.ACTION,
    "cutover": cutover.ACTION,
    "verify_public": verify_public.ACTION,
    "observe": observe.ACTION,
    "commit": commit.ACTION,
    "verify_held": verify_held.ACTION,
    "record_hold": record_hold.ACTION,
    "fence_target": fence_target.ACTION,
    "final_point": final_point.ACTION,
    "divergence": divergence.ACTION,
    "restore_home": restore_home.ACTION,
    "swap_home": swap_home.ACTION,
    "release": release.ACTION,
    "standby": standby.ACTION,
}
