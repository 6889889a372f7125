"""What a decision is weighed by, when all speaks for acting."""

from drkit.coordination.decision import Facts

OUTAGE = Facts(
    down=True,
    ever_healthy=True,
    answers=False,
    blind=False,
    flapping=False,
    seen_down=2,
    seeing=3,
    leads=True,
    arbiter_reachable=True,
    paused=False,
    open_run=False,
    cooldown_left_s=0,
    unattended_last_day=0,
    unattended_last_week=0,
    standby_proof_age_s=60,
)
