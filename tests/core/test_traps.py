"""Traps that other engines fell into, each with the test that keeps this one out of it."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import enum
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from durably import (
    Job,
    LeaseLost,
    RunCancelled,
    RunFailed,
    RunStatus,
    RunWasCancelled,
    Step,
    StepFailed,
    StepOutputError,
    events,
    job,
)
from durably.testing import FakeClock, settle
from tests.core.kit import Bodies, Gate, Process, Tab, interrupted, record, types, until

# The first value is another than the replayed one


@dataclass
class Order:
    id: int
    lines: tuple[str, ...]


class Color(enum.Enum):
    RED = 1


VALUES: list[object] = [
    None,
    math.nan,
    math.inf,
    (1, (2,)),
    {3, 4},
    frozenset({5}),
    b"\x00\xff",
    bytearray(b"\x00"),
    Decimal("1.10"),
    datetime(2026, 11, 22, 10, 0, tzinfo=UTC),
    {1: "one", (2, 3): "pair"},
    Order(7, ("a", "b")),
    {"orders": [Order(8, ())], "at": datetime(2026, 11, 22)},
    Color.RED,
    [],
    "",
    0,
    -0.0,
    False,
    "half a \ud800 pair",
    "x" * 10_000,
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
async def test_first_value_equals_the_replayed_one(tab: Tab, gate: Gate, value: object) -> None:
    got = []

    @job
    async def give(step: Step) -> None:
        got.append(await step.run("give", lambda: value))
        await gate()

    run_id = await interrupted(tab, give, gate)
    async with tab.durably(give) as durably:
        await durably.result(run_id)

    first, replayed = got
    assert type(first) is type(replayed) is type(value)
    assert repr(first) == repr(replayed) == repr(value)


class Text(str):
    pass


Pair = collections.namedtuple("Pair", "a b")

UNSTORABLE: list[object] = [
    object(),
    Text("text"),
    Pair(1, 2),
    collections.OrderedDict(a=1),
    1j,
    range(3),
    {"items": [{"when": Tab}]},
]


@pytest.mark.parametrize("value", UNSTORABLE, ids=lambda value: type(value).__name__)
async def test_value_that_would_come_back_as_another_is_refused_at_once(
    tab: Tab, gate: Gate, bodies: Bodies, value: object
) -> None:
    refusals = []

    def make() -> object:
        bodies("make")
        return value

    @job
    async def give(step: Step) -> None:
        try:
            await step.run("give", make)
        except StepOutputError as error:
            refusals.append(str(error))
        await gate()

    run_id = await interrupted(tab, give, gate)
    async with tab.durably(give) as durably:
        await durably.result(run_id)

    first, replayed = refusals
    assert first == replayed
    assert bodies.ran == ["make"]


async def test_first_value_is_the_stored_one_and_not_the_object_itself(tab: Tab) -> None:
    shared = {"items": [1]}

    @job
    async def give(step: Step) -> bool:
        return await step.run("give", lambda: shared) is shared

    async with tab.durably(give) as durably:
        assert await (await durably.trigger(give())).result() is False


# A program that stood still takes its own runs for abandoned


@pytest.fixture(params=["tab", "process"])
def alone(
    request: pytest.FixtureRequest, tab: Tab, processes: tuple[Process, Process]
) -> Tab | Process:
    """A program that nobody else is about to take runs from."""
    return tab if request.param == "tab" else processes[0]


async def test_frozen_step_is_kept_and_called_once(
    alone: Tab | Process, gate: Gate, bodies: Bodies
) -> None:
    @job
    async def three_steps(step: Step) -> str:
        await step.run("before", bodies, "before")
        await step.run("frozen", gate)
        return await step.run("after", bodies, "after")

    async with alone.durably(three_steps) as durably:
        handle = await durably.trigger(three_steps())
        await gate.entered.wait()
        await alone.clock.freeze(3600)
        gate.open()
        result = await handle.result()
        run = await durably.get_run(handle.id)

    assert result == "after is done"
    assert (bodies.ran, gate.visits) == (["before", "after"], 1)
    assert (run.lease_generation, run.interruptions) == (1, 0)


async def test_step_that_computes_past_the_threshold_is_kept_and_called_once(
    alone: Tab | Process, gate: Gate, bodies: Bodies
) -> None:
    def compute() -> str:
        alone.clock.block(3600)
        return bodies("compute")

    @job
    async def compute_and_act(step: Step) -> str:
        await step.run("compute", compute)
        await gate()
        return await step.run("after", bodies, "after")

    async with alone.durably(compute_and_act) as durably:
        handle = await durably.trigger(compute_and_act())
        await gate.entered.wait()
        await alone.clock.advance(60)
        gate.open()
        result = await handle.result()
        run = await durably.get_run(handle.id)

    assert result == "after is done"
    assert (bodies.ran, gate.visits) == (["compute", "after"], 1)
    assert (run.lease_generation, run.interruptions) == (1, 0)


async def test_step_of_a_program_that_is_hidden_is_kept_and_called_once(
    alone: Tab | Process, gate: Gate, bodies: Bodies
) -> None:
    @job
    async def two_steps(step: Step) -> str:
        await step.run("hidden", gate)
        return await step.run("after", bodies, "after")

    async with alone.durably(two_steps) as durably:
        handle = await durably.trigger(two_steps())
        await gate.entered.wait()
        alone.visibility.hide()  # No heartbeats; but it goes on looking for abandoned runs.
        await alone.clock.advance(60)
        gate.open()
        result = await handle.result()
        run = await durably.get_run(handle.id)

    assert result == "after is done"
    assert (gate.visits, run.lease_generation, run.interruptions) == (1, 1, 0)


# A clock that is set makes thieves, and disorder


@pytest.mark.parametrize("hours", [1, -1])
async def test_wall_clock_that_jumps_steals_no_run_from_an_owner_that_is_alive(
    processes: tuple[Process, Process], clock: FakeClock, gate: Gate, bodies: Bodies, hours: int
) -> None:
    @job
    async def hold(step: Step) -> str:
        await step.run("hold", gate)
        return bodies("end")

    one, two = processes
    async with one.durably(hold) as first:
        handle = await first.trigger(hold())
        await gate.entered.wait()
        async with two.durably(hold) as second:
            told = record(second)
            clock.jump(hours * 3600)
            await clock.advance(60)
            gate.open()
            await handle.result()

    assert types(told) == []
    assert (gate.visits, bodies.ran) == (1, ["end"])


@pytest.mark.parametrize("hours", [(1, -1), (-1, -1), (-1, 1)])
async def test_wall_clock_that_jumps_keeps_the_order_of_claims(
    tab: Tab, bodies: Bodies, hours: tuple[int, int]
) -> None:
    @job
    async def act(step: Step, name: str) -> str:
        return await step.run("act", bodies, name)

    async with tab.durably(act) as durably:
        tab.visibility.hide()  # So that all of them are pending together.
        first = await durably.trigger(act("first"))
        tab.clock.jump(hours[0] * 3600)
        second = await durably.trigger(act("second"))
        tab.clock.jump(hours[1] * 3600)
        third = await durably.trigger(act("third"))
        tab.visibility.show()
        for handle in (third, second, first):
            await handle.result()

    assert bodies.ran == ["first", "second", "third"]


# A step that nobody awaits runs on behind its run


async def test_step_that_is_not_awaited_ends_with_its_run(tab: Tab, gate: Gate) -> None:
    @job
    async def forget(step: Step) -> str:
        task = asyncio.create_task(step.run("forgotten", gate))
        await gate.entered.wait()
        del task
        return "done"

    async with tab.durably(forget) as durably:
        with pytest.warns(RuntimeWarning, match="'forgotten'.* was started but not awaited"):
            handle = await durably.trigger(forget())
            result = await handle.result()
        gate.open()
        await settle()

        assert result == "done"
        assert await durably.get_steps(handle.id) == []


async def test_step_that_is_not_awaited_and_swallows_its_end_is_not_stored(
    tab: Tab, gate: Gate
) -> None:
    async def stubborn() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await gate()
        return "late"

    @job
    async def forget(step: Step) -> str:
        task = asyncio.create_task(step.run("forgotten", stubborn))
        await gate.entered.wait()
        del task
        return "done"

    async with tab.durably(forget) as durably:
        with pytest.warns(RuntimeWarning, match="'forgotten'"):
            handle = await durably.trigger(forget())
            await handle.result()

        assert await durably.get_steps(handle.id) == []


async def test_step_that_would_start_after_the_end_of_its_run_does_not(
    tab: Tab, bodies: Bodies
) -> None:
    tasks = []

    @job
    async def forget(step: Step) -> str:
        tasks.append(asyncio.create_task(step.run("forgotten", bodies, "forgotten")))
        return "done"

    async with tab.durably(forget) as durably:
        with pytest.warns(RuntimeWarning, match="'forgotten'.* was started but not awaited"):
            handle = await durably.trigger(forget())
            result = await handle.result()
            await settle()

        assert result == "done"
        assert bodies.ran == []
        assert tasks[0].cancelled()


# The step that is blamed is another than the one that failed


def break_down() -> None:
    raise OSError("no network")


def break_down_too() -> None:
    raise KeyError("other")


async def let_go_after_catching(step: Step) -> None:
    try:
        await step.run("first", break_down)
    except StepFailed:
        await step.run("second", break_down_too)


async def raise_from(step: Step) -> None:
    try:
        await step.run("second", break_down_too)
    except StepFailed as error:
        raise RuntimeError("the import failed") from error


async def raise_in_a_task_group(step: Step) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(step.run("second", break_down_too))


async def raise_bare(step: Step) -> None:
    with contextlib.suppress(StepFailed):
        await step.run("first", break_down)
    await asyncio.gather(step.run("second", break_down_too))


@pytest.mark.parametrize(
    "function", [let_go_after_catching, raise_from, raise_in_a_task_group, raise_bare]
)
async def test_error_of_the_run_names_the_step_that_propagated(
    tab: Tab, function: Callable[[Step], Awaitable[None]]
) -> None:
    failing = job(function)

    async with tab.durably(failing) as durably:
        handle = await durably.trigger(failing())
        with pytest.raises(RunFailed) as caught:
            await handle.result()

    assert caught.value.error.step == "second"


async def raise_after_catching(step: Step) -> None:
    with contextlib.suppress(StepFailed):
        await step.run("first", break_down)
    raise RuntimeError("something else")


async def raise_from_nothing(step: Step) -> None:
    try:
        await step.run("first", break_down)
    except StepFailed:
        raise RuntimeError("something else") from None


@pytest.mark.parametrize("function", [raise_after_catching, raise_from_nothing])
async def test_error_after_a_caught_step_failure_names_no_step(
    tab: Tab, function: Callable[[Step], Awaitable[None]]
) -> None:
    failing = job(function)

    async with tab.durably(failing) as durably:
        handle = await durably.trigger(failing())
        with pytest.raises(RunFailed, match="something else") as caught:
            await handle.result()

    assert caught.value.error.step is None


# The places of the steps drift when a run goes on


async def test_steps_keep_their_order_when_a_run_goes_on_again_and_again(tab: Tab) -> None:
    # Against the alphabet, and against the clock, so that nothing else puts them in order.
    names = ["e", "d", "c", "b", "a"]
    gates = {name: Gate() for name in names}
    functions = {name: break_down if name == "d" else partial(str.upper, name) for name in names}

    @job
    async def crawl(step: Step) -> str:
        for name in names:
            with contextlib.suppress(StepFailed):
                await step.run(name, functions[name])
            await gates[name]()
        return "done"

    listed = []
    for name in names:
        async with tab.life(crawl) as life:
            handle = await life.durably.trigger(crawl(), idempotency_key="only")
            await gates[name].entered.wait()
            listed.append([step.name for step in await life.durably.get_steps(handle.id)])
        gates[name].open()
        tab.clock.jump(-3600)

    assert listed == [names[:count] for count in range(1, 6)]


# A crash loop crashes the tab for ever


async def test_run_that_crashes_every_life_fails_as_a_crash_loop(tab: Tab, bodies: Bodies) -> None:
    @job
    async def crash(step: Step) -> None:
        bodies("start")
        await asyncio.Event().wait()

    for lives in range(1, 5):
        async with tab.life(crash, max_interruptions=3) as life:
            handle = await life.durably.trigger(crash(), idempotency_key="only")
            await until(lambda lives=lives: bodies.count("start") == lives)
            await settle()

    async with tab.durably(crash, max_interruptions=3) as durably:
        with pytest.raises(RunFailed, match="interrupted 4 times") as caught:
            await durably.result(handle.id)
    assert caught.value.error.type == "CrashLoop"
    assert bodies.count("start") == 4


# A cancelled run has more to say


async def test_progress_after_a_cancel_changes_nothing(tab: Tab, gate: Gate) -> None:
    @job
    async def wait(step: Step) -> None:
        step.progress(1, 3)
        try:
            await gate()
        finally:
            step.progress(2, 3)

    async with tab.durably(wait) as durably:
        handle = await durably.trigger(wait())
        await gate.entered.wait()
        told = record(durably)
        await durably.cancel(handle.id)
        await tab.clock.advance(5)
        progress = (await durably.get_run(handle.id)).progress

        assert progress is not None
        assert progress.current == 1
        assert "run:progress" not in types(told)


async def return_after_catching(step: Step, gate: Gate) -> str:
    with contextlib.suppress(BaseException):
        await step.run("held", gate)
    return "done"


async def fail_after_catching(step: Step, gate: Gate) -> str:
    try:
        await step.run("held", gate)
    except BaseException:
        raise ValueError("the clean-up failed") from None
    return "done"


async def exit_after_catching(step: Step, gate: Gate) -> str:
    try:
        await step.run("held", gate)
    finally:
        raise SystemExit


async def start_a_step_after_catching(step: Step, gate: Gate) -> str:
    with contextlib.suppress(BaseException):
        await step.run("held", gate)
    return await step.run("next", str, "next")


@pytest.mark.parametrize(
    "function",
    [
        return_after_catching,
        fail_after_catching,
        exit_after_catching,
        start_a_step_after_catching,
    ],
)
async def test_cancel_that_user_code_catches_is_no_error(
    tab: Tab,
    gate: Gate,
    caplog: pytest.LogCaptureFixture,
    function: Callable[[Step, Gate], Awaitable[str]],
) -> None:
    @job
    async def catch(step: Step) -> str:
        return await function(step, gate)

    with caplog.at_level(logging.WARNING):
        async with tab.durably(catch) as durably:
            handle = await durably.trigger(catch())
            await gate.entered.wait()
            told = record(durably)
            await durably.cancel(handle.id)
            await settle()
            with pytest.raises(RunWasCancelled):
                await handle.result()

    assert types(told) == ["run:cancel", "step:cancel"]
    assert caplog.messages == []


# A listener breaks the run that it listens to


@pytest.mark.parametrize(
    "error", [ValueError, SystemExit, asyncio.CancelledError, RunCancelled, LeaseLost]
)
async def test_listener_that_raises_does_not_reach_the_run(
    tab: Tab, bodies: Bodies, error: type[BaseException]
) -> None:
    @job
    async def two_steps(step: Step) -> str:
        step.progress(1, 2)
        await step.run("first", bodies, "first")
        step.log("half")
        return await step.run("second", bodies, "second")

    def fail(event: events.Event) -> None:
        raise error

    reported: list[BaseException] = []
    async with tab.durably(two_steps) as durably:
        durably.on("*", fail)
        durably.on_error(lambda error, event: reported.append(error))
        told = record(durably)
        handle = await durably.trigger(two_steps())
        result = await handle.result()
        run = await durably.get_run(handle.id)

    assert result == "second is done"
    assert (run.status, run.lease_generation) == (RunStatus.COMPLETED, 1)
    assert bodies.ran == ["first", "second"]
    assert [type(each) for each in reported] == [error] * len(told)


# A program that stood still has lost its runs, and does not know yet


def act_twice(gate: Gate, bodies: Bodies) -> Job[[], str]:
    """Stands between its steps, where no checkpoint would tell that the run is lost."""

    @job
    async def act_twice(step: Step) -> str:
        await step.run("first", bodies, "first")
        await gate()
        return await step.run("second", bodies, "second")

    return act_twice


async def test_frozen_tab_whose_run_another_has_taken_begins_no_step(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    work = act_twice(gate, bodies)
    async with tab.durably(work) as durably:
        handle = await durably.trigger(work())
        await gate.entered.wait()
        told = record(durably)
        tab.clock.block(40)
        tab.disk.epoch += 1  # Another tab has taken over, and nobody has told this one.
        gate.open()
        result = await handle.result()

    assert result == "second is done"
    assert bodies.ran == ["first", "second"]
    # The step began once, and that was after this tab had taken over again.
    assert types(told).index("run:claimed") < types(told).index("step:start")


async def test_process_whose_run_another_has_taken_begins_no_step(
    tmp_path: Path, gate: Gate, bodies: Bodies
) -> None:
    stopped = Process(tmp_path / "shared.sqlite3", FakeClock())
    other = Process(tmp_path / "shared.sqlite3", FakeClock())
    work = act_twice(gate, bodies)
    async with stopped.durably(work) as first:
        handle = await first.trigger(work())
        await gate.entered.wait()
        finishing = Gate()
        finishing.open()
        async with other.durably(act_twice(finishing, bodies)) as second:
            await other.clock.advance(40)
            await second.wait_for_run(handle.id)
        stopped.clock.block(40)
        gate.open()
        await settle()

        assert bodies.ran == ["first", "second"]
        assert (await first.get_run(handle.id)).output == "second is done"
