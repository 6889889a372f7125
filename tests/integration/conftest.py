"""Real servers that a whole session shares."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from listening import free_port


def _program(name: str) -> str | None:
    """Debian keeps PostgreSQL's programs off the path, in a folder of their version."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


def _as_its_user(argv: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return argv
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *argv]


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of a PostgreSQL of our own, without a database name."""
    initdb, postgres = _program("initdb"), _program("postgres")
    if initdb is None or postgres is None:
        pytest.skip("needs PostgreSQL's programs (Debian: postgresql)")
    folder = tmp_path_factory.mktemp("postgres")
    if os.getuid() == 0:
        for parent in (folder, *folder.parents):
            if parent.stat().st_mode & 0o001 == 0:
                parent.chmod(parent.stat().st_mode | 0o011)
        shutil.chown(folder, "postgres", "postgres")
    data = str(folder / "data")
    made = _as_its_user([initdb, "-D", data, "-A", "trust", "-U", "postgres", "--no-sync"])
    subprocess.run(made, check=True, capture_output=True, cwd="/")
    port = free_port()
    argv = [postgres, "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
    argv += ["-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
    server = subprocess.Popen(_as_its_user(argv), stderr=subprocess.DEVNULL, cwd="/")
    try:
        url = f"postgresql://postgres@127.0.0.1:{port}"
        _wait_until_it_answers(url)
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)


@pytest.fixture
def postgres_url(postgres_server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of an empty database of the test's own."""
    import psycopg

    name = f"t{abs(hash(request.node.nodeid)):x}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield f"{postgres_server}/{name}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        # forced: what a test leaves open would count against the server's hundred connections
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _wait_until_it_answers(url: str) -> None:
    import psycopg

    end = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(f"{url}/postgres", connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
