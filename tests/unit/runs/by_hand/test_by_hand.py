"""What a person would type: real commands with this deployment's names, and never a secret."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from drkit.config.load import load_config
from drkit.config.models import Config
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.book.plan import Plan, Serving, make_plan
from drkit.runs.book.schema import load_runbook
from drkit.runs.by_hand.steps import _WRITERS, SNAPSHOT, by_hand
from drkit.runs.by_hand.words import secret, secret_file
from drkit.runs.records import EXTERNAL

ROOT = Path(__file__).parents[4]
PROVIDERS = {
    "lambda": {"kind": "lambda", "api_key": "env:LAMBDA_API_KEY", "ssh_key_name": "drkit"},
    "kubernetes": {"kind": "kubernetes", "kubeconfig": "file:/etc/kube config"},
    "runpod": {"kind": "runpod", "api_key": "env:RUNPOD_API_KEY"},
    "vast": {"kind": "vast", "api_key": "env:VAST_API_KEY"},
    "ssh": {"kind": "ssh", "host": "gpu.example.org", "identity": "vault:kv/ssh#key"},
    "command": {"kind": "command", "argv": ["/opt/rent", "--fast"]},
    "local": {"kind": "local", "path": "gpu", "host": "127.0.0.1", "argv": ["serve", "{port}"]},
}
SWITCHES = {
    "route53": {
        "kind": "route53",
        "zone": "example.org",
        "record": "llm.example.org",
        "zone_id": "Z1",
        "access_key_id": "env:A",
        "secret_access_key": "env:B",
    },
    "rfc2136": {
        "kind": "rfc2136",
        "zone": "example.org",
        "record": "llm.example.org",
        "server": "192.0.2.53",
        "key_name": "drkit.",
        "key_secret": "file:/etc/drkit/tsig",
    },
    "powerdns": {
        "kind": "powerdns",
        "zone": "example.org",
        "record": "llm.example.org",
        "url": "http://192.0.2.53:8081",
        "api_key": "env:PDNS",
    },
    "gate": {"kind": "gate"},
}


@pytest.fixture
def config() -> Config:
    return load_config(ROOT / "schedules.yaml")


def _with(config: Config, section: str, name: str, value: object) -> Config:
    values = config.model_dump(mode="json")
    place = values[section].get(name)
    values[section][name] = {**place, "provider": value} if section == "targets" else value
    return Config.model_validate(values)


def _plans(config: Config) -> list[Plan]:
    made = []
    brought = {"sncp": {"into": "/there/my sncp"}, "qdrant": {"url": "http://192.0.2.9:6333"}}
    serving = Serving("coreweave", "http://192.0.2.1:8000", "run", "i-1", "s", brought)
    runs = {"standby": True, "endpoint": "http://198.51.100.7:8000"}
    warm = config.targets["coreweave"].model_copy(update=runs)
    config = config.model_copy(update={"targets": {**config.targets, "coreweave": warm}})
    for path in sorted((ROOT / "runbooks").glob("*.yaml")):
        book = load_runbook(path)
        target = EXTERNAL if book.name == "emergency-rollback" else "coreweave"
        made.append(
            make_plan(
                book,
                config=config,
                kind=book.kind,
                target=target,
                actions=ACTIONS,
                serving=serving if book.kind == "failback" else None,
            )
        )
    return made


def _lines(config: Config) -> list[str]:
    return [
        line
        for plan in _plans(config)
        for step in plan.steps
        for line in by_hand(step, plan, config)
    ]


def _is_shell(lines: list[str]) -> None:
    """bash takes every line; words in <> that a person fills in are filled in."""
    text = "\n".join(re.sub(r"<[A-Z][A-Z0-9 _/]*>", "x", line) for line in lines)
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_action_says_what_is_done_by_hand() -> None:
    assert set(_WRITERS) == set(ACTIONS)


def test_every_step_of_every_shipped_runbook_has_commands_that_a_shell_takes(
    config: Config,
) -> None:
    lines = _lines(config)
    assert len(lines) > 40
    _is_shell(lines)


@pytest.mark.parametrize("kind", PROVIDERS)
def test_each_provider_has_commands_of_its_own(config: Config, kind: str) -> None:
    lines = _lines(_with(config, "targets", "coreweave", PROVIDERS[kind]))
    _is_shell(lines)
    assert any("$1.50 an hour" in line for line in lines)


@pytest.mark.parametrize("kind", SWITCHES)
def test_each_switch_has_commands_of_its_own(config: Config, kind: str) -> None:
    lines = _lines(_with(config, "switch", "dns", SWITCHES[kind]))
    _is_shell(lines)
    if kind != "gate":
        assert any("llm.example.org" in line and "203.0.113.10" in line for line in lines)


def test_the_hold_is_the_gateways_own_call(config: Config) -> None:
    (plan,) = [each for each in _plans(config) if each.kind == "switchover"]
    (line,) = by_hand(plan.step("hold"), plan, config)
    assert line == (
        'curl -fsS -X POST -H "Authorization: Bearer $GATEWAY_ADMIN_TOKEN" '
        "'http://127.0.0.1:8080/api/admin/emergency-rollback'"
    )


def test_weights_are_nothing_to_fence_by_hand_wherever_they_are_kept(config: Config) -> None:
    ours = {"kind": "weights", "mode": "repository", "path": "/srv/ours", "lives_on": "lambda"}
    lines = _lines(_with(config, "sources", "ours", ours))
    assert "# nothing to fence: no source that can change lives on lambda" in lines


def test_the_way_home_names_what_was_brought_away(config: Config) -> None:
    (plan,) = [each for each in _plans(config) if each.kind == "failback"]
    assert by_hand(plan.step("point"), plan, config)[0].endswith(
        "backup --tag drkit '/there/my sncp' http://192.0.2.9:6333"
    )
    assert by_hand(plan.step("swap"), plan, config)[0] == (
        "mv /srv/sncp /srv/sncp.before && mv /srv/sncp.new /srv/sncp"
    )


def test_restic_is_given_the_first_store_as_restic_writes_it(config: Config) -> None:
    (plan,) = [each for each in _plans(config) if each.runbook == "primary-gpu-down"]
    (line,) = by_hand(plan.step("point"), plan, config)
    assert "restic -r gs:example-drkit:/repository snapshots" in line
    folder = {"kind": "folder", "role": "primary", "path": "/srv/my store"}
    local = Config.model_validate(
        {
            **config.model_dump(mode="json"),
            "stores": {
                "a": folder,
            },
            "arbiter": None,
        }
        | {"sources": {"t": {"kind": "tree", "path": "t"}}, "service": None, "schedules": {}}
    )
    assert "-r '/srv/my store/repository'" in by_hand(plan.step("point"), plan, local)[0]


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("env:TOKEN", "$TOKEN"),
        ("file:/etc/a b", "$(cat '/etc/a b')"),
        ("cmd:pass show token", "$(pass show token)"),
        ("vault:kv/gateway#token", "$(vault kv get -field=token kv/gateway)"),
        (
            "aws-sm:prod/token#key",
            "$(aws secretsmanager get-secret-value --secret-id prod/token "
            "--query SecretString --output text | jq -r .key)",
        ),
        (
            "gcp-sm:projects/p/secrets/s",
            "$(gcloud secrets versions access latest --secret=s --project=p)",
        ),
        (
            "gcp-sm:projects/p/secrets/s/versions/3",
            "$(gcloud secrets versions access 3 --secret=s --project=p)",
        ),
    ],
)
def test_a_secret_is_written_by_reference(reference: str, words: str) -> None:
    assert secret((reference, "env:OTHER")) == words


def test_a_program_that_wants_a_file_gets_one() -> None:
    assert secret_file(("file:/etc/kube",)) == "/etc/kube"
    assert secret_file(("env:KUBE",)) == '<(printf %s "$KUBE")'


def test_R11_a_drill_by_hand_names_nothing_that_users_have(config: Config) -> None:
    book = load_runbook(ROOT / "runbooks" / "primary-gpu-down.yaml")
    url = "https://drill.example.org"
    gateway = config.switch["gateway"].model_copy(update={"drill_url": url})
    named = config.model_copy(update={"switch": {**config.switch, "gateway": gateway}})
    users = {getattr(each, "record", None) or each.url for each in config.switch.values()}  # type: ignore[union-attr]

    for deployment in (config, named):
        plan = make_plan(book, config=deployment, kind="drill", target="coreweave", actions=ACTIONS)
        lines = [line for step in plan.steps for line in by_hand(step, plan, deployment)]

        assert not [line for line in lines if any(name in line for name in users)]
        assert any(f"{SNAPSHOT}:/sncp" in line for line in lines), "a drill restores everything"
        assert any(url in line for line in lines) == (deployment is named)
