"""Data that must stay in a part of the world is kept from stores and targets outside it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drkit.cli.repository.backing_up import run_backup
from drkit.config.load import load_config
from drkit.config.models import Config
from drkit.config.regions import area_of
from drkit.config.residency import outside, region_of_endpoint
from drkit.errors import ConfigError
from drkit.stores.inspection import Inspection

KEYS = {"access_key_id": "env:A", "secret_access_key": "env:B"}


def s3(**fields: object) -> dict[str, object]:
    return {"kind": "s3", "role": "backup", "bucket": "b", **KEYS, **fields}


def target(provider: dict[str, object], *regions: str | None) -> dict[str, object]:
    candidates = [{"gpu": "L40", "max_usd_per_hour": 1, "region": region} for region in regions]
    return {"provider": provider, "candidates": candidates}


LAMBDA = {"kind": "lambda", "api_key": "env:L", "ssh_key_name": "k"}
LOCAL = {"kind": "local", "path": "./gpu", "host": "127.0.0.1", "argv": ["true"]}


def deployment(**parts: Any) -> dict[str, Any]:
    return {
        "drkit": 1,
        "stores": {"here": {"kind": "folder", "role": "primary", "path": "./here"}},
        "repository": {"password": "env:P"},
        "sources": {"sncp": {"kind": "tree", "path": "./sncp", "residency": "eu"}},
        **parts,
    }


def store(**fields: object) -> dict[str, Any]:
    return deployment(stores={"far": s3(**fields)})


@pytest.mark.parametrize(
    "parts",
    [
        deployment(),
        store(region="eu-central-1"),
        store(endpoint="https://s3.eu-central-003.backblazeb2.com"),
        deployment(targets={"gpu": target(LAMBDA, "europe-central-1")}),
        deployment(targets={"gpu": target(LOCAL, None)}),
        store(),
        deployment(
            sources={"sncp": {"kind": "tree", "path": "."}}, stores={"far": s3(region="us-east-1")}
        ),
    ],
)
def test_places_inside_are_taken(parts: dict[str, Any]) -> None:
    config = Config.model_validate(parts)

    assert outside(config.sources, config.stores, config.targets) == []


@pytest.mark.parametrize(
    ("parts", "where", "why"),
    [
        (store(region="us-east-1"), "stores.far.region", "us-east-1 is in us"),
        (store(region="eu-west-2"), "stores.far.region", "eu-west-2 is in uk"),
        (
            store(endpoint="https://s3.us-west-004.backblazeb2.com"),
            "stores.far.region",
            "us-west-004 is in us",
        ),
        (
            deployment(targets={"gpu": target(LAMBDA, "europe-central-1", "us-west-2")}),
            "targets.gpu.candidates.1.region",
            "us-west-2 is in us",
        ),
        (
            deployment(targets={"gpu": target(LAMBDA, None)}),
            "targets.gpu.candidates.0.region",
            "nothing says where this is",
        ),
        (
            deployment(targets={"gpu": target(LOCAL, "us-west-2")}),
            "targets.gpu.candidates.0.region",
            "us-west-2 is in us",
        ),
    ],
)
def test_places_outside_are_refused_with_the_reason(
    parts: dict[str, Any], where: str, why: str
) -> None:
    with pytest.raises(ValueError, match="must stay in eu") as caught:
        Config.model_validate(parts)
    assert where in str(caught.value)
    assert why in str(caught.value)


def test_weights_concern_only_the_stores_that_mirror_them() -> None:
    weights = {
        "kind": "weights",
        "path": ".",
        "model": "m",
        "revision": "r",
        "residency": "eu",
        "stores": ["near"],
    }
    parts = deployment(
        stores={"near": s3(region="eu-north-1"), "far": s3(region="us-east-1")},
        sources={"model": weights},
    )
    config = Config.model_validate(parts)

    assert outside(config.sources, config.stores, config.targets) == []
    weights["stores"] = ["near", "far"]
    with pytest.raises(ValueError, match=r"stores\.far\.region"):
        Config.model_validate(parts)


def test_the_line_of_the_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "schedules.yaml").write_text(
        "drkit: 1\n"
        "stores:\n"
        "  far: {kind: s3, role: backup, bucket: b, region: us-east-1,\n"
        "        access_key_id: env:A, secret_access_key: env:B}\n"
        "repository: {password: env:P}\n"
        "sources:\n"
        "  sncp: {kind: tree, path: ., residency: eu}\n"
    )
    with pytest.raises(ConfigError, match=r"schedules\.yaml:3.*sncp.*must stay in eu"):
        load_config(tmp_path / "schedules.yaml")


def app_of(config: Config, says: str | None = None) -> Any:
    """An app whose store says where it lies; whatever else is asked of it fails."""
    far = SimpleNamespace(inspect=lambda: Inspection("far", region=says))
    return SimpleNamespace(config=config, store=lambda name: far)


def test_a_backup_looks_again_and_cuts_nothing() -> None:
    inside = Config.model_validate(store(region="eu-central-1"))
    moved = inside.stores["far"].model_copy(update={"region": "us-east-1"})
    config = inside.model_copy(update={"stores": {"far": moved}})
    with pytest.raises(ConfigError, match=r"stores\.far\.region.*us-east-1 is in us"):
        run_backup(app_of(config))


@pytest.mark.parametrize("says", ["us-east-1", None])
def test_a_bucket_of_which_nothing_is_written_is_asked_before_a_backup(says: str | None) -> None:
    config = Config.model_validate(store())
    with pytest.raises(ConfigError, match=r"stores\.far\.region: `sncp` must stay in eu"):
        run_backup(app_of(config, says))
    with pytest.raises(AttributeError):  # it went on, to what this app has not
        run_backup(app_of(config, "eu-north-1"))


@pytest.mark.parametrize(
    ("region", "area"),
    [("EU-RO-1", "eu"), ("DE", "eu"), ("CH", "other"), ("US-EAST-04A", "us"), ("CA", "canada")],
)
def test_regions_of_gpu_providers_are_known(region: str, area: str) -> None:
    assert area_of(region) == area


def test_only_endpoints_that_name_a_region_are_read() -> None:
    assert region_of_endpoint("https://s3.eu-central-003.backblazeb2.com") == "eu-central-003"
    assert region_of_endpoint("http://127.0.0.1:9000") is None
    assert region_of_endpoint(None) is None
