"""Control flow that user code cannot break: every shape of code times every way to stop a run.

Each cell of the matrix stops a run while one of its steps is under way, lets everything go on that
can, and looks: no later step has started, no side effect followed, the run is not completed or
failed, no task of it is left. Where the run is still to be done, it is then done rightly, and the
steps that had finished are not repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import durably.checkpointing
import durably.executor
from durably import Durably, Job, Run, RunStatus, Step, StopSignal, job
from durably.testing import settle
from tests.core.kit import Bodies, Gate, Process, Tab, record, steps_told, types

# The rows: what user code looks like


@dataclass
class Work:
    """What a job of the matrix has to do: one step that is held, and two later ones."""

    step: Step
    held: Gate
    aside: Gate
    """Where user code stands that is in no step."""
    bodies: Bodies

    def hold(self) -> Coroutine[object, object, str]:
        return self.step.run("held", self.held)

    def act(self, name: str) -> Coroutine[object, object, str]:
        return self.step.run(name, self.bodies, name)

    async def act_later(self, name: str) -> str:
        """A task of the job's own, that goes on although it is cancelled."""
        with contextlib.suppress(asyncio.CancelledError):
            await self.aside()
        return await self.act(name)


Shape = Callable[[Work], Awaitable[str]]


async def except_exception(work: Work) -> str:
    try:
        await work.hold()
    except Exception:
        work.bodies("went on")
    work.bodies("went on")
    await work.act("second")
    await work.act("third")
    return "done"


async def bare_except(work: Work) -> str:
    for step in (work.hold, lambda: work.act("second"), lambda: work.act("third")):
        try:
            await step()
        except:  # noqa: E722
            work.bodies("handled")
    return "done"


async def finally_return(work: Work) -> str:
    try:
        try:
            await work.hold()
        finally:
            await work.act("second")
    finally:
        try:
            await work.act("third")
        finally:
            return "done"  # noqa: B012


async def gather_that_returns_exceptions(work: Work) -> str:
    await asyncio.gather(work.hold(), work.act_later("second"), return_exceptions=True)
    await asyncio.gather(work.act("third"), return_exceptions=True)
    return "done"


async def plain_gather(work: Work) -> str:
    await asyncio.gather(work.hold(), work.act_later("second"))
    work.bodies("went on")
    await work.act("third")
    return "done"


async def task_group(work: Work) -> str:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(work.hold())
            group.create_task(work.act_later("second"))
    except* BaseException:
        work.bodies("handled")
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(work.act("third"))
    except* BaseException:
        work.bodies("handled")
    return "done"


async def task_never_awaited(work: Work) -> str:
    ends = [asyncio.Event(), asyncio.Event()]

    async def hold_and_go_on() -> None:
        try:
            await work.hold()
        finally:
            try:
                await work.act("second")
            finally:
                ends[0].set()

    async def go_on_later() -> None:
        try:
            await work.act_later("third")
        finally:
            ends[1].set()

    tasks = [asyncio.create_task(hold_and_go_on()), asyncio.create_task(go_on_later())]
    with contextlib.suppress(asyncio.CancelledError):
        for end in ends:
            await end.wait()
    del tasks
    return "done"


async def wait_for(work: Work) -> str:
    for step in (work.hold, lambda: work.act("second"), lambda: work.act("third")):
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(step(), 3600)
    return "done"


async def shield(work: Work) -> str:
    for step in (work.hold, lambda: work.act("second"), lambda: work.act("third")):
        task = asyncio.ensure_future(step())
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            with contextlib.suppress(asyncio.CancelledError):
                await task
    return "done"


ROWS: dict[str, Shape] = {
    "except Exception": except_exception,
    "bare except": bare_except,
    "finally: return": finally_return,
    "gather(return_exceptions=True)": gather_that_returns_exceptions,
    "gather": plain_gather,
    "TaskGroup": task_group,
    "task never awaited": task_never_awaited,
    "wait_for": wait_for,
    "shield": shield,
}


# A cell: one run, in the life in which it is stopped and in the next one


@dataclass
class Stand:
    """Where the run stands in one of its lives."""

    held: Gate = field(default_factory=Gate)
    aside: Gate = field(default_factory=Gate)

    async def let_the_others_go(self) -> None:
        """Let the tasks go on that are in no step."""
        await settle()
        self.aside.open()
        await settle()

    async def let_all_go(self) -> None:
        """Let the step under way finish, too."""
        await self.let_the_others_go()
        self.held.open()
        await settle()

    def open(self) -> None:
        self.aside.open()
        self.held.open()


class Cell:
    """A run of one shape on its way through one column of the matrix."""

    def __init__(self, shape: Shape, tab: Tab, processes: tuple[Process, Process]) -> None:
        self.tab = tab
        self.processes = processes
        self.first, self.next = Stand(), Stand()
        self.run_id = ""
        self._bodies = Bodies()
        self._told: list[Any] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        stands = iter((self.first, self.next))

        @job(name="matrix")
        async def matrix(step: Step) -> str:
            stand = next(stands)
            await step.run("before", self._bodies, "before")
            return await shape(Work(step, stand.held, stand.aside, self._bodies))

        self.job: Job[[], object] = matrix

    async def start(self, durably: Durably) -> None:
        """Trigger the run, and return when its step is under way."""
        self._told = record(durably)
        self.run_id = (await durably.trigger(self.job())).id
        await self.first.held.entered.wait()
        await settle()
        self._tasks = tasks_of_runs()
        assert self._tasks, "the run has tasks, or nothing would be known of their end"

    async def assert_stopped(
        self, durably: Durably, status: RunStatus, *, held_is_stored: bool = False
    ) -> None:
        """Nothing has followed the stop. ``durably`` is one that sees what is stored."""
        run = await durably.get_run(self.run_id)
        steps = [step.name for step in await durably.get_steps(self.run_id)]
        left = {task for task in self._tasks if not task.done()}
        self._tasks.clear()
        # Also the first: what should have ended is not to hang, so that the test fails at once.
        self.first.open()
        self.next.open()

        assert left == set()
        assert run.status is status
        assert run.output is run.error is None
        assert steps == (["before", "held"] if held_is_stored else ["before"])
        assert set(self._bodies.ran) <= {"before", "handled"}
        assert steps_told(self._told, "step:start") == ["before", "held"]
        assert {"run:complete", "run:fail", "worker:error"}.isdisjoint(types(self._told))

    async def assert_goes_on(self, durably: Durably, *, held_is_stored: bool = False) -> None:
        """What was left to do is done now, once, and what had finished is not repeated."""
        assert await durably.result(self.run_id) == "done"
        assert [self._bodies.count(name) for name in ("before", "second", "third")] == [1, 1, 1]
        assert self.first.held.visits == 1
        assert self.next.held.visits == (0 if held_is_stored else 1)

    async def assert_stays_cancelled(self, durably: Durably) -> None:
        await settle()

        assert (await durably.get_run(self.run_id)).status is RunStatus.CANCELLED
        assert self._bodies.count("before") == 1
        assert self.next.held.visits == 0


def tasks_of_runs() -> set[asyncio.Task[Any]]:
    """The tasks that execute a run, or a step of it, or that user code of this file has made."""
    files = {__file__, durably.executor.__file__, durably.checkpointing.__file__}
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    return {task for task in tasks if task.get_coro().cr_code.co_filename in files}


@pytest.fixture(scope="module", autouse=True)
def quick_collections() -> Iterator[None]:
    """``gc.collect`` looks at no object that was there before these tests."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@contextlib.asynccontextmanager
async def nothing_left_behind(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """No task is left, nothing has failed unseen, nothing is warned of or logged as an error."""
    gc.collect()  # What earlier tests have left is not meant.
    before = asyncio.all_tasks()
    loop, complaints = asyncio.get_running_loop(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda loop, context: complaints.append(context))
    try:
        with warnings.catch_warnings(record=True) as warned, caplog.at_level("ERROR", "durably"):
            warnings.simplefilter("always")
            yield
            await settle()
            gc.collect()
            await settle()
    finally:
        loop.set_exception_handler(None)

    assert asyncio.all_tasks() - before == set()
    assert complaints == []
    assert [str(warning.message) for warning in warned] == []
    assert caplog.messages == []


# The columns: what stops the run

QUICK = {"heartbeat_interval": 1, "stale_threshold": 3}
"""Of the fake clock, each second costs hundreds of turns of the event loop."""


async def suspend(cell: Cell) -> None:
    """The Durably is left, and the step under way finishes in time."""
    cell.tab.proves_death = False  # So that nothing but its owner gives the run back at once.
    async with cell.tab.durably(cell.job) as durably:
        await cell.start(durably)
        letting_go = asyncio.ensure_future(cell.first.let_all_go())
    await letting_go

    async with cell.tab.durably() as onlooker:
        await cell.assert_stopped(onlooker, RunStatus.PENDING, held_is_stored=True)
    async with cell.tab.durably(cell.job) as later:
        await cell.assert_goes_on(later, held_is_stored=True)


async def suspend_past_the_stop_timeout(cell: Cell) -> None:
    """The Durably is left, and the step under way takes too long."""
    cell.tab.proves_death = False
    async with cell.tab.durably(cell.job, stop_timeout=10) as durably:
        await cell.start(durably)
        passing = asyncio.ensure_future(cell.tab.clock.advance(11))
    await passing
    await cell.first.let_the_others_go()

    async with cell.tab.durably() as onlooker:
        await cell.assert_stopped(onlooker, RunStatus.PENDING)
    async with cell.tab.durably(cell.job) as later:
        await cell.assert_goes_on(later)


async def cancel(cell: Cell) -> None:
    async with cell.tab.durably(cell.job) as durably:
        await cell.start(durably)
        await durably.cancel(cell.run_id)
        await cell.first.let_the_others_go()

        await cell.assert_stopped(durably, RunStatus.CANCELLED)
    async with cell.tab.durably(cell.job) as later:
        await cell.assert_stays_cancelled(later)


async def cancel_by_another_process(cell: Cell) -> None:
    """This process learns of it when it would renew its lease."""
    here, there = cell.processes
    async with here.durably(cell.job, **QUICK) as durably:
        await cell.start(durably)
        async with there.durably() as other:
            await other.cancel(cell.run_id)
        await here.clock.advance(2)
        await cell.first.let_the_others_go()

        await cell.assert_stopped(durably, RunStatus.CANCELLED)
        await cell.assert_stays_cancelled(durably)


async def lease_lost_and_told_by_the_heartbeat(cell: Cell) -> None:
    """Another process has claimed the run while this one stood still."""
    here, there = cell.processes
    async with (
        here.durably(cell.job, **QUICK) as durably,
        there.durably(cell.job, **QUICK) as other,
    ):
        await cell.start(durably)
        here.visibility.hide()  # Its heartbeats pause, as if it stood still.
        await here.clock.advance(6)
        await cell.next.held.entered.wait()
        here.visibility.show()
        await cell.first.let_the_others_go()

        await cell.assert_stopped(other, RunStatus.RUNNING)
        await cell.assert_goes_on(other)


async def lease_lost_and_told_by_the_checkpoint(cell: Cell) -> None:
    """The step under way finishes, and its checkpoint is refused."""
    here, there = cell.processes
    async with (
        here.durably(cell.job, **QUICK) as durably,
        there.durably(cell.job, **QUICK) as other,
    ):
        await cell.start(durably)
        here.visibility.hide()
        await here.clock.advance(6)
        await cell.next.held.entered.wait()
        cell.first.held.open()  # Before the other tasks go on: until then, nobody here can know.
        await cell.first.let_the_others_go()

        await cell.assert_stopped(other, RunStatus.RUNNING)
        await cell.assert_goes_on(other)


async def lease_lost_and_the_checkpoint_fenced(cell: Cell) -> None:
    """Another tab has taken the database over, and the step under way finishes here."""
    async with cell.tab.durably(cell.job) as durably:
        await cell.start(durably)
        cell.tab.visibility.hide()  # So that the next term claims nothing yet.
        await settle()
        cell.tab.disk.epoch += 1
        cell.first.held.open()
        await cell.first.let_the_others_go()

        await cell.assert_stopped(durably, RunStatus.PENDING)
        cell.tab.visibility.show()
        await cell.assert_goes_on(durably)


async def lease_lost_to_another_tab(cell: Cell) -> None:
    """Another tab has taken the database over, and the program finds out while the step runs."""
    async with cell.tab.durably(cell.job) as durably:
        await cell.start(durably)
        cell.tab.visibility.hide()
        await settle()
        cell.tab.disk.epoch += 1
        writing = asyncio.ensure_future(durably.purge_runs(older_than=1))
        await settle()
        await cell.first.let_the_others_go()

        await cell.assert_stopped(durably, RunStatus.PENDING)
        await writing
        cell.tab.visibility.show()
        await cell.assert_goes_on(durably)


Stop = Callable[[Cell], Awaitable[None]]

COLUMNS: dict[str, Stop] = {
    "suspend": suspend,
    "suspend, timed out": suspend_past_the_stop_timeout,
    "cancel": cancel,
    "cancel, from elsewhere": cancel_by_another_process,
    "lease lost, heartbeat refused": lease_lost_and_told_by_the_heartbeat,
    "lease lost, checkpoint refused": lease_lost_and_told_by_the_checkpoint,
    "lease lost, checkpoint fenced": lease_lost_and_the_checkpoint_fenced,
    "lease lost, database taken over": lease_lost_to_another_tab,
}


@pytest.mark.parametrize("stop", COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("shape", ROWS.values(), ids=ROWS)
async def test_stopped_run_does_nothing_more_whatever_its_code_does(
    shape: Shape,
    stop: Stop,
    tab: Tab,
    processes: tuple[Process, Process],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with nothing_left_behind(caplog):
        await stop(Cell(shape, tab, processes))


async def step_that_swallows(work: Work) -> str:
    async def swallow() -> str:
        try:
            await work.held()
        except BaseException:
            work.bodies("handled")
        return "a result all the same"

    await work.step.run("held", swallow)
    await work.act("second")
    await work.act("third")
    return "done"


ENDS = {name: stop for name, stop in COLUMNS.items() if not name.startswith("suspend")}


@pytest.mark.parametrize("stop", ENDS.values(), ids=ENDS)
async def test_result_of_a_step_that_swallows_its_end_is_not_stored(
    stop: Stop, tab: Tab, processes: tuple[Process, Process], caplog: pytest.LogCaptureFixture
) -> None:
    async with nothing_left_behind(caplog):
        await stop(Cell(step_that_swallows, tab, processes))


async def test_signal_is_no_ordinary_exception(tab: Tab, gate: Gate) -> None:
    caught: list[BaseException] = []

    @job
    async def look(step: Step) -> None:
        try:
            await step.run("under way", gate)
        except BaseException as error:
            caught.append(error)
            raise

    async with tab.durably(look) as durably:
        handle = await durably.trigger(look())
        await gate.entered.wait()
        await durably.cancel(handle.id)
        await settle()

    (error,) = caught
    assert isinstance(error, StopSignal | asyncio.CancelledError)
    assert not isinstance(error, Exception)


async def test_run_can_be_cancelled_by_its_own_step(tab: Tab, bodies: Bodies) -> None:
    @job
    async def cancel_itself(step: Step) -> None:
        async def cancel() -> str:
            await durably.cancel(step.run_id)
            return "cancelled"

        await step.run("cancel", cancel)
        await step.run("next", bodies, "next")

    async with tab.durably(cancel_itself) as durably:
        handle = await durably.trigger(cancel_itself())
        await settle()

        assert (await durably.get_run(handle.id)).status is RunStatus.CANCELLED
        assert await durably.get_steps(handle.id) == []
        assert bodies.ran == []


async def test_worker_goes_on_after_a_cancelled_run(tab: Tab, gate: Gate) -> None:
    @job
    async def wait(step: Step) -> str:
        return await step.run("wait", gate)

    async with tab.durably(wait) as durably:
        first = await durably.trigger(wait())
        second = await durably.trigger(wait())
        await gate.entered.wait()
        await durably.cancel(first.id)
        gate.open()

        assert await second.result() == "passed"


async def test_job_that_returns_while_its_run_is_suspended_does_not_complete_it(
    tab: Tab, gate: Gate
) -> None:
    aside = Gate()

    @job
    async def return_early(step: Step) -> str:
        task = asyncio.create_task(step.run("held", gate))
        await aside()
        return "too early" if aside.visits == 1 else await task

    async with tab.durably(return_early) as durably:
        handle = await durably.trigger(return_early())
        await gate.entered.wait()
        letting_go = asyncio.ensure_future(Stand(held=gate, aside=aside).let_all_go())
    await letting_go
    async with tab.durably(return_early) as later:
        result = await later.result(handle.id)

    assert result == "passed"
    assert gate.visits == 1


# Waiting suspends a run too


async def test_run_that_waits_does_not_cut_the_steps_beside_it(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    @job
    async def ask_and_work(step: Step) -> str:
        async def ask() -> None:
            wait = await step.prepare_wait("answer")
            await gate.entered.wait()
            await step.wait_for(wait)

        async with asyncio.TaskGroup() as group:
            group.create_task(ask())
            group.create_task(step.run("held", gate))
        return await step.run("last", bodies, "last")

    async with tab.durably(ask_and_work) as durably:
        handle = await durably.trigger(ask_and_work())
        await gate.entered.wait()
        await settle()
        gate.open()
        await settle()
        run = await durably.get_run(handle.id)
        ran_while_waiting = list(bodies.ran)
        (wait,) = await durably.get_waits(handle.id)
        await durably.signal(wait.id, "yes")

        assert run.status is RunStatus.WAITING
        assert ran_while_waiting == []
        assert await handle.result() == "last is done"
        assert gate.visits == 1


# The host shuts down


@dataclass
class Host:
    """A program around a Durably, with a run whose step is under way."""

    tab: Tab
    gate: Gate
    bodies: Bodies
    run_id: str = ""

    async def serve(self) -> None:
        """What a program does: open, trigger, and do other things until it is cancelled."""
        async with self.tab.durably(self.job(), stop_timeout=10) as durably:
            self.run_id = (await durably.trigger(self.job()())).id
            await asyncio.Event().wait()

    def job(self) -> Job[[], object]:
        @job(name="hosted")
        async def hosted(step: Step) -> str:
            await step.run("held", self.hold)
            return await step.run("last", self.bodies, "last")

        return hosted

    async def hold(self) -> str:
        try:
            return await self.gate()
        except asyncio.CancelledError:
            await settle()  # It has something to clean up.
            raise

    async def assert_resumable(self, *, held_is_stored: bool) -> None:
        """The run is given back, and goes on in the next life."""
        visits, self.gate = self.gate.visits, Gate()
        self.gate.open()
        async with self.tab.durably() as onlooker:
            run = await onlooker.get_run(self.run_id)
            steps = [step.name for step in await onlooker.get_steps(self.run_id)]
        ran = list(self.bodies.ran)
        async with self.tab.durably(self.job()) as later:
            result = await later.result(self.run_id)

        assert (run.status, run.interruptions) == (RunStatus.PENDING, 0)
        assert steps == (["held"] if held_is_stored else [])
        assert ran == []
        assert result == "last is done"
        assert visits + self.gate.visits == (1 if held_is_stored else 2)


@pytest.fixture
def host(tab: Tab, gate: Gate, bodies: Bodies) -> Host:
    tab.proves_death = False  # So that nothing but its owner gives a run back at once.
    return Host(tab, gate, bodies)


async def test_program_that_is_cancelled_gives_its_runs_back(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    async with nothing_left_behind(caplog):
        serving = asyncio.ensure_future(host.serve())
        await host.gate.entered.wait()
        serving.cancel()
        await host.gate.open_once_settled()
        with pytest.raises(asyncio.CancelledError):
            await serving

    await host.assert_resumable(held_is_stored=True)


async def test_program_that_is_cancelled_again_while_it_leaves_gives_its_runs_back(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    async with nothing_left_behind(caplog):
        serving = asyncio.ensure_future(host.serve())
        await host.gate.entered.wait()
        for _ in range(3):
            serving.cancel()
            await settle()
        with pytest.raises(asyncio.CancelledError):
            await serving
        await host.tab.clock.advance(11)  # What is past the stop timeout is cancelled.

    await host.assert_resumable(held_is_stored=False)


async def test_task_group_of_the_host_that_fails_gives_the_runs_back(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        await host.gate.entered.wait()
        host.gate.open_once_settled()
        raise OSError("another part of the program")

    async def part() -> None:
        async with asyncio.TaskGroup() as inner:
            inner.create_task(host.serve())
            await asyncio.Event().wait()

    async with nothing_left_behind(caplog):
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as outer:
                outer.create_task(part())
                outer.create_task(fail())

    assert caught.group_contains(OSError, depth=1)
    await host.assert_resumable(held_is_stored=True)


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("is_program_spared", [False, True])
async def test_host_that_cancels_every_task_gives_the_runs_back(
    host: Host, caplog: pytest.LogCaptureFixture, newest_first: bool, is_program_spared: bool
) -> None:
    async with nothing_left_behind(caplog):
        before = asyncio.all_tasks()
        serving = asyncio.ensure_future(host.serve())
        await host.gate.entered.wait()
        tasks = asyncio.all_tasks() - before - ({serving} if is_program_spared else set())
        for task in sorted(tasks, key=lambda task: int(task.get_name()[5:]), reverse=newest_first):
            task.cancel()
        for _ in range(3):
            await settle()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

    await host.assert_resumable(held_is_stored=False)


def interrupt() -> None:
    raise KeyboardInterrupt


def press_control_c() -> None:
    signal.raise_signal(signal.SIGINT)


PLACES = ["step", "job", "listener", "host"]


@pytest.fixture
def control_c_interrupts() -> Iterator[None]:
    """As in a terminal: a shell's background job inherits a SIGINT that is ignored."""
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, inherited)


@pytest.mark.cpython_only
@pytest.mark.usefixtures("control_c_interrupts")
@pytest.mark.parametrize("stop", [interrupt, press_control_c])
@pytest.mark.parametrize("place", PLACES)
def test_loop_that_is_interrupted_gives_its_runs_back(
    tmp_path: Path, bodies: Bodies, place: str, stop: Callable[[], None]
) -> None:
    run_ids: list[str] = []

    def stop_in(here: str) -> None:
        if here == place and "stopped" not in bodies.ran:
            bodies("stopped")
            stop()

    @job
    async def three_steps(step: Step) -> str:
        await step.run("before", bodies, "before")
        await step.run("stopping", stop_in, "step")
        stop_in("job")
        if "resumed" not in bodies.ran:
            stands.set()
            await asyncio.Event().wait()
        return await step.run("last", bodies, "last")

    def durably(*jobs: Job[..., object]) -> Durably:
        return Durably("test", jobs=jobs, directory=tmp_path)

    stands = asyncio.Event()

    async def main() -> None:
        async with durably(three_steps) as serving:
            serving.on("step:complete", lambda event: stop_in("listener"))
            run_ids.append((await serving.trigger(three_steps())).id)
            await stands.wait()
            stop_in("host")
            await asyncio.Event().wait()

    async def look() -> Run:
        async with durably() as onlooker:
            return await onlooker.get_run(run_ids[0])

    async def go_on() -> object:
        bodies("resumed")
        async with durably(three_steps) as later:
            return await later.result(run_ids[0])

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    run = asyncio.run(look())
    result = asyncio.run(go_on())

    assert (run.status, run.interruptions) == (RunStatus.PENDING, 0)
    assert result == "last is done"
    assert bodies.ran == ["before", "stopped", "resumed", "last"]
