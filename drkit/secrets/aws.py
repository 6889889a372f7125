"""Secrets in AWS Secrets Manager: `aws-sm:NAME`, or `aws-sm:NAME#KEY` of one that is JSON.

NAME may be an ARN. Who asks is in AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN,
where in AWS_REGION or AWS_DEFAULT_REGION; AWS_ENDPOINT_URL_SECRETS_MANAGER names another server.
"""

from __future__ import annotations

from drkit.aws import AwsClient, AwsKeys, AwsRefused
from drkit.clock import SystemClock
from drkit.http_client import NoAnswer
from drkit.http_wire import Route, Wire
from drkit.io_policy import SECRET_LOOKUP
from drkit.pace import Allowance
from drkit.secrets.resolvers import Absent, Places, as_secret, key_of


def from_aws(reference: str, places: Places) -> str | Absent:
    """The secret's current text."""
    name, _, key = reference.partition("#")
    environ = places.environ
    where = f"aws-sm:{name}"
    arn = name.split(":")
    region = arn[3] if name.startswith("arn:") and len(arn) > 6 else ""
    region = region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
    lacking = [n for n in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if not environ.get(n)]
    lacking += [] if region else ["AWS_REGION"]
    if lacking:
        names = ", ".join(f"${one}" for one in lacking)
        return Absent(f"{where} cannot be asked for: {names} not set")
    clock = SystemClock()
    client = AwsClient(
        "secretsmanager",
        region=region,
        keys=AwsKeys(
            environ["AWS_ACCESS_KEY_ID"],
            environ["AWS_SECRET_ACCESS_KEY"],
            environ.get("AWS_SESSION_TOKEN"),
        ),
        wire=Wire(Route(), clock=clock),
        endpoint=environ.get("AWS_ENDPOINT_URL_SECRETS_MANAGER"),
    )
    try:
        client.open()
        allowance = Allowance(SECRET_LOOKUP, clock)
        answer = client.call("get_secret_value", allowance, SecretId=name)
    except AwsRefused as error:
        return Absent(f"{where} in {region}: {error.code}")
    except NoAnswer as error:
        return Absent(f"{where}: {error.message}")
    finally:
        client.close()
    text = answer.get("SecretString", answer.get("SecretBinary"))
    return key_of(text, key, where) if key else as_secret(text, where)
