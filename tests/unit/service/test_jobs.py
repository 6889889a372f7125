"""Each schedule becomes the command that an operator would type."""

import pytest

from drkit.config.models import Job
from drkit.service import jobs as jobs_module
from drkit.service.jobs import LeftOut, plan_jobs


def test_a_schedule_becomes_a_command_line() -> None:
    jobs, left_out = plan_jobs(
        {
            "sncp": Job(run="backup", sources=("sncp", "history"), every="15m"),
            "drill": Job(run="run-drill", to="coreweave", cron="0 9 1 1 *", deadline="2h"),
        }
    )

    assert not left_out
    assert jobs[0].arguments == ("backup", "--source", "sncp", "--source", "history")
    assert (jobs[0].every_s, jobs[0].deadline_s) == (900, 3600)
    assert jobs[1].arguments == ("run-drill", "--to", "coreweave")
    assert jobs[1].cron is not None
    assert jobs[1].deadline_s == 7200


def test_a_prune_forgets_by_the_keep_rules_first() -> None:
    jobs, left_out = plan_jobs({"prune": Job(run="prune", cron="40 5 * * *")})

    assert jobs[0].arguments == ("prune", "--forget")
    assert left_out == ()


def test_a_check_reads_what_is_due_and_puts_back_where_that_is_said() -> None:
    jobs, _ = plan_jobs(
        {"look": Job(run="check", every="1d"), "mend": Job(run="check", every="1d", repair=True)}
    )
    assert [job.arguments for job in jobs] == [("check", "--due"), ("check", "--due", "--repair")]
    with pytest.raises(ValueError, match="belongs to a check"):
        Job(run="prune", every="1d", repair=True)


def test_a_command_that_this_version_lacks_is_left_out_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs_module, "IN_THIS_VERSION", ("backup",))
    jobs, left_out = plan_jobs({"prune": Job(run="prune", cron="40 5 * * 0")})

    assert jobs == ()
    assert left_out == (LeftOut("prune", "not in this version: prune"),)
