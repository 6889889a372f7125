"""Places that the service leans on: stores, the provider's word, trees on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from drkit.compute.interface import Compute, Endpoint, Instance, InstanceState
from drkit.errors import DrkitError, PlaceError
from drkit.health.around.readings import Reading, failed, not_measured, passed
from drkit.stores.interface import ObjectMissing, Store

_CONFIG = "repository/config"


def read_store(name: str, opened: Callable[[], Store]) -> Reading:
    """PASSED when the store says that it holds a repository. One small request."""
    probe = f"store {name}"
    store = opened()
    try:
        store.stat(_CONFIG)
    except ObjectMissing:
        return failed(probe, "it answers, and holds no repository")
    except PlaceError as error:
        return failed(probe, error.message)
    finally:
        store.close()
    return passed(probe, "reached")


def read_provider(
    site: str, opened: Callable[[], Compute], endpoint: Endpoint, instance_id: str | None
) -> Reading:
    """What the provider says of the instance that serves: by its id, else by its address.

    PASSED: it runs; FAILED: it says that it does not. Not measured where it knows none.
    """
    probe = f"provider {site}"
    compute = opened()
    try:
        if instance_id is not None:
            return _said(probe, compute.get(instance_id))
        here = [
            each
            for each in compute.find({})
            if each.endpoint is not None and each.endpoint.host == endpoint.host
        ]
    except DrkitError as error:
        return not_measured(probe, error.message)
    if len(here) != 1:
        found = "several instances" if here else "no instance"
        return not_measured(probe, f"it lists {found} at {endpoint.host}; name one: `instance`")
    return _said(probe, here[0])


def _said(probe: str, instance: Instance) -> Reading:
    detail = f"{instance.id} is {instance.state.value}"
    if instance.detail:
        detail += f": {instance.detail}"
    match instance.state:
        case InstanceState.RUNNING:
            return passed(probe, detail)
        case InstanceState.STARTING:
            return not_measured(probe, detail)
        case InstanceState.FAILED | InstanceState.GONE:
            return failed(probe, detail)


def read_tree(name: str, path: Path) -> Reading:
    """PASSED when the folder can be read and something is in it."""
    probe = f"tree {name}"
    try:
        with os.scandir(path) as entries:
            first = next(entries, None)
    except OSError as error:
        return failed(probe, f"{path}: {error.strerror or error}")
    if first is None:
        return failed(probe, f"{path} is empty")
    return passed(probe, f"{path} can be read")
