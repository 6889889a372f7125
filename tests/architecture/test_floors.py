"""A folder imports only from the floors below it; adapters only through their catalog."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from source_tree import PROJECT, file_of, imports, modules

LINT_IMPORTS = shutil.which("lint-imports", path=str(Path(sys.executable).parent))

# Whoever else may import an adapter's module, and why.
BESIDE_THE_CATALOG = {
    # the Qdrant client is also what restores and verifies
    "drkit/sources/qdrant_rest.py": ("drkit/runs/actions/", "drkit/verify/"),
    # what a restore reads is laid out by the source that cut it
    "drkit/sources/qdrant.py": ("drkit/runs/actions/",),
    # no adapter: the patterns that sources, restores and listings share
    "drkit/sources/patterns.py": ("drkit/",),
    # the drill's wiring opens the drill's own lease folder
    "drkit/coordination/folder.py": ("drkit/wiring/",),
}


def test_the_import_contracts_hold() -> None:
    assert LINT_IMPORTS is not None
    done = subprocess.run(
        [LINT_IMPORTS, "--no-cache"], cwd=PROJECT, capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stdout[-4000:]


def catalogs() -> list[str]:
    return [module for module in modules() if module.endswith("/catalog.py")]


@pytest.mark.parametrize("catalog", catalogs())
def test_adapters_are_reached_through_their_catalog_only(catalog: str) -> None:
    folder = catalog.removesuffix("catalog.py")
    adapters = {
        found
        for name, _ in imports(catalog)
        if (found := file_of(name)) and found.startswith(folder)
    } - {f"{folder}interface.py", f"{folder}__init__.py"}
    strangers = [
        f"{module} imports {target}"
        for module in modules()
        if not module.startswith(folder)
        for name, _ in imports(module)
        if (target := file_of(name)) in adapters
        and not module.startswith(BESIDE_THE_CATALOG.get(target, ("-",)))
    ]

    assert adapters, f"{catalog} opens nothing"
    assert strangers == []


def test_there_is_a_catalog_for_every_capability() -> None:
    folders = {catalog.split("/")[1] for catalog in catalogs()}

    assert {"stores", "sources", "compute", "traffic", "secrets"} <= folders
