"""What the engine costs, in counts: a regression shows on every machine, however slow or busy.

Statements are those that SQLite is given, ``begin`` and ``commit`` among them. Commits are those
of the mirror, each one transaction of IndexedDB in a tab, and pages are those of the file that
differ from one commit to the next. ``tests/in_browser/test_counts_in_page.py`` counts the rest.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import durably
from durably import Step, job
from durably.testing import PAGE_BYTES, FakeClock, MemoryDisk, settle
from tests.core.counts import Cost, check_cost, difference
from tests.core.kit import Gate, Process, Tab, interrupted, record, until

EXPECTED = {
    #                                        statements, commits, pages
    "a trigger":                                      (1, 1, 4),
    "a checkpoint":                                   (1, 1, 1),
    "a thousand checkpoints of one run":              (1000, 1000, 1315),
    "eight checkpoints at a time":                    (8, 2, 2),
    "a run of one step":                              (12, 3, 8),
    "eight runs of one step, one by one":             (47, 17, 34),
    "taking up a run of ten steps":                   (3, 2, 5),
    "a replayed step":                                (0, 0, 0),
    "a replayed step with a large result":            (1, 0, 0),
    "a minute with nothing to do":                    (0, 0, 0),
    "a minute with nothing to do, and a retention":   (0, 0, 0),
    "a minute of a step":                             (12, 0, 0),
    "a minute of a run that waits":                   (0, 0, 0),
    # On a file that other processes write to, too: it has to look for their work.
    "a minute of a process with nothing to do":       (240, 0, 0),
}  # fmt: skip

CALLS = 38
"""Of Python functions of the package, for a checkpoint and nothing else: in a tab, where all code
has become cold while the last one was on its way, each takes some microseconds."""

LARGE = 100_000
REPEATED = 3
"""How often an act is counted: it has to cost the same each time."""


class CountingDisk(MemoryDisk):
    """Counts the commits that land, and the pages that each of them changes."""

    def __init__(self) -> None:
        super().__init__()
        self.pages = 0

    def write(self, epoch: int, image: bytes) -> Any:
        before = self.image
        self.pages += sum(
            before[at : at + PAGE_BYTES] != image[at : at + PAGE_BYTES]
            for at in range(0, max(len(before), len(image)), PAGE_BYTES)
        )
        return super().write(epoch, image)


@job
async def one_step(step: Step, number: int) -> int:
    return await step.run("step", int, number)


class Meter:
    """Counts what each act costs in the lives of a tab."""

    def __init__(self, disk: CountingDisk) -> None:
        self.statements = 0
        self.costs: dict[str, list[Cost]] = {}
        """What each act has cost, each time."""
        self._disk = disk
        self._before: dict[str, Cost] = {}

    def begin(self, act: str) -> None:
        self._before[act] = self._read()

    def end(self, act: str) -> None:
        cost = difference(self._read(), self._before.pop(act))
        self.costs.setdefault(act, []).append(cost)

    @contextmanager
    def counting(self, act: str) -> Iterator[None]:
        self.begin(act)
        yield
        self.end(act)

    def check(self, *acts: str) -> None:
        """Compare what these acts have cost with the table."""
        assert self.costs.keys() == set(acts)
        for act, costs in self.costs.items():
            expected = dict(zip(costs[0], EXPECTED[act], strict=True))
            for cost in costs:
                check_cost(act, cost, expected)

    def _read(self) -> Cost:
        disk = self._disk
        return {"statements": self.statements, "commits": disk.writes, "pages": disk.pages}


@pytest.fixture
def disk() -> CountingDisk:
    return CountingDisk()


@pytest.fixture
def tab(disk: CountingDisk) -> Tab:
    return Tab(disk=disk)


@pytest.fixture
def meter(disk: CountingDisk, monkeypatch: pytest.MonkeyPatch) -> Meter:
    meter = Meter(disk)

    # A trace callback would be told of each trigger too, as if it were the statement again.
    class Cursor(sqlite3.Cursor):
        def execute(self, *arguments: Any) -> sqlite3.Cursor:
            meter.statements += 1
            return super().execute(*arguments)

    class Connection(sqlite3.Connection):
        def execute(self, *arguments: Any) -> sqlite3.Cursor:
            meter.statements += 1
            return super().execute(*arguments)

        def cursor(self, *arguments: Any) -> Any:
            return super().cursor(*(arguments or (Cursor,)))

    monkeypatch.setattr("sqlite3.connect", partial(sqlite3.connect, factory=Connection))
    return meter


async def test_cost_of_a_trigger(tab: Tab, meter: Meter) -> None:
    async with tab.durably(one_step, autostart=False) as durably:
        await durably.trigger(one_step(0))
        await settle()
        for number in range(REPEATED):
            with meter.counting("a trigger"):
                await durably.trigger(one_step(number))
                await settle()

    meter.check("a trigger")


async def test_cost_of_a_checkpoint(tab: Tab, meter: Meter) -> None:
    @job
    async def steps(step: Step) -> None:
        await step.run("first", int)
        for number in range(REPEATED):
            with meter.counting("a checkpoint"):
                await step.run("step", int, number, key=number)

    async with tab.durably(steps) as durably:
        await durably.trigger_and_wait(steps())

    meter.check("a checkpoint")


async def test_cost_of_the_checkpoints_of_a_long_run(tab: Tab, meter: Meter) -> None:
    @job
    async def steps(step: Step) -> None:
        with meter.counting("a thousand checkpoints of one run"):
            for number in range(1000):
                await step.run("step", int, number, key=number * 7919 % 1000)

    async with tab.durably(steps) as durably:
        await durably.trigger_and_wait(steps())

    meter.check("a thousand checkpoints of one run")


@pytest.mark.cpython_only  # Under Pyodide each callback of the loop has a profile of its own.
async def test_calls_of_a_checkpoint(tab: Tab) -> None:
    counts = []

    @job
    async def steps(step: Step) -> None:
        await step.run("first", int)
        for number in range(REPEATED):
            with counted_calls() as called:
                await step.run("step", int, number, key=number)
            counts.append(len(called))

    async with tab.durably(steps) as durably:
        await durably.trigger_and_wait(steps())

    for count in counts:
        check_cost("a checkpoint", {"calls": count}, {"calls": CALLS})


async def test_cost_of_checkpoints_that_share_commits(tab: Tab, meter: Meter) -> None:
    @job
    async def steps(step: Step) -> None:
        for number in range(REPEATED):
            with meter.counting("eight checkpoints at a time"):
                await step.all({f"{number}-{branch}": int for branch in range(8)})

    async with tab.durably(steps) as durably:
        await durably.trigger_and_wait(steps())

    meter.check("eight checkpoints at a time")


async def test_cost_of_a_run_of_one_step(tab: Tab, meter: Meter) -> None:
    async with tab.durably(one_step) as durably:
        for number in range(REPEATED):
            # The worker has slept, and looks after everything else first.
            await tab.clock.advance(1)
            with meter.counting("a run of one step"):
                await durably.trigger_and_wait(one_step(number))
                await settle()

    meter.check("a run of one step")


async def test_cost_of_one_run_among_many(tab: Tab, meter: Meter) -> None:
    """Of many that are pending, each is claimed as the one before it ends."""
    async with tab.durably(one_step, autostart=False, max_concurrent_runs=1) as durably:
        told = record(durably, "run:complete")
        for number in range(8):
            await durably.trigger(one_step(number))
        with meter.counting("eight runs of one step, one by one"):
            durably.start()
            await until(lambda: len(told) == 8)
            await settle()

    meter.check("eight runs of one step, one by one")


async def test_cost_of_a_replay(tab: Tab, meter: Meter, gate: Gate) -> None:
    @job
    async def steps(step: Step) -> None:
        if tab.disk.epoch > 1:
            meter.end("taking up a run of ten steps")
        for number in range(10):
            with meter.counting("a replayed step"):
                await step.run("step", int, number, key=number)
        with meter.counting("a replayed step with a large result"):
            await step.run("large", bytes, LARGE)
        await gate()

    await interrupted(tab, steps, gate)
    meter.costs.clear()
    async with tab.durably(steps, autostart=False) as durably:
        meter.begin("taking up a run of ten steps")
        durably.start()
        await settle()

    meter.check(
        "taking up a run of ten steps", "a replayed step", "a replayed step with a large result"
    )


@pytest.mark.parametrize(
    ("act", "options"),
    [
        ("a minute with nothing to do", {}),
        ("a minute with nothing to do, and a retention", {"retain": timedelta(days=1)}),
    ],
)
async def test_cost_of_a_minute_with_nothing_to_do(
    tab: Tab, meter: Meter, act: str, options: dict[str, Any]
) -> None:
    async with tab.durably(one_step, **options) as durably:
        await durably.trigger_and_wait(one_step(1))
        await tab.clock.advance(1)
        for _ in range(REPEATED):
            with meter.counting(act):
                await tab.clock.advance(60)

    meter.check(act)


async def test_cost_of_a_minute_of_a_step(tab: Tab, meter: Meter, gate: Gate) -> None:
    @job
    async def slow(step: Step) -> None:
        await step.run("slow", gate)

    async with tab.durably(slow) as durably:
        await durably.trigger(slow())
        await gate.entered.wait()
        await tab.clock.advance(1)
        for _ in range(REPEATED):
            with meter.counting("a minute of a step"):
                await tab.clock.advance(60)
        gate.open()

    meter.check("a minute of a step")


async def test_cost_of_a_minute_of_a_run_that_waits(tab: Tab, meter: Meter) -> None:
    @job
    async def waiting(step: Step) -> None:
        await step.wait_for(await step.prepare_wait("answer", timeout=timedelta(days=1)))

    async with tab.durably(waiting) as durably:
        await durably.trigger(waiting())
        await settle()
        await tab.clock.advance(1)
        for _ in range(REPEATED):
            with meter.counting("a minute of a run that waits"):
                await tab.clock.advance(60)

    meter.check("a minute of a run that waits")


async def test_cost_of_a_minute_on_a_file_that_others_write_to(
    processes: tuple[Process, Process], meter: Meter, clock: FakeClock
) -> None:
    async with processes[0].durably(one_step) as durably:
        await durably.trigger_and_wait(one_step(1))
        await clock.advance(1)
        for _ in range(REPEATED):
            with meter.counting("a minute of a process with nothing to do"):
                await clock.advance(60)

    meter.check("a minute of a process with nothing to do")


def test_changed_count_tells_both_numbers_and_what_to_do() -> None:
    with pytest.raises(AssertionError) as raised:
        check_cost("a checkpoint", {"statements": 2, "pages": 1}, {"statements": 1, "pages": 3})

    lines = str(raised.value).splitlines()
    assert lines[0] == "a checkpoint does not cost what it did:"
    assert [line.split() for line in lines[2:5]] == [
        ["expected", "found"],
        ["pages", "3", "1", "less"],
        ["statements", "1", "2", "more"],
    ]
    assert "write the new number into the table" in lines[6]


@contextmanager
def counted_calls() -> Iterator[list[str]]:
    """The functions of the package, without its fakes, that are called or go on meanwhile."""
    package, called = Path(durably.__file__).parent, list[str]()
    fakes = package / "testing"

    def profile(frame: FrameType, event: str, argument: object) -> None:
        path = Path(frame.f_code.co_filename)
        is_ours = path.is_relative_to(package) and not path.is_relative_to(fakes)
        if event == "call" and is_ours:
            called.append(frame.f_code.co_qualname)

    sys.setprofile(profile)
    try:
        yield called
    finally:
        sys.setprofile(None)
