"""The first schedules.yaml: what is asked, what is written, and that nothing is overwritten."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drkit.cli.repository import dialogue
from drkit.cli.repository.dialogue import _create, ask_all, write_first_config
from drkit.config.load import load_config
from drkit.config.starter import EXAMPLE_ANSWERS, Answers, starter_text
from drkit.errors import ConfigError, GuardRefused


class Person:
    """Answers in order; an empty answer takes the default, as on a terminal."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, question: str, default: str) -> str:
        self.asked.append(question)
        return self.answers.pop(0) or default


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    return tmp_path


def test_empty_answers_take_what_is_in_brackets(root: Path) -> None:
    person = Person("notes", "/mnt/copy", "", "", "")
    assert ask_all(root, person) == Answers("notes", ("/mnt/copy",), "file:restic-password", "15m")


def test_an_answer_that_cannot_be_is_asked_again_with_the_reason(root: Path) -> None:
    person = Person("absent", "notes", "a", "b", "hunter2", "env:PW", "often", "1h")
    assert ask_all(root, person) == Answers("notes", ("a", "b"), "env:PW", "1h")
    assert person.asked[1].startswith("absent is no folder here; ")
    assert person.asked[5].startswith("A reference, never the password; ")
    assert person.asked[7].startswith("'often' is no duration")


def test_a_password_that_is_in_the_environment_is_offered(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", "x")
    assert ask_all(root, Person("notes", "a", "", "", "")).password == "env:RESTIC_PASSWORD"


@pytest.mark.parametrize(
    "answers",
    [
        EXAMPLE_ANSWERS,
        Answers("~/a: #b", ('C:\\x "y"', "- z"), "cmd:pass show 'a b' # c", "1h30m"),
    ],
)
def test_what_is_written_is_a_right_configuration(root: Path, answers: Answers) -> None:
    path = root / "schedules.yaml"
    path.write_text(starter_text(answers))
    config = load_config(path)
    assert config.model_dump(mode="json")["sources"]["files"]["path"] == answers.tree
    assert [store.path for store in config.stores.values()] == list(answers.stores)  # type: ignore[union-attr]
    assert [store.role for store in config.stores.values()] == ["primary", "backup"]
    assert config.repository.password == (answers.password,)
    assert set(config.schedules) == {"backup", "check"}


def session(root: Path, *, terminal: bool, monkeypatch: pytest.MonkeyPatch) -> Any:
    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: terminal, raising=False)
    said: list[str] = []
    return SimpleNamespace(
        config_path=root / "schedules.yaml",
        root=root,
        json_lines=False,
        said=said,
        terminal=SimpleNamespace(say=said.append),
    )


def test_in_a_pipe_it_says_what_to_write_and_writes_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="no terminal to ask") as caught:
        write_first_config(session(root, terminal=False, monkeypatch=monkeypatch))
    assert starter_text(EXAMPLE_ANSWERS) in caught.value.hint
    assert [path.name for path in root.iterdir()] == ["notes"]


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_whatever_is_there_is_left_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = root / "schedules.yaml"
    if kind == "file":
        path.write_text("drkit: 0 # broken")
    else:
        path.symlink_to(root / "elsewhere.yaml")
    monkeypatch.setattr(dialogue, "ask_all", None)
    write_first_config(session(root, terminal=True, monkeypatch=monkeypatch))
    assert not (root / "elsewhere.yaml").exists()
    assert kind != "file" or path.read_text() == "drkit: 0 # broken"


def test_the_password_is_made_once_and_before_the_file_that_names_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = Answers("notes", ("copies",), "file:restic-password", "15m")
    monkeypatch.setattr(dialogue, "ask_all", lambda _root, _ask: answers)
    real, made = dialogue._create, []

    def interrupted(path: Path, content: bytes, *, mode: int) -> None:
        made.append(path.name)
        if path.name == "schedules.yaml":
            raise KeyboardInterrupt
        real(path, content, mode=mode)

    monkeypatch.setattr(dialogue, "_create", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_first_config(session(root, terminal=True, monkeypatch=monkeypatch))
    assert made == ["restic-password", "schedules.yaml"]
    password = (root / "restic-password").read_text()
    assert (root / "restic-password").stat().st_mode & 0o777 == 0o600

    monkeypatch.setattr(dialogue, "_create", real)
    talk = session(root, terminal=True, monkeypatch=monkeypatch)
    write_first_config(talk)
    assert (root / "restic-password").read_text() == password
    assert load_config(root / "schedules.yaml").sources
    assert password.strip() not in " ".join(talk.said) + (root / "schedules.yaml").read_text()


def test_a_file_that_appeared_meanwhile_is_left_alone(root: Path) -> None:
    (root / "f").write_text("theirs")
    with pytest.raises(GuardRefused, match="is there by now"):
        _create(root / "f", b"ours", mode=0o644)
    assert (root / "f").read_text() == "theirs"
