"""What one store holds of a mirrored model, by its listing and its own manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drkit.errors import DamagedData, DrkitError
from drkit.mirror.manifest import (
    MANIFEST,
    MOST_MANIFEST_BYTES,
    FileEntry,
    Manifest,
    mirror_folder,
)
from drkit.stores.interface import Store


@dataclass(frozen=True, slots=True)
class Holding:
    """`sizes`: bytes by path, as listed. `claimed`: what the store's own manifest says, by path.

    `unusable`: why the store cannot be used, in words.
    """

    store: Store
    manifest: Manifest | None
    sizes: Mapping[str, int]
    claimed: Mapping[str, FileEntry]
    unusable: str | None = None

    def lacks(self, manifest: Manifest) -> list[str]:
        """Paths of `manifest` that are not listed with their size."""
        return [
            file.path for file in manifest.files if self.sizes.get(file.path) != file.size_bytes
        ]


def look_at(store: Store, model: str, revision: str) -> Holding:
    """Asks the store; never raises for what the store does. A damaged manifest is as none."""
    folder = mirror_folder(model, revision)
    try:
        listed = {info.name: info.size_bytes for info in store.list(folder)}
        manifest = None
        if folder + MANIFEST in listed:
            manifest = read_manifest(store, model, revision, size_bytes=listed[folder + MANIFEST])
    except DamagedData:
        manifest = None
    except DrkitError as error:
        return Holding(store, None, {}, {}, error.message)
    sizes = {name[len(folder) :]: size for name, size in listed.items()}
    claimed = {file.path: file for file in manifest.files} if manifest else {}
    return Holding(store, manifest, sizes, claimed)


def read_manifest(store: Store, model: str, revision: str, *, size_bytes: int) -> Manifest:
    """The store's manifest, read whole. Raises `DamagedData` when it is not this model's."""
    name = mirror_folder(model, revision) + MANIFEST
    found_in = f"{store.name}: {name}"
    if size_bytes > MOST_MANIFEST_BYTES:
        raise DamagedData(f"{found_in} has {size_bytes} bytes", hint="mirror the weights again")
    manifest = Manifest.from_bytes(store.get(name), found_in=found_in)
    if (manifest.model, manifest.revision) != (model, revision):
        raise DamagedData(
            f"{found_in} is that of {manifest.model} at {manifest.revision}",
            hint="mirror the weights again: drkit backup",
        )
    return manifest
