"""The switch suite, and what DNS alone can get wrong, with the servers that people run."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from listening import free_port, running

_SUITE = Path(__file__).resolve().parents[2] / "conformance" / "test_switch.py"
_SPEC = importlib.util.spec_from_file_location("switch_suite", _SUITE)
suite = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(suite)
# Every test of the suite runs here too, with the servers below.
globals().update({name: value for name, value in vars(suite).items() if name.startswith("test_")})
switch = suite.switch
opened = suite.opened

ZONE = """\
$ORIGIN example.org.
$TTL 60
@ SOA ns hostmaster 1 3600 600 86400 5
@ NS ns
ns A 127.0.0.1
alias CNAME ns
"""

KNOT = """\
server:
    rundir: "{folder}"
    listen: 127.0.0.1@{port}
log:
  - target: stderr
    any: warning
database:
    storage: "{folder}"
key:
  - id: drkit
    algorithm: hmac-sha256
    secret: {secret}
acl:
  - id: update
    key: drkit
    action: update
zone:
  - domain: example.org
    storage: "{folder}"
    file: example.org.zone
    acl: update
"""

BIND = """\
options {{
    directory "{folder}"; pid-file "{folder}/named.pid"; session-keyfile "{folder}/session.key";
    listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no;
    dnssec-validation no;
}};
controls {{ }};
key "drkit" {{ algorithm hmac-sha256; secret "{secret}"; }};
zone "example.org" {{
    type primary; file "{folder}/example.org.zone"; allow-update {{ key "drkit"; }};
}};
"""


@contextmanager
def real_server(
    folder: Path, config: str, *argv: str
) -> Iterator[tuple[object, Callable[[], object]]]:
    port = free_port()
    (folder / "example.org.zone").write_text(ZONE)
    (folder / "server.conf").write_text(
        config.format(folder=folder, port=port, secret=suite.SECRET)
    )
    with running([*argv, str(folder / "server.conf")], port, folder / "server.log") as server:
        yield suite.record(port), server.stop


@contextmanager
def knot(folder: Path):
    with real_server(folder, KNOT, "/usr/sbin/knotd", "-c") as opened:
        yield opened


@contextmanager
def bind(folder: Path):
    with real_server(folder, BIND, "/usr/sbin/named", "-g", "-n", "1", "-c") as opened:
        yield opened


SERVERS = [
    pytest.param(knot, id="knot", marks=pytest.mark.needs("knotd")),
    pytest.param(bind, id="bind", marks=pytest.mark.needs("named")),
]


@pytest.fixture(params=SERVERS)
def join(request: pytest.FixtureRequest):
    return suite.Join(request.param, external=False, random_ports=False)


def sibling(switch, **changes):
    """Another record on the same server."""
    return suite.record(switch._port, **changes)


def test_a_wrong_key_is_refused_and_the_record_stays(switch) -> None:
    plan = switch.plan(switch.read(), suite.site(1))
    stranger = sibling(switch, secret="d3Jvbmc=")
    with pytest.raises(suite.SwitchFailed) as caught:
        stranger.apply(plan)
    assert "d3Jvbmc" not in f"{caught.value.message}{caught.value.hint}"
    assert switch.read() == plan.before


def test_a_server_that_does_not_hold_the_zone_is_no_authority(switch) -> None:
    foreign = suite.Rfc2136Record(
        "dns",
        zone="example.net",
        record="llm.example.net",
        ttl_s=5,
        server="127.0.0.1",
        port=switch._port,
        key=suite.Key("drkit", suite.Secret(suite.SECRET)),
    )
    with pytest.raises(suite.SwitchFailed):
        foreign.read()


def test_a_name_that_is_an_alias_is_not_touched(switch) -> None:
    alias = sibling(switch, name="alias.example.org")
    with pytest.raises(suite.SwitchFailed, match="CNAME"):
        alias.read()


def test_a_record_of_two_addresses_is_compared_as_a_whole(switch) -> None:
    both = suite.Setting(held=False, value="192.0.2.1,192.0.2.2")
    switch.apply(suite.SwitchPlan(switch.name, switch.record, switch.read(), both))
    assert switch.read() == both
    half = suite.Setting(held=False, value="192.0.2.1")
    with pytest.raises(suite.SwitchMoved):
        switch.apply(switch.plan(half, suite.site(9)))
    assert switch.read() == both
    suite.go(switch, suite.site(9))
    assert switch.read().value == "192.0.2.9"


def test_a_record_is_taken_back_to_unset(switch) -> None:
    suite.go(switch, suite.site(1))
    unset = suite.Setting(held=False, value=None)
    switch.apply(suite.SwitchPlan(switch.name, switch.record, switch.read(), unset))
    assert switch.read() == unset


def test_the_server_itself_refuses_a_stale_update(switch) -> None:
    """The prerequisite counts, not only drkit's look before it."""
    suite.go(switch, suite.site(1))
    stale = switch.plan(suite.Setting(held=False, value="192.0.2.7"), suite.site(2))
    with pytest.raises(suite.SwitchMoved):
        switch._update(stale, lambda: None)
    assert switch.read().value == "192.0.2.1"
