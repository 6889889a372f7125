"""Secrets in Google's Secret Manager: `gcp-sm:projects/P/secrets/S`, its newest version, or
`.../versions/7`; `#KEY` takes one value of a secret that is JSON.

Who asks is the key file in GOOGLE_APPLICATION_CREDENTIALS, or this machine's own credentials.
CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER names another server, as for gcloud.
"""

from __future__ import annotations

import base64
import binascii
import re

from drkit.clock import SystemClock
from drkit.errors import ConfigError, PlaceError
from drkit.google_cloud import (
    ANY_SERVICE,
    GoogleAuthError,
    crc32c,
    load_credentials,
    open_session,
)
from drkit.http_client import is_loopback
from drkit.http_wire import Route, Wire
from drkit.io_policy import SECRET_LOOKUP
from drkit.pace import Allowance
from drkit.secrets.resolvers import Absent, Places, as_secret, key_of

_SERVER = "https://secretmanager.googleapis.com"
_NAME = re.compile(r"projects/[\w.:-]+/secrets/[\w-]+(/versions/(\d+|latest|[a-z][\w-]*))?")


def from_google(reference: str, places: Places) -> str | Absent:
    """The payload of the version, whose CRC32C is compared."""
    name, _, key = reference.partition("#")
    if not _NAME.fullmatch(name):
        return Absent("gcp-sm: is not of the form gcp-sm:projects/PROJECT/secrets/NAME")
    where = f"gcp-sm:{name}"
    environ = places.environ
    server = environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER", _SERVER).rstrip("/")
    if not server.startswith("https://") and not is_loopback(server):
        return Absent(f"{where}: {server} is not https, and a token is not sent in the clear")
    clock = SystemClock()
    wire = Wire(Route(), clock=clock)
    try:
        credentials = load_credentials(
            environ.get("GOOGLE_APPLICATION_CREDENTIALS"),
            anonymous=False,
            field="$GOOGLE_APPLICATION_CREDENTIALS",
            scope=ANY_SERVICE,
        )
        version = name if "/versions/" in name else f"{name}/versions/latest"
        reply = open_session(credentials, wire, clock).request(
            "GET",
            f"{server}/v1/{version}:access",
            data=None,
            headers={},
            timeout=Allowance(SECRET_LOOKUP, clock),
            allow_redirects=False,
        )
    except (ConfigError, PlaceError) as error:
        return Absent(f"{where}: {error.message}")
    except GoogleAuthError as error:
        return Absent(f"{where}: no token for the credentials ({type(error).__name__})")
    finally:
        wire.close()
    if reply.status_code != 200:
        return Absent(f"{where}: {_refusal(reply.status_code)}")
    data = _payload(reply.content)
    if data is None:
        return Absent(f"{where} came damaged")
    return key_of(data, key, where) if key else as_secret(data, where)


def _payload(answer: bytes) -> bytes | None:
    """The bytes of the answer's payload; None if they do not have the CRC32C that it names."""
    import json

    try:
        payload = json.loads(answer)["payload"]
        data = base64.b64decode(payload["data"], validate=True)
        said = payload.get("dataCrc32c")
        return data if said is None or int(said) == crc32c(data) else None
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        return None


def _refusal(status: int) -> str:
    return {
        401: "the credentials are not taken",
        403: "the account lacks roles/secretmanager.secretAccessor on it",
        404: "there is no such secret or version",
    }.get(status, f"it answered {status}")
