"""What lies around the server, asked of real sockets: right, wrong, silent, and lying."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from answering import FAILED, NOT_MEASURED, NOW, PASSED, answering, at, says

from drkit.clock import ManualClock, SystemClock
from drkit.compute.interface import ComputeError, Endpoint, Fault, Instance, InstanceState, Offer
from drkit.errors import PlaceError
from drkit.health.around.exporters import StatsFields, read_gpu, read_stats
from drkit.health.around.places import read_provider, read_store, read_tree
from drkit.health.around.readings import Reading, failed, not_measured, passed, take
from drkit.health.measures.window import Value
from drkit.health.witness.file_memory import FileMemory
from drkit.operations.alerts.around import look_around
from drkit.stores.interface import StoreUnreachable
from drkit.stores.memory import MemoryStore


@pytest.mark.parametrize(
    ("text", "busy"),
    [
        ('DCGM_FI_DEV_GPU_UTIL{gpu="0"} 35\nDCGM_FI_DEV_GPU_UTIL{gpu="1"} 97\n', 0.97),
        ("nvidia_smi_utilization_gpu_ratio 0.5\n", 0.5),
        ("87 %\n12 %\n", 0.87),
        ("0\n", 0.0),
    ],
)
def test_how_busy_the_busiest_gpu_is(text: str, busy: float) -> None:
    with answering(says(200, text)) as server:
        reading = read_gpu(at(server), "/metrics", SystemClock())
    assert reading.measures["gpu"] == Value(pytest.approx(busy), 1)


@pytest.mark.parametrize("text", ["", "go_goroutines 7\n", "GPU 0: fine\n", "101\n"])
def test_H4_no_use_of_a_gpu_is_not_0(text: str) -> None:
    with answering(says(200, text)) as server:
        reading = read_gpu(at(server), "/metrics", SystemClock())
    assert reading.result.verdict is NOT_MEASURED
    assert reading.measures == {}


FIELDS = StatsFields("/api/admin/stats", "requests", "tiers.fallbacks", "failures", "confidence")


def test_a_gateways_counters_are_read_by_their_paths() -> None:
    shown = {"requests": 100, "tiers": {"fallbacks": 30}, "failures": "many", "confidence": 0.6}
    with answering(says(200, json.dumps(shown))) as server:
        reading, scrape = read_stats(at(server), FIELDS, "token", SystemClock())
        assert server.talks[0].headers["authorization"] == "Bearer token"
    assert reading.result.verdict is PASSED
    assert scrape is not None
    assert scrape.counters == {"requests": 100, "fallbacks": 30}, "a word is no number"
    assert scrape.gauges == {"confidence": 0.6}


def test_a_gateways_own_latencies_are_seconds() -> None:
    fields = StatsFields("/s", "n", None, None, None, p95_ms="latency.p95", p99_ms="latency.p99")
    with answering(says(200, '{"n": 5, "latency": {"p95": 730.5}}')) as server:
        _, scrape = read_stats(at(server), fields, None, SystemClock())
    assert scrape is not None
    assert scrape.gauges == {"p95": 0.7305}


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, "{}", NOT_MEASURED),
        (200, "[]", NOT_MEASURED),
        (200, '{"requests": true, "confidence": NaN}', NOT_MEASURED),
        (401, "{}", FAILED),
        (500, "", FAILED),
    ],
)
def test_H4_statistics_that_are_none_are_not_measured(status, body, verdict) -> None:
    with answering(says(status, body)) as server:
        reading, scrape = read_stats(at(server), FIELDS, None, SystemClock())
    assert reading.result.verdict is verdict
    assert scrape is None


# Places


class Account:
    """A provider with these instances."""

    def __init__(self, *instances: Instance, fails: bool = False) -> None:
        self.instances = instances
        self.fails = fails

    def find(self, _tags: Any) -> Any:
        if self.fails:
            raise ComputeError("no", fault=Fault.AUTH, hint="x")
        return self.instances

    def get(self, instance_id: str) -> Instance:
        return next(each for each in self.instances if each.id == instance_id)


def instance(state: InstanceState, host: str = "192.0.2.1", id: str = "i-1") -> Instance:
    endpoint = Endpoint("http", host, 8000)
    return Instance(id, {}, state, endpoint, NOW, Offer("L40", None, 1.0))


@pytest.mark.parametrize(
    ("account", "wanted", "verdict"),
    [
        (Account(instance(InstanceState.RUNNING)), None, PASSED),
        (Account(instance(InstanceState.RUNNING)), "i-1", PASSED),
        (Account(instance(InstanceState.GONE)), "i-1", FAILED),
        (Account(instance(InstanceState.FAILED)), None, FAILED),
        (Account(instance(InstanceState.STARTING)), None, NOT_MEASURED),
        (Account(instance(InstanceState.RUNNING, "192.0.2.9")), None, NOT_MEASURED),
        (Account(), None, NOT_MEASURED),
        (
            Account(instance(InstanceState.RUNNING), instance(InstanceState.GONE, id="i-2")),
            None,
            NOT_MEASURED,
        ),
        (Account(fails=True), None, NOT_MEASURED),
    ],
)
def test_the_providers_word_is_about_the_instance_that_serves(account, wanted, verdict) -> None:
    endpoint = Endpoint("http", "192.0.2.1", 8000)
    assert read_provider("gpu", lambda: account, endpoint, wanted).result.verdict is verdict


def test_a_store_is_reached_when_it_shows_a_repository() -> None:
    store = MemoryStore("one")
    assert read_store("one", lambda: store).result.verdict is FAILED
    store.put("repository/config", b"x", size_bytes=1)
    assert read_store("one", lambda: store).result.verdict is PASSED


def test_a_store_that_cannot_be_reached_has_failed() -> None:
    class Away(MemoryStore):
        def stat(self, name: str):
            raise StoreUnreachable("away", hint="x")

    assert read_store("one", lambda: Away("one")).result.verdict is FAILED


def test_a_tree_that_is_empty_or_away_has_failed(tmp_path: Path) -> None:
    assert read_tree("notes", tmp_path).result.verdict is FAILED
    assert read_tree("notes", tmp_path / "no").result.verdict is FAILED
    (tmp_path / "a").touch()
    assert read_tree("notes", tmp_path).result.verdict is PASSED


# All of them


def test_readings_are_taken_at_once_and_one_that_hangs_holds_up_no_other() -> None:
    hanging = threading.Event()

    def hangs() -> Reading:
        hanging.wait(20)
        return passed("slow", "too late")

    def breaks() -> Reading:
        raise PlaceError("its own words", hint="x")

    def has_a_bug() -> Reading:
        raise KeyError("x")

    readers = {"slow": hangs, "good": lambda: passed("good", "x"), "breaks": breaks}
    begun_s = time.monotonic()
    taken = take({**readers, "bug": has_a_bug}, clock=SystemClock(), limit_s=1)
    hanging.set()
    assert time.monotonic() - begun_s < 10
    verdicts = [(each.result.probe, each.result.verdict) for each in taken]
    assert verdicts == [
        ("slow", FAILED),
        ("good", PASSED),
        ("breaks", NOT_MEASURED),
        ("bug", NOT_MEASURED),
    ]
    assert taken[2].result.detail == "its own words"
    assert taken[1].result.latency_s is not None


def test_slow_ones_are_taken_when_they_are_due_and_failed_ones_again_at_once(
    tmp_path: Path,
) -> None:
    clock, memory, asked = ManualClock(), FileMemory(tmp_path), []
    answers = {"a": passed("a", "x", tls_days=Value(3.0, 1)), "b": failed("b", "x")}
    answers["c"] = not_measured("c", "x")

    def reader(name: str) -> Callable[[], Reading]:
        return lambda: asked.append(name) or answers[name]  # type: ignore[func-returns-value]

    def around(everything: bool = False) -> list[tuple[str, float]]:
        asked.clear()
        seen = look_around(
            {"q": lambda: passed("q", "now")},
            {name: reader(name) for name in answers},
            service="chat",
            every_s=300,
            everything=everything,
            memory=memory,
            clock=clock,
        )
        return [(each.reading.result.probe, each.age_s) for each in seen]

    assert around() == [("q", 0), ("a", 0), ("b", 0), ("c", 0)]
    assert sorted(asked) == ["a", "b", "c"]
    clock.advance(30)
    assert around() == [("q", 0), ("a", 30), ("b", 0), ("c", 30)]
    assert asked == ["b"]
    around(everything=True)
    assert sorted(asked) == ["a", "b", "c"]
    clock.advance(300)
    answers["b"] = passed("b", "x")
    around()
    assert sorted(asked) == ["a", "b", "c"]
    clock.advance(30)
    around()
    assert asked == []


def test_what_was_read_before_keeps_its_numbers_and_a_reboot_ends_it(tmp_path: Path) -> None:
    memory = FileMemory(tmp_path)

    def around(clock: ManualClock, reading: Reading) -> Reading:
        (seen,) = look_around(
            {},
            {"tls x": lambda: reading},
            service="chat",
            every_s=300,
            everything=False,
            memory=memory,
            clock=clock,
        )
        return seen.reading

    clock = ManualClock()
    clock.advance(1000)
    first = around(clock, passed("tls x", "valid", tls_days=Value(3.0, 1)))
    clock.advance(10)
    assert around(clock, failed("tls x", "not asked")).measures == first.measures
    assert around(ManualClock(), failed("tls x", "asked")).result.verdict is FAILED
