"""The store model: random lives of three stores, with a stock restic as the judge of each.

Any of backup, forget, erase, prune, copy, another program's backup, forget and prune, with stores
that go down, come back, answer with old listings, and processes that die at any write. After every
step each store is sound by itself and nothing is lost; after one step in ten stock restic says so;
at the end of a sequence all is mended, and stock restic reads every byte of every store.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from random_lives import go_on, live
from store_world import World

TESTS = Path(__file__).parents[2]
SECONDS_IN_CI = 25.0
SECONDS_IN_SOAK = 1800.0
WANTED_IN_SOAK = 2000
SEQUENCES_A_ROUND = 5
NUMBERS = st.integers(0, 1 << 16)


class StoreModel(RuleBasedStateMachine):
    """One sequence; `restic` and `folder` are set once for all."""

    restic: ClassVar[Path]
    folder: ClassVar[Path]
    sequences: ClassVar[int] = 0
    steps: ClassVar[int] = 0

    @initialize(number=NUMBERS)
    def begin(self, number: int) -> None:
        root = self.folder / f"life-{StoreModel.sequences}"
        root.mkdir()
        self.world = World(root, self.restic, number)
        self.world.backup()

    def did(self, *words: object) -> None:
        """Every step ends here: what must hold, holds."""
        self.world.log.append(" ".join(map(str, words)))
        StoreModel.steps += 1
        try:
            self.world.check(with_restic=StoreModel.steps % 10 == 0)
        except AssertionError as error:
            raise AssertionError(f"after {'; '.join(self.world.log)}: {error}") from error

    @rule()
    def backup(self) -> None:
        self.world.backup()
        self.did("backup")

    @rule(pick=NUMBERS)
    def forget(self, pick: int) -> None:
        self.world.forget(pick)
        self.did("forget", pick)

    @rule(pick=NUMBERS)
    def erase(self, pick: int) -> None:
        self.world.erase(pick)
        self.did("erase", pick)

    @rule(now=st.booleans())
    def prune(self, now: bool) -> None:
        self.world.prune(now=now)
        self.did("prune", now)

    @rule(pick=NUMBERS)
    def copy(self, pick: int) -> None:
        self.world.copy(pick)
        self.did("copy", pick)

    @rule(which=st.integers(0, 2))
    def go_down_or_come_up(self, which: int) -> None:
        store = self.world.stores[which]
        store.down = not store.down
        self.did(store.name, "down" if store.down else "up")

    @rule(which=st.integers(0, 2))
    def answer_with_an_old_listing(self, which: int) -> None:
        """From now on until the next step that looks at it anew."""
        store = self.world.stores[which]
        if store.stale is None and not store.down:
            store.stale = list(store.list(""))
        else:
            store.stale = None
        self.did(store.name, "stale" if store.stale else "fresh")

    @rule(which=st.integers(0, 2))
    def another_program_backs_up(self, which: int) -> None:
        self.world.foreign_backup(self.world.stores[which])
        self.did("restic backup", which)

    @rule(which=st.integers(0, 2), pick=NUMBERS)
    def another_program_forgets(self, which: int, pick: int) -> None:
        self.world.foreign_forget(self.world.stores[which], pick)
        self.did("restic forget", which, pick)

    @rule(which=st.integers(0, 2))
    def another_program_prunes(self, which: int) -> None:
        self.world.foreign_prune(self.world.stores[which])
        self.did("restic prune", which)

    @rule(
        work=st.sampled_from(("backup", "backup", "forget", "erase", "prune", "prune")),
        writes=st.integers(0, 40),
        pick=NUMBERS,
    )
    def die(self, work: str, writes: int, pick: int) -> None:
        self.world.die_during(work, writes, pick)
        self.did("die in", work, "after", writes)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        StoreModel.sequences += 1
        try:
            self.world.heal()
            self.world.check_all()
        except AssertionError as error:
            raise AssertionError(f"at the end of {'; '.join(self.world.log)}: {error}") from error
        finally:
            shutil.rmtree(self.world.root, ignore_errors=True)


@pytest.fixture
def newest_restic() -> Path:
    """One judge is enough here: the latest there is."""
    found = sorted(TESTS.parent.glob(".drkit/tools/restic-*/usr/bin/restic"))
    found += [Path(path)] if (path := shutil.which("restic")) else []
    if not found:
        pytest.skip("not installed: restic")
    return found[0]


def live_round(restic: Path, folder: Path, number: int) -> int:
    """The sequences of round `number`; how many there were."""
    StoreModel.restic, StoreModel.folder = restic, folder
    before = StoreModel.sequences
    live(StoreModel, number, lives=SEQUENCES_A_ROUND, steps=12)
    return StoreModel.sequences - before


def test_S4_an_erasure_in_mid_prune_names_nothing_that_a_store_gave_up(
    newest_restic: Path, tmp_path: Path
) -> None:
    """A life that once ended badly: what the first store had deleted was taken to be held."""
    StoreModel.restic, StoreModel.folder = newest_restic, tmp_path
    life = StoreModel()
    life.begin(346)
    life.die("prune", 20, 11200)
    life.die("erase", 12, 518)
    life.die("forget", 29, 420)
    life.die("forget", 5, 2344)
    life.die("forget", 37, 1314)
    life.die("prune", 39, 7363)
    life.die("erase", 37, 55000)
    life.teardown()


@pytest.mark.timeout(SECONDS_IN_CI * 4)
def test_every_store_is_sound_and_nothing_is_lost_or_comes_back(
    newest_restic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ends_at = time.monotonic() + SECONDS_IN_CI
    lived, number = 0, 0
    while time.monotonic() < ends_at:
        number += 1
        lived += live_round(newest_restic, tmp_path, number)
    with capsys.disabled():
        print(f"\nstore model: {lived} sequences, {StoreModel.steps} steps")
    assert lived >= SEQUENCES_A_ROUND


@pytest.mark.soak
@pytest.mark.timeout(SECONDS_IN_SOAK * 2)
def test_thousands_of_sequences(
    newest_restic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = TESTS.parent / ".drkit" / "tests" / "store-model.json"

    def lived(number: int) -> int:
        return live_round(newest_restic, tmp_path, number)

    in_all = go_on(memory, lived, wanted=WANTED_IN_SOAK, within_s=SECONDS_IN_SOAK)
    with capsys.disabled():
        print(f"\nstore model: {in_all}")
