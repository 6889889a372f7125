"""The sandbox keeps every name and reaches no place beyond this machine."""

import ipaddress
import re
from pathlib import Path

import pytest

from drkit.config.load import load_config
from drkit.config.models import Config
from drkit.config.secret_refs import references
from drkit.sandbox.guard import is_local
from drkit.sandbox.mapping import Ports, sandbox_config, site_addresses

ROOT = Path("/nowhere/.drkit/sandbox")
PORTS = Ports(
    dns=1, gateway=2, drill_gateway=3, external=4, qdrant=5, qdrant_restore=6, model=7, witness=8
)
SHIPPED = Path(__file__).parents[3] / "schedules.yaml"


@pytest.fixture
def config() -> Config:
    return load_config(SHIPPED)


def test_every_name_is_kept(config: Config) -> None:
    mapped = sandbox_config(config, ROOT, PORTS)
    for part in ("stores", "sources", "sites", "targets", "switch", "schedules"):
        assert list(getattr(mapped, part)) == list(getattr(config, part))
    assert {n: s.role for n, s in mapped.stores.items()} == {
        n: s.role for n, s in config.stores.items()
    }


def test_no_secret_of_the_deployment_survives(config: Config) -> None:
    mapped = sandbox_config(config, ROOT, PORTS)
    for path, reference in references(mapped):
        assert all(one.startswith(f"file:{ROOT}/") for one in reference), path


def test_no_address_lies_beyond_loopback_and_no_path_beyond_the_root(config: Config) -> None:
    mapped = sandbox_config(config, ROOT, PORTS)
    text = mapped.model_dump_json()
    for host in re.findall(r"https?://([^:/\"]+)", text):
        assert ipaddress.ip_address(host).is_loopback
    for path in re.findall(r'"path":"(/[^"]+)"', text):
        # gateway calls have paths too, below their own URL
        assert path.startswith((str(ROOT), "/api/admin/"))


def test_each_place_has_an_address_of_its_own(config: Config) -> None:
    addresses = site_addresses(config)
    assert len(set(addresses.values())) == len(addresses)


def test_a_standby_has_a_server_of_its_own_and_the_first_witness_a_port_here(
    config: Config,
) -> None:
    values = config.model_dump(mode="json")
    values["targets"]["runpod"] |= {"standby": True, "endpoint": "http://198.51.100.7:8000"}
    known = {"token": "env:T", "verifying_key": f"ed25519:{'A' * 43}="}
    urls = {name: f"https://{name}.example.net" for name in ("one", "two")}
    values["decide"]["witnesses"] = {name: {**known, "url": url} for name, url in urls.items()}
    warm = Config.model_validate(values)
    mapped, addresses = sandbox_config(warm, ROOT, PORTS), site_addresses(warm)
    assert len(set(addresses.values())) == len(addresses)
    assert {
        **site_addresses(config),
        "runpod (standby)": addresses["runpod (standby)"],
    } == addresses
    target = mapped.targets["runpod"]
    assert target.endpoint == f"http://{addresses['runpod (standby)']}:{PORTS.model}"
    assert target.provider.host == addresses["runpod"]
    assert target.standby
    (witness,) = mapped.decide.witnesses.values()
    assert witness.url == f"http://127.0.0.1:{PORTS.witness}"
    assert witness.token == (f"file:{ROOT}/witness-token",)


def test_what_has_a_random_port_keeps_one(config: Config) -> None:
    targets = sandbox_config(config, ROOT, PORTS).targets
    assert {name: target.provider.port for name, target in targets.items()} == {
        "coreweave": PORTS.model,
        "runpod": None,
        "vast": None,
    }


def test_a_deployment_of_one_store_and_one_source_is_enough() -> None:
    config = Config.model_validate(
        {
            "drkit": 1,
            "stores": {"disk": {"kind": "folder", "path": "/data", "role": "primary"}},
            "repository": {"password": "env:P"},
            "sources": {"notes": {"kind": "tree", "path": "/notes"}},
        }
    )
    mapped = sandbox_config(config, ROOT, PORTS)
    assert mapped.sources["notes"].path == str(ROOT / "sources" / "notes")
    assert mapped.service is None


@pytest.mark.parametrize(
    ("address", "local"),
    [
        (("127.0.0.1", 80), True),
        (("127.0.0.99", 80), True),
        (("::1", 80, 0, 0), True),
        (("localhost", 80), True),
        ("/run/socket", True),
        (("10.0.0.1", 80), False),
        (("192.0.2.1", 80), False),
        (("example.org", 443), False),
        (("2001:db8::1", 80, 0, 0), False),
    ],
)
def test_the_guard_tells_this_machine_from_all_others(address, local: bool) -> None:
    assert is_local(address) is local
