"""What a step asks before it acts: may this attempt still do something?"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from drkit.clock import Clock
from drkit.coordination.interface import Lease
from drkit.runs.failures import StepStopped
from drkit.runs.journal.journal import ClaimLost, Journal
from drkit.runs.lease import KeptLease
from drkit.runs.records import JSON, PaidResource, paid_resources

_SLICE_S = 0.2


class StepGuard:
    """One step's guard, through all its attempts. `settle` is won once: by the step's own result
    or by whoever stopped waiting for it, never by both. One that is left does not begin again.
    """

    def __init__(
        self,
        journal: Journal,
        run_id: str,
        step_id: str,
        epoch: int,
        lease: KeptLease,
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._run_id = run_id
        self._step_id = step_id
        self._epoch = epoch
        self._lease = lease
        self._clock = clock
        self._stopped = threading.Event()
        self._settled = threading.Lock()
        self._beginning = threading.Lock()
        self._proved_epoch: int | None = epoch
        self.attempt = 0
        self.began_s = self._sent_s = clock.elapsed_s()

    @property
    def epoch(self) -> int:
        return self._epoch

    def check(self) -> None:
        self._unless_stopped()
        if not self._journal.holds(self._run_id):
            raise ClaimLost(
                f"run {self._run_id} is executed by another process now",
                hint="leave it to that one",
            )
        self._lease.prove(self._run_id, self._proved_epoch)
        if self._journal.run(self._run_id).local_only:
            self._lease.say_local_only(self._run_id)
        self._unless_stopped()
        self._sent_s = self._clock.elapsed_s()  # what is sent now, directly after this

    def whoever_serves(self) -> None:
        """From now on only what is this run's own is touched, so that its epoch may be over."""
        self._proved_epoch = None

    def pause(self, seconds: float) -> None:
        end_s = self._clock.elapsed_s() + seconds
        while (rest_s := end_s - self._clock.elapsed_s()) > 0:
            self._unless_stopped()
            self._clock.sleep(min(rest_s, _SLICE_S))
        self._unless_stopped()

    def outwait_former_holder(self, time_scale: float, *, again: bool = False) -> None:
        """Returns when no effect of a former holder can come between (T3), and says that it waits;
        nor anything that this process asked for and got no answer to. `again`: but for the same,
        which this step asks for once more. Called before each effect that may not be done twice.
        """
        wait_s = self._lease.wait_s(again=self._step_id if again else None) / time_scale
        if wait_s > 0:
            text = f"waits {wait_s:.0f} s for what another process sent, or got no answer"
            self.note({"text": text})
            self.began_s = self._clock.elapsed_s() + wait_s  # its own time begins after that
            self.pause(wait_s)
            said = "nothing of what was sent before can arrive now"
            self.note({"outwaited": True, "again": again, "text": said})

    def unanswered(self, payload: Mapping[str, JSON]) -> None:
        """Notes `payload`, and that a request got no answer: what asks for something else waits
        until it cannot arrive any more, also in another process (T3).
        """
        self._lease.unanswered(self._step_id, self._sent_s)
        self.note({**payload, "unanswered": True})

    def note(self, payload: Mapping[str, JSON]) -> None:
        self._journal.append(
            self._run_id, "note", step=self._step_id, attempt=self.attempt, payload=payload
        )

    def notes(self, name: str) -> list[Mapping[str, JSON]]:
        payloads = (
            entry.payload.get(name)
            for entry in self._journal.entries(self._run_id)
            if entry.kind == "note" and entry.step == self._step_id
        )
        return [payload for payload in payloads if isinstance(payload, Mapping)]

    def lease(self) -> Lease:
        return self._lease.prove(self._run_id, self._epoch)

    def paid(self) -> tuple[PaidResource, ...]:
        return paid_resources(self._journal.entries(self._run_id))

    def stop(self) -> None:
        """The step is to end soon; its next `check` or `pause` raises."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    def settle(self) -> bool:
        """True for the first caller, who alone writes how the attempt ended."""
        return self._settled.acquire(blocking=False)

    def leave(self, why: str) -> bool:
        """Nobody waits for the step any more, and what it sent may still arrive: the effects that
        come next wait for that, in this process and in every other (T3). False: it has ended.
        """
        with self._beginning:
            if not self.settle():
                return False
            self.stop()
        if not self.attempt:
            return True  # it had not begun, and never will
        self.note({"effect_unknown": why, "former_holder": True})
        self._lease.outwait()
        return True

    def begin(self, attempt: int, intent: Mapping[str, JSON] | None = None) -> None:
        """The next attempt begins now, and its intent is in the journal: how it ends is open again.

        Raises `StepStopped` where nobody waits for the step any more; then nothing was written.
        """
        with self._beginning:
            self._unless_stopped()
            self.began_s = self._clock.elapsed_s()
            if intent is not None:
                self._journal.append(
                    self._run_id, "intent", step=self._step_id, attempt=attempt, payload=intent
                )
            self.attempt = attempt
            self._settled = threading.Lock()

    def _unless_stopped(self) -> None:
        if self._stopped.is_set():
            raise StepStopped(self._step_id)
