"""What a crash, a reused pid or a dead server leaves of a local instance."""

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from drkit.clock import ManualClock
from drkit.compute import local as local_module
from drkit.compute.interface import Instance, InstanceState, LaunchSpec, Offer
from drkit.compute.local import LocalCompute
from drkit.compute.local_record import read_process, write_process
from drkit.compute.process import process, processes_with
from drkit.config.places import LocalProvider

EXECS = (
    sys.executable,
    "-S",
    "-c",
    "import os, sys; rest = sys.argv[sys.argv.index('--') + 1:]; os.execv(rest[0], rest)",
)
SLEEP = (sys.executable, "-S", "-c", "import time; time.sleep(600)")
OFFER = Offer("A40", None, 1.0)


def spec(**environment: str) -> LaunchSpec:
    return LaunchSpec("qwen", "image", ("--ignored",), 8000, "ticket", environment)


def provider(folder: Path, *argv: str) -> LocalCompute:
    config = LocalProvider(kind="local", path=str(folder), host="127.0.0.1", argv=argv or SLEEP)
    return LocalCompute(config, clock=ManualClock(), bootstrap=EXECS)


@pytest.fixture
def compute(tmp_path: Path):
    compute = provider(tmp_path / "site")
    yield compute
    for instance in compute.find({}):
        compute.destroy(instance.id)


def pid_of(instance: Instance) -> int:
    assert instance.model_dir is not None
    started = read_process(instance.model_dir.parent)
    assert started is not None
    return started.pid


def test_the_server_runs_in_a_session_of_its_own_with_the_values_of_its_instance(tmp_path) -> None:
    script = "import sys, time; print(sys.argv[1:], flush=True); time.sleep(600)"
    argv = (sys.executable, "-c", script, "{data}", "{host}:{port}", "{model}", "{instance}", "{x}")
    compute = provider(tmp_path, *argv)
    made = compute.create(OFFER, spec(), {})
    log = made.model_dir.parent / "server.log"
    while not log.read_text().endswith("\n"):
        pass
    expected = [str(made.model_dir), f"127.0.0.1:{made.endpoint.port}", "qwen", made.id, "{x}"]
    assert log.read_text() == f"{expected}\n"
    assert os.getsid(pid_of(made)) == pid_of(made) != os.getsid(0)
    compute.destroy(made.id)


def test_no_password_of_ours_reaches_the_server(compute, monkeypatch) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", "planted")
    made = compute.create(OFFER, spec(DRKIT_TICKET_KEY="one"), {})
    place = Path(f"/proc/{pid_of(made)}/environ")
    while not (environment := place.read_bytes()):  # empty while it becomes another program
        pass
    assert b"DRKIT_TICKET_KEY=one" in environment
    assert b"planted" not in environment


def test_destroy_ends_the_server_and_what_it_started_and_removes_the_folder(tmp_path) -> None:
    script = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(600)'],"
        " start_new_session=True); print('up', flush=True); time.sleep(600)"
    )
    local_module._STOP_GRACE_S, grace = 0.2, local_module._STOP_GRACE_S
    try:
        compute = provider(tmp_path, sys.executable, "-c", script)
        made = compute.create(OFFER, spec(), {})
        folder = made.model_dir.parent
        while (folder / "server.log").read_text() != "up\n":
            pass
        assert len(list(processes_with({"DRKIT_INSTANCE": str(folder)}))) == 2
        compute.destroy(made.id)
    finally:
        local_module._STOP_GRACE_S = grace
    assert list(processes_with({"DRKIT_INSTANCE": str(folder)})) == []
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_ended_is_failed_and_says_its_last_words(tmp_path) -> None:
    compute = provider(tmp_path, sys.executable, "-c", "raise SystemExit('no such weights')")
    made = compute.create(OFFER, spec(), {"run": "r"})
    read_process(made.model_dir.parent).wait(10)
    (found,) = compute.find({"run": "r"})
    assert found.state is InstanceState.FAILED
    assert "no such weights" in found.detail
    compute.destroy(made.id)
    assert compute.find({}) == []


def test_a_reused_pid_is_neither_taken_for_the_server_nor_killed(compute) -> None:
    made = compute.create(OFFER, spec(), {})
    folder = made.model_dir.parent
    real = read_process(folder)
    bystander = subprocess.Popen(SLEEP)
    try:
        now = process(bystander.pid)
        write_process(folder, replace(now, start_ticks=now.start_ticks - 1))
        assert compute.get(made.id).state is InstanceState.FAILED
        compute.destroy(made.id)
        assert bystander.poll() is None
        assert not real.alive, "its own server is found by its environment all the same"
        write = replace(now, boot_id="another boot")
        assert not write.alive
        assert not write.send(signal.SIGKILL)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize("where", ["record", "spawn"])
def test_a_crash_in_create_leaves_no_process_and_an_instance_that_can_be_removed(
    tmp_path: Path, where: str
) -> None:
    victim = textwrap.dedent(f"""
        import os, signal, sys
        from pathlib import Path
        from drkit.clock import ManualClock
        from drkit.compute import local
        from drkit.compute.interface import LaunchSpec, Offer
        from drkit.config.places import LocalProvider
        die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
        if {where!r} == "record":
            os.posix_spawn = die
        else:
            local.write_process = die
        config = LocalProvider(kind="local", path={str(tmp_path)!r}, host="127.0.0.1",
                               argv={SLEEP!r})
        local.LocalCompute(config, clock=ManualClock(), bootstrap={EXECS!r}).create(
            Offer("A40", None, 1.0), LaunchSpec("m", "i", (), 1, "t", {{}}), {{"run": "r"}})
    """)
    ended = subprocess.run(
        [sys.executable, "-c", victim], cwd=Path(local_module.__file__).parents[2]
    )
    assert ended.returncode == -signal.SIGKILL
    compute = provider(tmp_path)
    (left,) = compute.find({"run": "r"})
    assert left.state is InstanceState.FAILED
    assert "nothing was started" in left.detail
    for orphan in processes_with({"DRKIT_INSTANCE": str(tmp_path / left.id)}):
        assert orphan.wait(10), "a gate whose parent died must not become a server"
    compute.destroy(left.id)
    assert list(tmp_path.iterdir()) == []


def test_half_made_folders_are_no_instances(tmp_path: Path) -> None:
    for name in (".local-0123456789ab.new", "local-0123456789ab", "something-else"):
        (tmp_path / name).mkdir()
    assert provider(tmp_path).find({}) == []


def test_preflight_names_a_program_that_is_not_there(tmp_path: Path) -> None:
    (note,) = provider(tmp_path, "no-such-program-here").preflight()
    assert note.level == "error"
    assert "no-such-program-here" in note.text
