"""Looking at runs and steps, and cancelling what is not under way."""

from __future__ import annotations

import pytest

from durably import (
    Durably,
    InvalidOption,
    RunConflict,
    RunFailed,
    RunNotFound,
    RunStatus,
    Step,
    WaitIsOver,
    job,
)
from durably.testing import settle
from tests.core.kit import Bodies, Tab


@job
async def add(step: Step, left: int, right: int = 1) -> int:
    return left + right


@job
async def fail(step: Step) -> None:
    raise ValueError("no good")


@job
async def say(step: Step, word: str) -> str:
    return word


# Looking


async def test_unknown_run_is_not_found(tab: Tab) -> None:
    async with tab.durably() as durably:
        with pytest.raises(RunNotFound):
            await durably.get_run("nowhere")
        with pytest.raises(RunNotFound):
            await durably.get_steps("nowhere")
        with pytest.raises(RunNotFound):
            await durably.cancel("nowhere")


async def test_get_run_tells_the_facts_of_a_completed_run(tab: Tab) -> None:
    async with tab.durably(add) as durably:
        handle = await durably.trigger(add(1), idempotency_key="k")
        await handle.result()
        run = await durably.get_run(handle.id)

        assert run.status is RunStatus.COMPLETED
        assert run.output == 2
        assert run.error is None
        assert run.idempotency_key == "k"
        assert run.lease_generation == 1
        assert run.lease_owner is None
        assert run.interruptions == 0
        assert run.created_at == run.started_at == run.completed_at == tab.clock.now()


async def test_steps_are_listed_in_the_order_of_their_checkpoints(tab: Tab, bodies: Bodies) -> None:
    @job
    async def three_steps(step: Step) -> None:
        await step.run("c", bodies, "c")
        await step.run("a", bodies, "a")
        await step.run("b", bodies, "b")

    async with tab.durably(three_steps, preserve_steps=True) as durably:
        handle = await durably.trigger(three_steps())
        await handle.result()
        steps = await durably.get_steps(handle.id)

        assert [(step.name, step.status, step.output) for step in steps] == [
            ("c", "completed", "c is done"),
            ("a", "completed", "a is done"),
            ("b", "completed", "b is done"),
        ]


async def test_failed_step_is_listed_with_its_error(tab: Tab) -> None:
    def break_down() -> None:
        raise OSError("no network")

    @job
    async def one_step(step: Step) -> None:
        await step.run("fetch", break_down)

    async with tab.durably(one_step) as durably:
        handle = await durably.trigger(one_step())
        with pytest.raises(RunFailed):
            await handle.result()
        (step,) = await durably.get_steps(handle.id)

        assert (step.status, step.output) == ("failed", None)
        assert step.error is not None
        assert (step.error.type, step.error.message) == ("OSError", "no network")


@pytest.fixture
async def listed(tab: Tab) -> Durably:
    """Four runs: add completed, fail failed, add cancelled, say pending (in this order)."""
    async with tab.durably(add, fail) as durably:
        await (await durably.trigger(add(0))).result()
        with pytest.raises(RunFailed):
            await (await durably.trigger(fail())).result()
        tab.visibility.hide()
        await durably.cancel((await durably.trigger(add(1))).id)
    async with tab.durably(say) as durably:
        await durably.trigger(say("hello"))
    return tab.durably()


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["say pending", "add cancelled", "fail failed", "add completed"]),
        ({"status": "failed"}, ["fail failed"]),
        ({"status": RunStatus.PENDING}, ["say pending"]),
        ({"status": ["failed", RunStatus.CANCELLED]}, ["add cancelled", "fail failed"]),
        ({"job": "add"}, ["add cancelled", "add completed"]),
        ({"job": ["say", "fail"]}, ["say pending", "fail failed"]),
        ({"job": "add", "status": "completed"}, ["add completed"]),
        ({"job": "unheard-of"}, []),
        ({"status": "waiting"}, []),
        ({"limit": 2}, ["say pending", "add cancelled"]),
        ({"limit": 2, "offset": 1}, ["add cancelled", "fail failed"]),
        ({"limit": 0}, []),
        ({"offset": 4}, []),
    ],
)
async def test_runs_are_listed_newest_first_and_filtered(
    listed: Durably, filters: dict[str, object], expected: list[str]
) -> None:
    async with listed as durably:
        runs = await durably.list_runs(**filters)  # type: ignore[arg-type]

        assert [f"{run.job} {run.status}" for run in runs] == expected


@pytest.mark.parametrize(
    "filters",
    [
        {"status": "done"},
        {"status": ["failed", "done"]},
        {"limit": -1},
        {"offset": -1},
        {"limit": 1.5},
        {"limit": True},
    ],
)
async def test_filters_that_cannot_be_are_refused(tab: Tab, filters: dict[str, object]) -> None:
    async with tab.durably() as durably:
        with pytest.raises(InvalidOption, match=next(iter(filters))):
            await durably.list_runs(**filters)  # type: ignore[arg-type]


# Cancelling a run that is not under way


async def test_cancelled_pending_run_never_starts(tab: Tab, bodies: Bodies) -> None:
    @job
    async def note(step: Step) -> None:
        bodies("note")

    tab.visibility.hide()
    async with tab.durably(note) as durably:
        handle = await durably.trigger(note())
        await durably.cancel(handle.id)
        tab.visibility.show()
        await settle()

        assert bodies.ran == []
        assert (await durably.get_run(handle.id)).status is RunStatus.CANCELLED


async def test_cancel_is_durable_when_it_returns(tab: Tab) -> None:
    tab.visibility.hide()
    async with tab.life(add) as life:
        handle = await life.durably.trigger(add(1))
        await life.durably.cancel(handle.id)
        await life.kill()

    async with tab.durably() as durably:
        assert (await durably.get_run(handle.id)).status is RunStatus.CANCELLED


async def test_terminal_run_cannot_be_cancelled(tab: Tab) -> None:
    async with tab.durably(add) as durably:
        handle = await durably.trigger(add(1))
        await handle.result()

        with pytest.raises(RunConflict, match="already completed"):
            await durably.cancel(handle.id)
        assert (await durably.get_run(handle.id)).status is RunStatus.COMPLETED


async def test_run_cannot_be_cancelled_twice(tab: Tab) -> None:
    tab.visibility.hide()
    async with tab.durably(add) as durably:
        handle = await durably.trigger(add(1))
        await durably.cancel(handle.id)

        with pytest.raises(RunConflict, match="already cancelled"):
            await durably.cancel(handle.id)


async def test_failed_run_cannot_be_cancelled(tab: Tab) -> None:
    async with tab.durably(fail) as durably:
        handle = await durably.trigger(fail())
        with pytest.raises(RunFailed):
            await handle.result()

        with pytest.raises(RunConflict, match="already failed"):
            await durably.cancel(handle.id)


async def test_cancelled_waiting_run_never_goes_on(tab: Tab, bodies: Bodies) -> None:
    @job
    async def ask(step: Step) -> None:
        await step.wait_for(await step.prepare_wait("answer", timeout=60))
        bodies("answered")

    async with tab.durably(ask) as durably:
        handle = await durably.trigger(ask())
        await settle()
        (wait,) = await durably.get_waits(handle.id)
        await durably.cancel(handle.id)
        with pytest.raises(WaitIsOver, match="its run has ended"):
            await durably.signal(wait.id)
        await tab.clock.advance(120)

        assert (await durably.get_run(handle.id)).status is RunStatus.CANCELLED
        assert bodies.ran == []


async def test_cancel_is_told_once_it_is_durable(tab: Tab) -> None:
    async with tab.durably(add, autostart=False) as durably:
        handle = await durably.trigger(add(1))
        writes: list[int] = []
        before = tab.disk.writes
        durably.on("run:cancel", lambda event: writes.append(tab.disk.writes))
        await durably.cancel(handle.id)

        assert writes == [before + 1]
