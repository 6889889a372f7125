"""Long streams to Cloud Storage over lines that break: the whole object, or an error and the old
one. Seeded; the parts are small, so that each stream has five."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import gcs_server
import pytest
from fault_proxy import LOUD, Fault, FaultProxy, Weather

from drkit.errors import DrkitError
from drkit.io_policy import Deadline, Retry
from drkit.stores.gcs import upload as gcs_upload
from drkit.stores.interface import ObjectMissing

PART_BYTES = 1 << 18
SEEDS = 24
DEADLINE = Deadline(connect_s=1, total_s=0.6, min_bytes_per_s=4 << 20)
RETRY = Retry(tries=4, first_s=0.005, most_s=0.02)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    monkeypatch.setattr(gcs_upload, "PART_BYTES", PART_BYTES)
    made = FaultProxy(gcs_server.shared().url, drip_s=0.01)
    yield made
    made.stop()


def pieces(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), 70_001):
        yield data[at : at + 70_001]


def test_a_stream_in_a_storm_arrives_whole_or_not_at_all(proxy: FaultProxy) -> None:
    server = gcs_server.shared()
    direct = server.store(prefix="streams")
    through = server.store(prefix="streams", url=proxy.url, deadline=DEADLINE, retry=RETRY)
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        rng = random.Random(seed)
        data, old = rng.randbytes(PART_BYTES * 9 // 2), b"old"
        name = f"weights/{seed}"
        direct.put(name, old, size_bytes=len(old))
        # Half of the storms are mild enough for most streams.
        proxy.plan = weather = Weather(
            seed, share=0.1 if seed % 2 else 0.3, faults=LOUD - {Fault.HANG}
        )
        try:
            through.put(name, pieces(data), size_bytes=len(data))
        except DrkitError as error:
            seen["said that it failed"] += 1
            said = error.message
        else:
            seen["whole"] += 1
            said = ""
        proxy.plan = None
        try:
            found = direct.get(name)
        except ObjectMissing:
            # What arrived wrong was removed again, and so was what it had replaced.
            assert said
            seen["removed"] += 1
            continue
        assert found == data or (said and found == old), f"seed {seed}: {said}"
        seen.update({f"met {fault.name}": count for fault, count in weather.met.items()})
    print(", ".join(f"{what} {count}" for what, count in sorted(seen.items())))
    assert seen["whole"] and seen["said that it failed"]
    through.close()
    direct.close()
