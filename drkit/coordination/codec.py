"""A service's lease and role as JSON. What is read is not believed: bounded, and typed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from drkit.coordination.interface import ArbiterUnreachable, Lease, RoleRecord
from drkit.coordination.rules import ServiceState

MOST_BYTES = 16 * 1024 * 1024


def encode(state: ServiceState) -> bytes:
    return orjson.dumps(
        {
            "drkit": 1,
            "lease": None if state.lease is None else _lease_json(state.lease),
            "role": None if state.role is None else _role_json(state.role),
        },
        option=orjson.OPT_INDENT_2,
    )


def decode(data: bytes, *, service: str, found_in: str) -> ServiceState:
    """The state in `data`. What cannot be read is never taken for "nobody leads": it raises
    `ArbiterUnreachable`, naming `found_in`.
    """
    try:
        if len(data) > MOST_BYTES:
            raise ValueError("it is too large")
        value = orjson.loads(data)
        if value["drkit"] != 1:
            raise ValueError(f"version {value['drkit']!r} is not known")
        state = ServiceState(_lease(value["lease"]), _role(value["role"]))
        for part in (state.lease, state.role):
            if part is not None and part.service != service:
                raise ValueError(f"it is that of {part.service!r}")
    except (ValueError, TypeError, KeyError) as error:
        raise ArbiterUnreachable(
            f"{found_in}: lease and role of {service} cannot be read: {error}",
            hint="nothing may act until they can; bring the file back from a copy",
        ) from error
    return state


def _lease_json(lease: Lease) -> dict[str, object]:
    return {
        "service": lease.service,
        "holder": lease.holder,
        "ttl_s": lease.ttl_s,
        "token": lease.token,
    }


def _lease(value: dict[str, Any] | None) -> Lease | None:
    if value is None:
        return None
    ttl_s = value["ttl_s"]
    if not isinstance(ttl_s, int | float) or not 0 < ttl_s < 1e9:
        raise ValueError("the lease has no time")
    return Lease(_text(value["service"]), _text(value["holder"]), ttl_s, _text(value["token"]))


def _role_json(role: RoleRecord) -> dict[str, object]:
    return {
        "service": role.service,
        "epoch": role.epoch,
        "site": role.site,
        "endpoint_url": role.endpoint_url,
        "since": role.since.isoformat(),
        "run_id": role.run_id,
        "snapshots": list(role.snapshots),
    }


def _role(value: dict[str, Any] | None) -> RoleRecord | None:
    if value is None:
        return None
    epoch = value["epoch"]
    since = datetime.fromisoformat(value["since"])
    if not isinstance(epoch, int) or isinstance(epoch, bool) or since.tzinfo is None:
        raise ValueError("the role has no epoch or time")
    return RoleRecord(
        service=_text(value["service"]),
        epoch=epoch,
        site=_text(value["site"]),
        endpoint_url=_optional(value["endpoint_url"]),
        since=since,
        run_id=_optional(value["run_id"]),
        snapshots=tuple(_text(one) for one in value["snapshots"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where text must be")
    return value


def _optional(value: object) -> str | None:
    return None if value is None else _text(value)
