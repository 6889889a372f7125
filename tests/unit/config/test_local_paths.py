"""Relative paths of schedules.yaml lie below its folder; which fields are paths is said by type."""

from pathlib import Path

import pytest

from drkit.config.local_paths import with_absolute_paths
from drkit.config.models import Config

PLACE = Path("/other/place")

WRITTEN = {
    "drkit": 1,
    "stores": {
        "disk": {"kind": "folder", "role": "primary", "path": "copies"},
        "nas": {"kind": "folder", "role": "backup", "path": "/mnt/nas"},
    },
    "repository": {"password": "file:password"},
    "sources": {
        "notes": {"kind": "tree", "path": "./notes"},
        "home": {"kind": "tree", "path": "~/notes"},
        "model": {
            "kind": "weights",
            "path": "models/m",
            "model": "m",
            "revision": "1",
            "stores": ["disk"],
        },
        "remote": {
            "kind": "weights",
            "path": "hf://org/m",
            "model": "n",
            "revision": "1",
            "stores": ["disk"],
        },
        "dump": {"kind": "command", "argv": ["./dump"]},
    },
    "sites": {
        "gpu": {
            "provider": {"kind": "local", "path": "gpu", "host": "127.0.0.1", "argv": ["serve"]}
        }
    },
    "arbiter": {"kind": "folder", "path": "role"},
}


@pytest.fixture
def located(monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("HOME", "/home/her")
    return with_absolute_paths(Config.model_validate(WRITTEN), PLACE)


def test_every_path_is_absolute_whatever_the_working_directory(located: Config) -> None:
    values = located.model_dump(mode="json")
    assert [store["path"] for store in values["stores"].values()] == [
        "/other/place/copies",
        "/mnt/nas",
    ]
    assert {name: source.get("path") for name, source in values["sources"].items()} == {
        "notes": "/other/place/notes",
        "home": "/home/her/notes",
        "model": "/other/place/models/m",
        "remote": "hf://org/m",
        "dump": None,
    }
    assert values["sources"]["dump"]["cwd"] == "/other/place"
    assert values["sites"]["gpu"]["provider"]["path"] == "/other/place/gpu"
    assert values["arbiter"]["path"] == "/other/place/role"
    assert values["state"]["path"] == "/other/place/.drkit"
    assert values["runbooks"] == "/other/place/runbooks"


def test_what_is_no_path_stays_as_it_is_written(located: Config) -> None:
    assert located.repository.password == ("file:password",)
    assert located.sources["dump"].model_dump()["argv"] == ("./dump",)


def test_doing_it_twice_changes_nothing(located: Config) -> None:
    assert with_absolute_paths(located, Path("/elsewhere")) is located


def test_the_schema_says_where_a_relative_path_lies() -> None:
    from drkit.config.load import config_schema

    defined = config_schema()["$defs"]
    for model in ("FolderStore", "TreeSource", "WeightsSource", "LocalProvider", "FolderArbiter"):
        assert "below this file's folder" in defined[model]["properties"]["path"]["description"]


def test_no_field_called_path_was_forgotten() -> None:
    """A path on this machine is declared `LocalPath`; the others are parts of an address."""
    from drkit.config.load import config_schema

    plain = {
        model
        for model, schema in config_schema()["$defs"].items()
        if "folder" not in schema.get("properties", {}).get("path", {}).get("description", "folder")
    }
    assert plain <= {"GatewayCall", "GatewayRead"}
