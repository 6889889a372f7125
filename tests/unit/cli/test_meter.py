"""Rate and time left, from progress alone."""

from drkit.cli.terminal.meter import Meter, describe
from drkit.events import Progress

MIB = 1 << 20


def fed(
    *points: tuple[float, int], total: int | None, unit: str = "bytes"
) -> tuple[Progress, Meter]:
    meter = Meter(0.0, 0)
    progress = Progress("backup", 0, total, unit)  # type: ignore[arg-type]
    for now_s, done in points:
        progress = Progress("backup", done, total, unit)  # type: ignore[arg-type]
        meter.advance(progress, now_s)
    return progress, meter


def test_a_steady_task_says_its_rate_and_what_is_left() -> None:
    progress, meter = fed((1, 10 * MIB), (2, 20 * MIB), (3, 30 * MIB), total=100 * MIB)

    assert describe(progress, meter) == "30.0 MiB of 100.0 MiB, 30 %, 10.0 MiB/s, 7.0 s left"


def test_an_unknown_total_promises_nothing() -> None:
    progress, meter = fed((1, 10), (2, 20), total=None, unit="files")

    assert describe(progress, meter) == "20 files, 10/s"
    assert meter.eta_s(progress) is None


def test_the_rate_follows_a_task_that_slows_down() -> None:
    _, meter = fed((10, 1000), (60, 1010), total=None)

    assert meter.rate_per_s < 2


def test_before_anything_moved_there_is_no_rate() -> None:
    progress, meter = fed((0, 0), total=10)

    assert describe(progress, meter) == "0 B of 10 B, 0 %"


def test_a_clock_that_stands_still_or_a_total_of_nothing_divides_by_nothing() -> None:
    progress, meter = fed((0, 5), (0, 9), total=0)

    assert describe(progress, meter) == "9 B"
