"""Journals of runs that could have been: a drill that passed, one that failed, a failover..."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from run_records import run_of

from drkit.runs.book.plan import Plan, PlannedStep
from drkit.runs.records import Effect, Entry, RunRecord, RunState

START = datetime(2026, 11, 21, 14, 2, 11, 318224, tzinfo=UTC)

STEPS = (
    # id, phase, effect, budget, needs, on_failure
    ("hold", "dns", Effect.TRAFFIC, 1, (), "continue"),
    ("preflight", "other", Effect.READ, 1, (), "ask"),
    ("acquire", "deploy", Effect.PAID, 3, ("preflight",), "fallback"),
    ("deploy", "deploy", Effect.WRITE, 7, ("acquire",), "rollback"),
    ("fence", "other", Effect.FENCE, 1, ("preflight",), "ask"),
    ("point", "restore", Effect.READ, 1, ("fence",), "rollback"),
    ("restore", "restore", Effect.WRITE, 14, ("point",), "rollback"),
    ("verify", "verify", Effect.READ, 4, ("deploy", "restore"), "rollback"),
    ("cutover", "dns", Effect.TRAFFIC, 4, ("verify",), "rollback"),
    ("verify_public", "verify", Effect.READ, 1, ("cutover",), "rollback"),
    ("observe", "other", Effect.READ, None, ("verify_public",), "rollback"),
    ("commit", "other", Effect.WRITE, None, ("observe",), "ask"),
)


def make_plan(kind: str = "drill", *, skip: dict[str, str] | None = None, **changes: Any) -> Plan:
    steps = tuple(
        PlannedStep(
            id=name,
            phase=phase,  # type: ignore[arg-type]
            action=name,
            version=1,
            effect=effect,
            arguments={},
            needs=needs,
            budget_min=budget,
            timeout_s=600,
            retries=1,
            on_failure=on_failure,  # type: ignore[arg-type]
            skip=(skip or {}).get(name),
            keep=None,
        )
        for name, phase, effect, budget, needs, on_failure in STEPS
    )
    plan = Plan(
        runbook="primary-gpu-down",
        kind=kind,  # type: ignore[arg-type]
        namespace="drill" if kind == "drill" else "production",
        service="assistant",
        primary="lambda",
        target="coreweave",
        lost=("lambda",),
        point="latest",
        rto_min=35,
        rpo_min=60,
        usd_per_hour=5,
        usd_per_run=20,
        ttl_min=240,
        commit_policy="commit",
        commit_after_min=30,
        drkit_version="0.1.0",
        steps=steps,
    )
    return replace(plan, **changes)


@dataclass
class Story:
    """Writes a journal. `at` is in seconds since the run was created."""

    plan: Plan
    created_at: datetime = START
    entries: list[Entry] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.add(0, "state", None, {"from": None, "to": "PLANNED"})

    def add(
        self, at: float, kind: str, step: str | None, payload: Any = None, attempt: int = 0
    ) -> Story:
        self.entries.append(
            Entry(
                seq=len(self.entries) + 1,
                at=self.created_at + timedelta(seconds=at),
                elapsed_s=at,
                step=step,
                attempt=attempt if step is None else attempt or 1,
                kind=kind,  # type: ignore[arg-type]
                payload=payload or {},
            )
        )
        return self

    def state(self, at: float, to: str, **payload: Any) -> Story:
        return self.add(at, "state", None, {"to": to, **payload})

    def intent(self, at: float, step: str, attempt: int = 1) -> Story:
        payload = {"action": step, "version": 1, "effect": "write", "with": {}}
        return self.add(at, "intent", step, payload, attempt)

    def done(
        self, at: float, step: str, proof: str = "", *, output: Any = None, proofs: Any = (),
        attempt: int = 1, adopted: bool = False,
    ) -> Story:  # fmt: skip
        payload = {"output": output or {}, "proof": proof, "proofs": list(proofs)}
        return self.add(at, "done", step, {**payload, "adopted": adopted}, attempt)

    def failed(
        self, at: float, step: str, error: str, hint: str = "", *, proofs: Any = (),
        attempt: int = 1,
    ) -> Story:  # fmt: skip
        payload = {"error": error, "hint": hint, "kind": "VerificationFailed", "retryable": False}
        return self.add(at, "failed", step, {**payload, "proofs": list(proofs)}, attempt)

    def skipped(self, at: float, step: str, reason: str, who: str = "runbook") -> Story:
        return self.add(at, "skipped", step, {"reason": reason, "who": who})

    def undo(self, begin: float, end: float, step: str, proof: str) -> Story:
        self.add(begin, "intent", step, {"action": step, "undo": True})
        return self.add(end, "undone", step, {"proof": proof})

    def paid(self, at: float, state: str, instance_id: str | None = None) -> Story:
        paid = {
            "key": "acquire/1.0", "state": state, "what": "L40 in ORD1",
            "usd_per_hour": 1.5, "instance_id": instance_id,
        }  # fmt: skip
        return self.add(at, "note", "acquire", {"paid": paid})

    def looked(self, at: float, *left: str) -> Story:
        text = "; ".join(left) or "coreweave holds nothing with this run's tag"
        return self.add(at, "note", None, {"left_over": list(left), "text": text})

    def record(self, state: RunState, **changes: Any) -> RunRecord:
        last = self.entries[-1]
        run = run_of(
            self.plan,
            self.created_at,
            id=f"{'drill' if self.plan.kind == 'drill' else 'failover'}-20261121t140211-4f2a9c",
            state=state,
            ended_at=last.at if state.ended else None,
        )
        return replace(run, **changes)


POINT = {
    "snapshot_id": "8e1f6b0c5a9d4c7e2b3f1a0d9c8b7a6f5e4d3c2b1a09f8e7d6c5b4a392817060",
    "point_cut_at": "2026-11-21T13:30:04.000123+00:00",
    "epoch": 3,
    "stores": ["b2", "gcs", "s3"],
    "sources": {
        "sncp": {"kind": "tree", "cut_at": "2026-11-21T13:55:02.114210+00:00", "rpo_min": 60,
                 "lives_on": "vm", "files": 4211, "bytes": 39_412_224},
        "history": {"kind": "tree", "cut_at": "2026-11-21T13:55:02.300841+00:00", "rpo_min": 60,
                    "lives_on": "vm", "files": 1820, "bytes": 12_412_224},
        "qdrant": {"kind": "qdrant", "cut_at": "2026-11-21T13:30:04.000123+00:00", "rpo_min": 60,
                   "lives_on": "qdrant-cloud", "files": 3, "bytes": 212_412_224},
    },
}  # fmt: skip

_PLACE = "/srv/drkit/.drkit/runs/drill-20261121t140211-4f2a9c/restore"
RESTORED = {
    "restored": {
        "sncp": {"into": f"{_PLACE}/sncp", "files": 4211, "bytes": 39_412_224, "seconds": 38.2},
        "history": {"into": f"{_PLACE}/history", "files": 1820, "bytes": 12_412_224,
                    "seconds": 11.9},
        "qdrant": {"into": f"{_PLACE}/qdrant", "files": 3, "bytes": 212_412_224, "seconds": 241.7,
                   "url": "http://10.0.0.7:6333", "collections": ["memories"]},
    },
    "in_place": [],
}  # fmt: skip

IN_PLACE = {"restored": {}, "in_place": ["sncp", "history", "qdrant"]}
DEPLOYED = {"instance_id": "i-77aa02", "endpoint_url": "http://10.0.0.4:8000", "stable": True,
            "manifest_digest": "f3ab" * 16, "files": 8, "bytes": 8_044_982_080}  # fmt: skip


def proof(check: str, subject: str, detail: str, *, passed: bool = True, files: Any = ()) -> Any:
    return {"check": check, "subject": subject, "passed": passed, "detail": detail,
            "files": list(files)}  # fmt: skip


PROOFS = (
    proof("tree", "sncp", "4211 files, every byte, mode, time and link as recorded"),
    proof("tree", "history", "1820 files, every byte, mode, time and link as recorded"),
    proof("weights SHA-256", "weights", "8 files, 7.5 GiB, as the manifest says"),
    proof("exact count", "qdrant memories", "48211 points, as in the snapshot"),
    proof("aliases", "qdrant", "memories_live names memories, as recorded"),
    proof("recorded queries", "qdrant memories", "3 queries, the same 5 ids each"),
    proof(
        "golden answers", "Qwen3-4B", "6 prompts, 96 tokens, largest difference of a logprob 0.002"
    ),
    proof("identity", "Qwen3-4B", "the answer names Qwen3-4B"),
)


def good_drill() -> tuple[RunRecord, Plan, list[Entry]]:
    plan = make_plan(skip={"observe": "the runbook gives this step to failover only"})
    s = Story(plan)
    s.state(0.4, "PREFLIGHT").intent(0.5, "hold").intent(0.6, "preflight")
    s.done(9.1, "hold", "the drill's gateway answers from the external API (claude-sonnet-4-5)")
    s.done(21.4, "preflight", "4 credentials, 3 stores, 1 switch, room on 3 candidates")
    s.state(21.5, "RUNNING").intent(21.6, "acquire").intent(21.7, "fence")
    s.paid(22.0, "REQUESTED").done(23.2, "fence", "nothing to fence: a drill has its own names")
    s.intent(23.4, "point").done(29.0, "point", "snapshot 8e1f6b0c, complete", output=POINT)
    s.intent(29.2, "restore").paid(78.0, "ADOPTED", "i-0b7f12c44a")
    s.done(80.1, "acquire", "L40 in ORD1, $1.50 an hour", output={"instance_id": "i-0b7f12c44a"})
    s.intent(80.3, "deploy").done(331.8, "restore", "3 sources", output=RESTORED)
    s.done(612.9, "deploy", "Qwen3-4B answers at http://10.0.0.4:8000", output=DEPLOYED).intent(
        613.1, "verify"
    )
    s.done(741.0, "verify", "8 proofs", proofs=PROOFS).state(741.1, "VERIFIED")
    s.state(741.2, "CUTOVER").intent(741.3, "cutover")
    s.done(806.0, "cutover", "drill-llm.example.org is 10.0.0.4").intent(806.2, "verify_public")
    s.done(829.7, "verify_public", "through the drill's name, fallback forbidden",
           proofs=[proof("answer through the public name", "drill-llm.example.org",
                         "Qwen3-4B answered, fallback forbidden")])  # fmt: skip
    s.skipped(829.8, "observe", "the runbook gives this step to failover only")
    s.intent(829.9, "commit").done(830.4, "commit", "a drill commits nothing")
    s.state(831, "EVIDENCE").state(832, "TEARDOWN")
    s.undo(832.1, 841.0, "cutover", "drill-llm.example.org is gone")
    s.undo(841.1, 846.0, "restore", "3 restored places removed")
    s.add(846.1, "intent", "acquire", {"action": "acquire", "undo": True})
    s.paid(903.0, "CONFIRMED_GONE", "i-0b7f12c44a")
    s.add(903.2, "undone", "acquire", {"proof": "no instance carries the tag of this run"})
    s.looked(903.8).state(904, "DONE")
    run = s.record(RunState.DONE, outcome="passed", epoch=4,
                   first_failed_probe_at=START - timedelta(seconds=141))  # fmt: skip
    return run, plan, s.entries


def failed_drill() -> tuple[RunRecord, Plan, list[Entry]]:
    plan = make_plan()
    s = Story(plan)
    s.state(0.1, "PREFLIGHT").intent(0.1, "hold").intent(0.1, "preflight")
    s.done(0.4, "hold", "the drill's gateway answers from the external API")
    s.done(0.9, "preflight", "3 stores, 1 switch").state(0.9, "RUNNING")
    s.intent(1.0, "acquire").paid(1.0, "REQUESTED").intent(1.0, "fence")
    s.done(1.1, "fence", "nothing to fence").intent(1.1, "point")
    s.paid(1.3, "ADOPTED", "coreweave-7c1e").done(1.3, "acquire", "L40 in ORD1")
    s.intent(1.4, "deploy").done(1.5, "point", "snapshot 8e1f6b0c", output=POINT)
    s.intent(1.5, "restore").done(4.8, "restore", "3 sources", output=RESTORED)
    s.done(6.2, "deploy", "Qwen3-4B answers at http://127.0.0.4:8000", output=DEPLOYED).intent(
        6.3, "verify"
    )
    broken = "model-00002-of-00002.safetensors"
    s.failed(
        9.4, "verify", f"the weights are not what was recorded: {broken}",
        "keep serving from the external API, then run `drkit check --read-data`",
        proofs=[*PROOFS[:2],
                proof("weights SHA-256", "weights", "1 of 8 files differs from the manifest",
                      passed=False, files=[broken]), *PROOFS[3:6]],
    )  # fmt: skip
    s.state(9.5, "EVIDENCE").state(9.6, "TEARDOWN")
    s.undo(9.7, 9.9, "restore", "3 restored places removed")
    s.add(10.0, "intent", "acquire", {"action": "acquire", "undo": True})
    s.paid(10.4, "CONFIRMED_GONE", "coreweave-7c1e")
    s.add(10.4, "undone", "acquire", {"proof": "no instance carries the tag of this run"})
    s.undo(10.5, 10.6, "hold", "the drill's gateway is as it was")
    s.looked(10.6).state(10.7, "DONE")
    run = s.record(RunState.DONE, outcome="failed", sandbox=True,
                   first_failed_probe_at=START - timedelta(seconds=6.4))  # fmt: skip
    return run, plan, s.entries


def interrupted_drill() -> tuple[RunRecord, Plan, list[Entry]]:
    plan = make_plan()
    s = Story(plan)
    s.state(0.4, "PREFLIGHT").intent(0.5, "preflight").intent(0.5, "hold")
    s.done(2, "hold", "held").done(14, "preflight", "4 credentials").state(14.1, "RUNNING")
    s.intent(14.2, "acquire").intent(14.2, "fence").done(14.9, "fence", "nothing to fence")
    s.intent(15, "point").paid(15, "REQUESTED").done(17.5, "point", "8e1f6b0c", output=POINT)
    s.intent(17.6, "restore").paid(62, "ADOPTED", "i-77aa01")
    s.done(63, "acquire", "L40 in ORD1").intent(63.1, "deploy")
    s.add(391, "resumed", None, {"pid": 4411, "unknown": ["deploy", "restore"]})
    s.add(
        391.1, "note", None, {"text": "the failover failover-20261121t140801-aa01 needs the place"}
    )
    s.state(391.2, "EVIDENCE").state(391.3, "TEARDOWN")
    s.undo(391.4, 396, "restore", "removed")
    s.add(396.1, "intent", "acquire", {"action": "acquire", "undo": True})
    s.paid(431, "CONFIRMED_GONE", "i-77aa01")
    s.add(431.2, "undone", "acquire", {"proof": "no instance carries the tag of this run"})
    s.looked(431.6).state(432, "INTERRUPTED")
    return s.record(RunState.INTERRUPTED, outcome="interrupted"), plan, s.entries


def rolled_back() -> tuple[RunRecord, Plan, list[Entry]]:
    plan = make_plan("failover")
    s = Story(plan)
    s.state(0.3, "PREFLIGHT").intent(0.4, "hold").intent(0.4, "preflight")
    s.done(3.2, "hold", "users are on the external API (claude-sonnet-4-5)")
    s.done(17, "preflight", "4 credentials, 3 stores, 2 switches").state(17, "RUNNING")
    s.intent(17.1, "acquire").paid(17.2, "REQUESTED").intent(17.2, "fence")
    s.failed(
        140, "acquire", "coreweave had no L40 in ORD1 to give", "the next candidate is tried"
    ).intent(146, "acquire", 2)
    s.add(147, "done", "fence", {"proof": "the gateway refuses epoch 3", "output": {}}, 1)
    s.intent(147.2, "point").done(151, "point", "8e1f6b0c", output=POINT).intent(151, "restore")
    s.done(
        151.3,
        "restore",
        "nothing was lost that came back; sncp, history, qdrant stayed in place",
        output=IN_PLACE,
    )
    s.paid(220, "ADOPTED", "i-77aa02").done(221, "acquire", "A40 in LAS1", attempt=2)
    s.intent(221.2, "deploy")
    s.failed(821, "deploy", "vLLM on i-77aa02 did not answer within 10 min: CUDA out of memory",
             "choose a candidate with more memory, or lower --max-model-len")  # fmt: skip
    s.state(821.1, "ROLLING_BACK").undo(821.2, 822, "deploy", "the server is stopped")
    s.add(822.1, "intent", "acquire", {"action": "acquire", "undo": True})
    s.paid(871, "CONFIRMED_GONE", "i-77aa02")
    s.add(871.2, "undone", "acquire", {"proof": "no instance carries the tag of this run"})
    s.undo(871.3, 872, "fence", "the fence is released")
    s.undo(872.1, 872.6, "hold", "they stay on the external API: the primary does not verify")
    s.looked(872.8).state(873, "ROLLED_BACK")
    run = s.record(RunState.ROLLED_BACK, outcome="rolled back",
                   first_failed_probe_at=START - timedelta(seconds=420))  # fmt: skip
    return run, plan, s.entries


def committed() -> tuple[RunRecord, Plan, list[Entry]]:
    """A failover that served after 20 minutes; its process died in between and was resumed."""
    plan = make_plan("failover")
    s = Story(plan)
    s.state(0.3, "PREFLIGHT").intent(0.4, "hold").intent(0.4, "preflight")
    s.done(3.2, "hold", "users are on the external API (claude-sonnet-4-5)")
    s.done(17, "preflight", "4 credentials, 3 stores, 2 switches").state(17, "RUNNING")
    s.intent(17.1, "acquire").paid(17.2, "REQUESTED").intent(17.2, "fence")
    s.done(26, "fence", "the gateway refuses epoch 3")
    s.intent(26.2, "point").done(31, "point", "8e1f6b0c", output=POINT).intent(31.1, "restore")
    s.done(
        31.3,
        "restore",
        "nothing was lost that came back; sncp, history, qdrant stayed in place",
        output=IN_PLACE,
    )
    s.add(212, "resumed", None, {"pid": 5120, "unknown": ["acquire"]})
    s.paid(213, "ADOPTED", "i-77aa02")
    s.done(213.5, "acquire", "L40 in ORD1, found by its tag", adopted=True)
    s.intent(214, "deploy").done(1004, "deploy", "Qwen3-4B answers", output=DEPLOYED).intent(
        1004.1, "verify"
    )
    s.done(1108, "verify", "4 proofs", proofs=[PROOFS[2], *PROOFS[6:]]).state(1108, "VERIFIED")
    s.state(1108.1, "CUTOVER").intent(1108.2, "cutover")
    s.done(1172, "cutover", "llm.example.org is 198.51.100.7").intent(1172.1, "verify_public")
    s.done(1196, "verify_public", "Qwen3-4B answered through the name").state(1196, "OBSERVING")
    s.intent(1196.1, "observe").done(2996, "observe", "60 rounds, all good")
    s.intent(2996.1, "commit").done(2997, "commit", "committed").state(2997.1, "COMMITTED")
    run = s.record(RunState.COMMITTED, outcome="committed", epoch=4,
                   first_failed_probe_at=START - timedelta(seconds=187))  # fmt: skip
    return run, plan, s.entries


STORIES = {
    "good_drill": good_drill,
    "failed_drill": failed_drill,
    "interrupted_drill": interrupted_drill,
    "rolled_back": rolled_back,
    "committed": committed,
}
