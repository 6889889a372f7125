"""Secrets in a Vault or OpenBao server: `vault:MOUNT/PATH#KEY`, key-value engine, version 2.

Where it is and who asks is in the variables that its own tools read: VAULT_ADDR, VAULT_NAMESPACE,
VAULT_CACERT, and VAULT_TOKEN, or VAULT_ROLE_ID with VAULT_SECRET_ID (AppRole).
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlsplit

from drkit.clock import SystemClock
from drkit.http_client import NoAnswer, is_loopback
from drkit.http_wire import Route, Wire
from drkit.io_policy import SECRET_LOOKUP
from drkit.pace import Allowance
from drkit.secrets.resolvers import Absent, Places, as_secret


def from_vault(reference: str, places: Places) -> str | Absent:
    """The text under KEY in the newest version of the secret at MOUNT/PATH."""
    path, _, key = reference.partition("#")
    mount, _, rest = path.strip("/").partition("/")
    rest = rest.removeprefix("data/")
    if not (mount and rest and key):
        return Absent("vault: is not of the form vault:MOUNT/PATH#KEY")
    address = places.environ.get("VAULT_ADDR", "")
    if not address:
        return Absent(f"vault:{path} cannot be asked for, since $VAULT_ADDR is not set")
    if urlsplit(address).scheme != "https" and not is_loopback(address):
        return Absent("$VAULT_ADDR is not https, and a token is not sent in the clear")
    where = f"vault:{path} at {urlsplit(address).hostname}"
    server = _Server(address.rstrip("/"), places)
    try:
        token = _token(server, places, where)
        if isinstance(token, Absent):
            return token
        status, answer = server.ask("GET", f"{quote(mount)}/data/{quote(rest)}", token=token)
    except NoAnswer as error:
        return Absent(f"{where}: {error.message}")
    finally:
        server.close()
    if status != 200:
        return Absent(f"{where}: {_refusal(status)}")
    values = _inner(answer, "data", "data")
    if not isinstance(values, dict) or key not in values:
        return Absent(f"{where} has no {key}")
    return as_secret(values[key], f"{where}#{key}")


class _Server:
    """One look-up's connection: all its requests share one allowance."""

    def __init__(self, address: str, places: Places) -> None:
        clock = SystemClock()
        self._api = f"{address}/v1/"
        self._headers = {"Host": urlsplit(address).netloc, "X-Vault-Request": "true"}
        if namespace := places.environ.get("VAULT_NAMESPACE"):
            self._headers["X-Vault-Namespace"] = namespace
        self._wire = Wire(Route(ca_file=places.environ.get("VAULT_CACERT")), clock=clock)
        self._allowance = Allowance(
            SECRET_LOOKUP, clock, ends_s=clock.elapsed_s() + SECRET_LOOKUP.total_s
        )

    def ask(
        self, method: str, path: str, *, token: str | None = None, values: object = None
    ) -> tuple[int, Any]:
        """Status and parsed JSON (None where there is none). Raises `NoAnswer`."""
        body = b"" if values is None else json.dumps(values).encode()
        headers = {**self._headers, "Content-Length": str(len(body))}
        if token is not None:
            headers["X-Vault-Token"] = token
        reply = self._wire.send(
            method, self._api + path, headers, [body] if body else [], allowance=self._allowance
        )
        try:
            return reply.status, json.loads(b"".join(reply.body.stream()))
        except ValueError:
            return reply.status, None

    def close(self) -> None:
        self._wire.close()


def _token(server: _Server, places: Places, where: str) -> str | Absent:
    """The token that is set, or one for the AppRole that is."""
    if token := places.environ.get("VAULT_TOKEN"):
        return token
    role, secret = (places.environ.get(f"VAULT_{name}_ID") for name in ("ROLE", "SECRET"))
    if not (role and secret):
        return Absent(f"{where}: neither $VAULT_TOKEN nor $VAULT_ROLE_ID and $VAULT_SECRET_ID")
    asked = {"role_id": role, "secret_id": secret}
    status, answer = server.ask("POST", "auth/approle/login", values=asked)
    if status != 200:
        return Absent(f"{where}: the AppRole is not let in ({status})")
    token = _inner(answer, "auth", "client_token")
    return token if isinstance(token, str) and token else Absent(f"{where}: gave no token")


def _inner(values: Any, *keys: str) -> Any:
    """What lies under `keys` in parsed JSON, or None."""
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _refusal(status: int) -> str:
    return {
        403: "the token is not good, or its policy lacks `read` on the data path",
        404: "there is no such secret, or its newest version is deleted",
        503: "it is sealed or in standby",
    }.get(status, f"it answered {status}")
