"""Each third-party library has one home; what is declared is used, and what is used is declared."""

import re
import tomllib

from source_tree import PROJECT, imports, modules, third_party

# library -> where it may be imported. A folder ends in /.
HOMES: dict[str, tuple[str, ...]] = {
    "apscheduler": ("drkit/service/daemon.py",),
    "boto3": ("drkit/aws.py",),
    "botocore": ("drkit/aws.py",),
    "cryptography": (
        "drkit/health/witness/signing.py",
        "drkit/mirror/ticket.py",
        "drkit/repository/format/sealing.py",
    ),
    "dns": ("drkit/traffic/rfc2136.py", "drkit/standins/"),
    "google": ("drkit/google_cloud.py",),
    "google_crc32c": ("drkit/google_cloud.py",),
    "httpx": ("drkit/http_client.py",),
    "jinja2": ("drkit/runs/evidence/as_html.py",),
    "markupsafe": ("drkit/runs/evidence/as_html.py",),
    "numpy": ("drkit/repository/", "drkit/standins/"),
    "orjson": ("drkit/",),
    "prometheus_client": ("drkit/operations/alerts/exposition.py",),
    "pydantic": ("drkit/config/", "drkit/points/point.py", "drkit/runs/book/schema.py"),
    "pydantic_core": ("drkit/config/", "drkit/runs/book/schema.py"),
    "pyfastcdc": ("drkit/repository/format/chunker.py",),
    "qdrant_edge": ("drkit/sources/qdrant_snapshot.py", "drkit/standins/qdrant_engine.py"),
    "requests": ("drkit/google_cloud.py",),
    "rich": ("drkit/cli/terminal/live.py",),
    "ruamel": ("drkit/config/yaml_text.py",),
    "sqlalchemy": (
        "drkit/state/",
        "drkit/coordination/decisions.py",
        "drkit/runs/journal/journal.py",
        "drkit/runs/journal/lines.py",
        "drkit/runs/journal/opening.py",
        "drkit/runs/journal/reading.py",
        "drkit/runs/journal/rows.py",
    ),
    "starlette": ("drkit/standins/",),
    "typer": ("drkit/cli/",),
    "uvicorn": ("drkit/standins/serve.py",),
    "zstandard": ("drkit/repository/format/compression.py",),
}

# distribution -> the name that is imported, where they differ
IMPORT_NAMES = {
    "google-cloud-storage": "google",
    "dnspython": "dns",
    "prometheus-client": "prometheus_client",
    "ruamel.yaml": "ruamel",
    "qdrant-edge-py": "qdrant_edge",
    "psycopg[binary]": "psycopg",
}
# Used without being imported: SQLAlchemy loads it by the database's URL.
NEVER_IMPORTED = {"psycopg"}
# They come with a library that is declared.
COME_WITH = {
    "botocore": "boto3",
    "markupsafe": "jinja2",
    "pydantic_core": "pydantic",
    "google_crc32c": "google",
    "requests": "google",
}

# Too slow for every command: only where they are used, never when the command line is built.
HEAVY = {
    "apscheduler",
    "boto3",
    "cryptography",
    "google",
    "httpx",
    "jinja2",
    "numpy",
    "requests",
    "rich",
    "sqlalchemy",
}


def test_each_library_is_imported_in_its_home_only() -> None:
    strays = [
        f"{module} imports {library}"
        for module in modules()
        for library in third_party(module)
        if not module.startswith(HOMES.get(library, ("-",)))
    ]

    assert strays == []


def test_no_home_is_empty() -> None:
    for library, homes in HOMES.items():
        for home in homes:
            users = [module for module in modules() if module.startswith(home)]
            assert any(library in third_party(module) for module in users), f"{library} in {home}"


def test_what_is_declared_is_used_and_what_is_used_is_declared() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    required = [
        *project["dependencies"],
        *extras["qdrant"],
        *extras["sandbox"],
        *extras["postgres"],
    ]
    names = {re.split(r"[<>=]", requirement)[0] for requirement in required} - {"drkit[qdrant]"}
    declared = {IMPORT_NAMES.get(name, name) for name in names}
    used = {library for module in modules() for library in third_party(module)}

    assert declared - NEVER_IMPORTED == used - set(COME_WITH)


def test_the_command_line_imports_nothing_heavy_at_its_top() -> None:
    found = [
        f"{module} imports {name}"
        for module in modules()
        if module.startswith("drkit/cli/") and module != "drkit/cli/terminal/live.py"
        for name, at_top in imports(module)
        if at_top and name.partition(".")[0] in HEAVY
    ]

    assert found == []
