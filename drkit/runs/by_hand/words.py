"""How secrets and calls are written in a shell, by reference and never by value."""

from __future__ import annotations

import shlex
from urllib.parse import urlencode

from drkit.config.places import GatewayCall, HttpGatewaySwitch


def secret(reference: tuple[str, ...]) -> str:
    """The first reference of the list, as a shell gets at it."""
    scheme, _, rest = reference[0].partition(":")
    name, _, key = rest.partition("#")
    match scheme:
        case "env":
            return f"${rest}"
        case "file":
            return f"$(cat {shlex.quote(rest)})"
        case "cmd":
            return f"$({rest})"
        case "vault":
            return f"$(vault kv get -field={shlex.quote(key)} {shlex.quote(name)})"
        case "aws-sm":
            query = "--query SecretString --output text"
            picked = f" | jq -r .{key}" if key else ""
            return (
                f"$(aws secretsmanager get-secret-value --secret-id {shlex.quote(name)} "
                f"{query}{picked})"
            )
        case _:
            return _google(name, key)


def _google(name: str, key: str) -> str:
    parts = dict(zip(name.split("/")[::2], name.split("/")[1::2], strict=False))
    picked = f" | jq -r .{key}" if key else ""
    return (
        f"$(gcloud secrets versions access {parts.get('versions', 'latest')} "
        f"--secret={parts.get('secrets', '')} --project={parts.get('projects', '')}{picked})"
    )


def secret_file(reference: tuple[str, ...]) -> str:
    """A path whose content is the secret, where a program wants a file."""
    scheme, _, rest = reference[0].partition(":")
    return shlex.quote(rest) if scheme == "file" else f'<(printf %s "{secret(reference)}")'


def auth(reference: tuple[str, ...] | None) -> str:
    """curl's option for a bearer token; nothing where none is needed."""
    return f'-H "Authorization: Bearer {secret(reference)}"' if reference else ""


def gateway_call(switch: HttpGatewaySwitch, call: GatewayCall, url: str) -> str:
    params = {name: text.replace("{url}", url) for name, text in call.params.items()}
    query = f"?{urlencode(params, safe=':/<>')}" if params else ""
    words = [f"curl -fsS -X {call.method}", auth(switch.token)]
    return (
        " ".join(word for word in words if word) + f" '{switch.url.rstrip('/')}{call.path}{query}'"
    )
