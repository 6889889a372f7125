"""Errors become words and an exit status in one place."""

from pathlib import Path

import pytest

from drkit import errors
from drkit.cli.errors import exit_status_of
from drkit.cli.session import Session
from drkit.cli.terminal.output import open_terminal


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(
        config_path=tmp_path / "schedules.yaml",
        sandbox=False,
        json_lines=False,
        verbosity=0,
        dry_run=False,
        terminal=open_terminal(json_lines=False, verbosity=0),
        state_dir=tmp_path / ".drkit",
    )


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ConfigError, 2),
        (errors.MissingCredential, 2),
        (errors.NoRepository, 10),
        (errors.RepositoryLocked, 11),
        (errors.WrongKey, 12),
        (errors.PlaceError, 20),
        (errors.TooFewCopies, 20),
        (errors.DamagedData, 22),
        (errors.VerificationFailed, 22),
        (errors.GuardRefused, 24),
        (errors.NeedsOperator, 25),
        (errors.OutOfCapacity, 26),
        (errors.Interrupted, 130),
    ],
)
def test_each_error_has_its_exit_status_and_says_what_to_do(
    error: type[errors.DrkitError],
    status: int,
    session: Session,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exit_status_of(error("what and where", hint="what next"), session) == status
    assert capsys.readouterr() == ("", "error: what and where\nhint: what next\n")


def test_what_is_not_in_this_version_is_a_matter_of_configuration(session: Session) -> None:
    assert exit_status_of(errors.NotInThisVersion("gcs", hint="use folder"), session) == 2


def test_a_bug_is_short_on_the_terminal_and_whole_in_the_state_folder(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    session.state_dir.mkdir()

    status = exit_status_of(raised(ZeroDivisionError("by nothing")), session)

    shown = capsys.readouterr().err
    (log,) = session.state_dir.glob("error-*.log")
    assert status == 1
    assert "ZeroDivisionError: by nothing" in shown
    assert str(log) in shown
    assert "Traceback" not in shown
    assert "Traceback" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_bug_makes_no_folder_of_its_own(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    exit_status_of(raised(ValueError("x")), session)

    assert not session.state_dir.exists()
    assert "-vv" in capsys.readouterr().err


def test_twice_verbose_shows_the_traceback(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    session.verbosity = 2

    exit_status_of(raised(ValueError("x")), session)

    assert "Traceback" in capsys.readouterr().err


def test_a_state_folder_that_cannot_be_used_is_no_bug(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = NotADirectoryError(20, "Not a directory", str(session.state_dir / "spool" / "1"))
    assert exit_status_of(mine, session) == 20
    told = capsys.readouterr().err
    assert "spool/1: Not a directory" in told
    assert "`state` in schedules.yaml" in told
    assert exit_status_of(NotADirectoryError(20, "Not a directory", "/elsewhere"), session) == 1


def test_a_library_of_an_extra_is_asked_for_by_the_extra(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    error = ModuleNotFoundError("No module named 'qdrant_edge'", name="qdrant_edge")

    assert exit_status_of(error, session) == 2
    assert "pip install 'drkit[qdrant]'" in capsys.readouterr().err


def test_a_module_of_ours_that_is_missing_is_a_bug(session: Session) -> None:
    error = ModuleNotFoundError("No module named 'drkit.x'", name="drkit.x")

    assert exit_status_of(error, session) == 1


def test_an_interruption_is_130(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status_of(KeyboardInterrupt(), session) == 130
    assert capsys.readouterr().err.startswith("error: interrupted\nhint: ")


def test_a_message_from_outside_moves_no_cursor(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    exit_status_of(errors.PlaceError("server said \x1b[2J", hint="-"), session)

    assert "\x1b" not in capsys.readouterr().err


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        ("drkit runs list", "drkit runs list (here with --sandbox)"),
        ("drkit sandbox up, or drkit status --sandbox", "as it is"),
        ("look at the provider", "as it is"),
    ],
)
def test_what_comes_next_in_the_sandbox_is_typed_with_sandbox(
    session: Session,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    hint: str,
    told: str,
) -> None:
    monkeypatch.delenv("DRKIT_SANDBOX", raising=False)
    as_it_is = f"hint: {hint}\n"
    for sandbox, words in ((False, as_it_is), (True, as_it_is.replace(hint, told))):
        session.sandbox = sandbox
        exit_status_of(errors.NeedsOperator("it waits", hint=hint), session)
        expected = as_it_is if told == "as it is" else words
        assert capsys.readouterr().err.endswith(expected)
