"""What the configuration becomes, and that nothing is opened before it is asked for."""

from pathlib import Path
from typing import Any

import pytest

from drkit.compute.interface import Endpoint
from drkit.config.load import load_config
from drkit.errors import ConfigError, MissingCredential, NotInThisVersion
from drkit.wiring import App, parse_endpoint


def test_an_app_that_nobody_asks_opens_nothing(open_app: Any, tmp_path: Path) -> None:
    hopeless = {"kind": "s3", "role": "primary", "bucket": "b"}
    keys = {"access_key_id": "env:NOT_SET", "secret_access_key": "env:NOT_SET"}
    app = open_app(
        stores={"s3": {**hopeless, **keys}},
        sources={"notes": {"kind": "tree", "path": "absent"}},
        service=None,
    )
    assert app.state_dir == tmp_path / ".drkit"
    assert not (tmp_path / ".drkit").exists()
    with pytest.raises(MissingCredential, match="NOT_SET"):
        assert app.stores


def test_stores_come_in_the_order_of_the_file_and_by_name(app: App, tmp_path: Path) -> None:
    assert [store.name for store in app.stores] == ["one", "two"]
    assert app.store("two") is app.stores[1]
    with pytest.raises(ConfigError, match="no store 'three'") as caught:
        app.store("three")
    assert "one, two" in caught.value.hint
    assert (tmp_path / "stores/one/repository/config").is_file()


def test_the_password_is_the_first_reference_that_resolves(app: App) -> None:
    assert app.password == "correct horse"
    assert {store.name for store in app.repository.stores} == {"one", "two"}


def test_a_point_keeps_the_configuration_as_it_was_written(app: App, tmp_path: Path) -> None:
    files = app.own_files()
    assert set(files) == {"schedules.yaml", "runbook-lost.yaml"}
    kept = tmp_path / "kept.yaml"
    kept.write_bytes(files["schedules.yaml"])
    assert load_config(kept) == app.written
    assert b"correct horse" not in files["schedules.yaml"]
    assert str(tmp_path).encode() not in files["schedules.yaml"]


def test_a_provider_is_that_of_a_site_or_a_target(app: App) -> None:
    assert app.compute("spare") and app.compute("gpu")
    for place in ("vm", "nowhere"):
        with pytest.raises(ConfigError, match=f"'{place}' has no provider") as caught:
            app.compute(place)
        assert "spare" in caught.value.hint


def test_R11_a_switch_without_a_drill_name_takes_no_part_in_a_drill(app: App) -> None:
    assert {switch.record for switch in app.switches("production")} == {
        "http://127.0.0.1:3",
        "http://127.0.0.1:5",
    }
    assert {switch.record for switch in app.switches("drill")} == {"http://127.0.0.1:4"}


def test_K3_the_api_key_is_resolved_when_it_is_used_and_anew(app: App, tmp_path: Path) -> None:
    ask = app.api_key
    with pytest.raises(MissingCredential):
        ask()
    for text in ("first", "second"):
        (tmp_path / "key").write_text(text)
        assert ask() == text


def test_without_a_service_there_is_no_key_and_no_primary(open_app: Any) -> None:
    app = open_app(service=None)
    assert app.api_key() is None
    assert app.primary is None


def test_the_primary_is_found_by_address(app: App) -> None:
    assert app.primary == Endpoint("http", "127.0.0.1", 8000)
    assert list(app.weights_sources) == ["model"]


def test_sources_are_opened_by_name(app: App) -> None:
    assert (app.source("notes").kind, app.source("vectors").kind) == ("tree", "qdrant")


def test_the_sandbox_inits_by_itself_and_only_what_is_empty(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_settings: object) -> None:
        raise AssertionError("there is a repository already")

    monkeypatch.setattr("drkit.wiring.app.init_repository", refuse)
    app.ensure_repository()


def test_what_a_killed_init_of_the_sandbox_left_is_finished(app: App, tmp_path: Path) -> None:
    for left in ("config", "drkit.json"):
        (tmp_path / "stores/two/repository" / left).unlink()
    app.ensure_repository()
    assert (tmp_path / "stores/two/repository/config").is_file()
    assert app.repository.unreachable == {}


def test_a_kind_without_an_adapter_is_said_before_any_effect(open_app: Any) -> None:
    provider = {"kind": "command", "argv": ["make-gpu"]}
    candidates = [{"gpu": "L40", "max_usd_per_hour": 1}]
    app = open_app(targets={"far": {"provider": provider, "candidates": candidates}})
    with pytest.raises(NotInThisVersion):
        app.compute("far")


@pytest.mark.parametrize(
    ("url", "port"), [("http://h", 80), ("https://h", 443), ("http://h:8000/v1", 8000)]
)
def test_an_endpoint_has_the_port_of_its_scheme(url: str, port: int) -> None:
    assert parse_endpoint(url) == Endpoint(url.partition(":")[0], "h", port)


@pytest.mark.parametrize("url", ["h:8000", "ftp://h", "http://", "/v1"])
def test_what_has_no_host_is_no_endpoint(url: str) -> None:
    with pytest.raises(ConfigError, match="is no endpoint"):
        parse_endpoint(url)
