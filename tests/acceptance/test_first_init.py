"""`drkit init` in an empty folder: by dialogue on a terminal, by an example in a pipe."""

from pathlib import Path
from typing import Any

import pytest
from terminal import on_a_terminal


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a").write_text("what must not be lost")
    return tmp_path


def test_on_a_terminal_it_asks_writes_and_inits_and_a_backup_works(drkit: Any, empty: Path) -> None:
    status, shown = on_a_terminal(["init"], ["notes", "copies", "", "", ""], cwd=empty)
    assert status == 0, shown
    assert "schedules.yaml is written" in shown
    assert "created in copy1" in shown
    written = (empty / "schedules.yaml").read_text()
    assert drkit("backup", cwd=empty).returncode == 0
    assert list((empty / "copies/repository/snapshots").iterdir())

    again = drkit("init", cwd=empty)
    assert again.returncode == 0
    assert "already in copy1" in again.stdout
    assert (empty / "schedules.yaml").read_text() == written


@pytest.mark.parametrize("key", ["\x03", "\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_whoever_leaves_the_dialogue_leaves_nothing_behind(empty: Path, key: str) -> None:
    status, shown = on_a_terminal(["init"], ["notes", key], cwd=empty)
    assert status == 130, shown
    assert [path.name for path in empty.iterdir()] == ["notes"]


def test_in_a_pipe_the_example_it_shows_is_right_as_it_stands(drkit: Any, empty: Path) -> None:
    done = drkit("init", cwd=empty)
    assert done.returncode == 2
    assert "no terminal to ask" in done.stderr
    assert [path.name for path in empty.iterdir()] == ["notes"]
    (empty / "schedules.yaml").write_text(done.stderr[done.stderr.index("drkit: 1") :])
    checked = drkit("config", "validate", cwd=empty)
    assert checked.returncode == 0, checked.stderr


SERVICE = """\
drkit: 1
stores:
  disk: {kind: folder, role: primary, path: disk}
  b2: {kind: b2, role: archive, bucket: b, endpoint: "http://127.0.0.1:1",
       application_key_id: "file:password", application_key: "file:password"}
repository: {password: "file:password"}
sources: {notes: {kind: tree, path: notes}}
sites: {gpu: {endpoint: "http://127.0.0.1:1"}}
service: {name: chat, model: m, primary: gpu}
arbiter: ARBITER
"""


def test_R1_the_arbiter_is_seen_comparing_first_and_b2_is_refused_with_nothing_made(
    drkit: Any, empty: Path
) -> None:
    (empty / "password").write_text("a password of the test")
    (empty / "password").chmod(0o600)
    text = SERVICE.replace("ARBITER", "{kind: store, store: b2}")
    (empty / "schedules.yaml").write_text(text)
    refused = drkit("init", cwd=empty)
    assert refused.returncode == 2
    assert "kind b2, which has no conditional writes" in refused.stderr
    assert "PostgreSQL" in refused.stderr
    assert not (empty / "disk").exists()

    b2 = text[text.index("  b2:") : text.index("repository:")]
    alone = text.replace(b2, "").replace("{kind: store, store: b2}", "{kind: store, store: disk}")
    (empty / "schedules.yaml").write_text(alone)
    done = drkit("init", cwd=empty)
    assert done.returncode == 0, done.stderr
    assert "arbiter: store disk" in done.stdout
    assert "it gave a lock to one, and refused it to a second" in done.stdout
    assert (empty / ".drkit" / "arbiter-proof.json").exists()
