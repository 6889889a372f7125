"""Where an arbiter may be: a local folder, never a network; credentials come first."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from drkit.clock import ManualClock
from drkit.config.stores import ArbiterConfig, StoreConfig
from drkit.coordination import catalog
from drkit.coordination.interface import Arbiter, LeaseHeld
from drkit.errors import ConfigError, MissingCredential
from drkit.mounts import is_on_a_disk, network_filesystem
from drkit.secrets.memory import MemorySecrets

STORES: TypeAdapter[dict[str, StoreConfig]] = TypeAdapter(dict[str, StoreConfig])
ARBITERS: TypeAdapter[ArbiterConfig] = TypeAdapter(ArbiterConfig)


def open_one(arbiter: dict[str, str] | None, folder: Path, **values: str) -> Arbiter:
    stores = STORES.validate_python(
        {
            "disk": {"kind": "folder", "role": "primary", "path": f"{folder}/d", "prefix": "p"},
            "gcs": {"kind": "gcs", "role": "backup", "bucket": "b", "credentials": "env:G"},
            "b2": {
                "kind": "b2",
                "role": "archive",
                "bucket": "b",
                "endpoint": "https://x",
                "application_key_id": "env:G",
                "application_key": "env:G",
            },
        }
    )
    config = ARBITERS.validate_python(arbiter) if arbiter else None
    secrets = MemorySecrets({f"env:{name}": value for name, value in values.items()})
    return catalog.open_arbiter(config, stores, folder / "state", secrets, ManualClock())


@pytest.mark.parametrize(
    ("arbiter", "where"),
    [
        (None, "state/arbiter"),
        ({"kind": "store", "store": "disk"}, "d/p/arbiter"),
        ({"kind": "folder", "path": "{folder}/own"}, "own"),
    ],
)
def test_it_lies_where_the_configuration_says(
    tmp_path: Path, arbiter: dict[str, str] | None, where: str
) -> None:
    if arbiter and "path" in arbiter:
        arbiter = {**arbiter, "path": str(tmp_path / "own")}
    opened = open_one(arbiter, tmp_path)
    assert list(tmp_path.iterdir()) == []
    opened.acquire("chat", "a", ttl_s=60)
    assert (tmp_path / where).is_dir()
    with pytest.raises(LeaseHeld):
        open_one(arbiter, tmp_path).acquire("chat", "b", ttl_s=60)


def test_credentials_are_looked_for_before_anything_is_opened(tmp_path: Path) -> None:
    for arbiter in ({"kind": "store", "store": "gcs"}, {"kind": "postgres", "url": "env:G"}):
        with pytest.raises(MissingCredential, match="env:G"):
            open_one(arbiter, tmp_path)


def test_R1_a_store_without_conditional_writes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no conditional writes"):
        open_one({"kind": "store", "store": "b2"}, tmp_path, G="x")


def test_R1_a_network_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted = f"9 8 0:7 / {tmp_path} rw - nfs4 server:/x rw"
    monkeypatch.setattr(catalog, "read_mountinfo", lambda: mounted)
    with pytest.raises(ConfigError, match="nfs4"):
        open_one({"kind": "store", "store": "disk"}, tmp_path)
    with pytest.raises(ConfigError, match="nfs4"):
        open_one(None, tmp_path)


MOUNTS = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/nas rw - cifs //nas/x rw
31 30 8:2 / /mnt/nas/local rw - xfs /dev/sdb1 rw
32 22 0:41 / /mnt/two\040words rw - fuse.sshfs host:/x rw
33 22 0:42 / /over rw - nfs server:/x rw
34 33 8:3 / /over rw - ext4 /dev/sdc1 rw
35 22 0:43 / /home/me/enc rw - fuse.fuse-overlayfs x rw
garbage
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/srv/x", None),
        ("/mnt/nas", "cifs"),
        ("/mnt/nas/a/b", "cifs"),
        ("/mnt/nas/local/a", None),
        ("/mnt/nasty", None),
        ("/mnt/two words/a", "fuse.sshfs"),
        ("/over/a", None),
        ("/home/me/enc/a", None),
    ],
)
def test_R1_the_innermost_and_latest_mount_decides(folder: str, kind: str | None) -> None:
    assert network_filesystem(Path(folder), MOUNTS) == kind
    assert is_on_a_disk(Path(folder), MOUNTS) == (kind is None and not folder.startswith("/home"))
