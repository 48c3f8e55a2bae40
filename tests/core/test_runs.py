"""Triggering runs, their order, their results, and looking at them."""

from __future__ import annotations

import asyncio
import logging

import pytest

from durably import (
    Durably,
    InvalidArguments,
    InvalidOption,
    JobNotRegistered,
    NotOpen,
    RunConflict,
    RunFailed,
    RunNotFound,
    RunStatus,
    RunWasCancelled,
    Step,
    UnreadableValue,
    events,
    job,
)
from durably.testing import settle
from tests.core.kit import Bodies, Gate, Tab, only_run, record, types, until


@job
async def add(step: Step, left: int, right: int = 1) -> int:
    return left + right


@job
async def fail(step: Step) -> None:
    raise ValueError("no good")


@job
async def say(step: Step, word: str) -> str:
    return word


@job
async def take_anything(step: Step, value: object) -> object:
    return value


# Triggering


async def test_triggered_run_completes_with_what_the_job_returned(tab: Tab) -> None:
    async with tab.durably(add) as durably:
        run = await durably.trigger(add(2, right=3))

        assert await run.result() == 5


async def test_trigger_returns_the_pending_run_that_it_created(tab: Tab) -> None:
    async with tab.durably(add) as durably:
        handle = await durably.trigger(add(2))

        assert handle.disposition == "created"
        assert handle.run.id == handle.id
        assert handle.run.status is RunStatus.PENDING
        assert handle.run.job == "add"
        assert handle.run.created_at == tab.clock.now()


async def test_stored_input_is_the_given_arguments_by_name_without_defaults(tab: Tab) -> None:
    async with tab.durably(add) as durably:
        handle = await durably.trigger(add(2))

        assert handle.run.input == {"left": 2}


async def test_trigger_is_durable_when_it_returns(tab: Tab) -> None:
    tab.visibility.hide()
    async with tab.life(add) as first:
        handle = await first.durably.trigger(add(2))
        await first.kill()

    tab.visibility.show()
    async with tab.durably(add) as durably:
        assert await durably.result(handle.id) == 3


async def test_job_can_have_a_name_of_its_own(tab: Tab) -> None:
    @job(name="shop.add")
    async def add_up(step: Step) -> str:
        return "added"

    async with tab.durably(add_up) as durably:
        handle = await durably.trigger(add_up())

        assert handle.run.job == "shop.add"
        assert await handle.result() == "added"


async def test_trigger_of_a_job_that_is_not_registered_stores_nothing(tab: Tab) -> None:
    async with tab.durably(add) as durably:
        with pytest.raises(JobNotRegistered, match="'fail'"):
            await durably.trigger(fail())

        assert await durably.list_runs() == []


@pytest.mark.parametrize(
    ("args", "kwargs", "problem"),
    [
        ((), {}, "left"),
        ((1, 2, 3), {}, "too many"),
        ((1,), {"middle": 2}, "middle"),
        ((1,), {"left": 2}, "left"),
        (("1",), {}, r"\$\.left: expected int, got str"),
        ((True,), {}, r"\$\.left: expected int, got bool"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_at_the_call(
    args: tuple[object, ...], kwargs: dict[str, object], problem: str
) -> None:
    with pytest.raises(InvalidArguments, match=problem):
        add(*args, **kwargs)  # type: ignore[arg-type]


def test_argument_that_cannot_be_stored_is_named_by_its_path() -> None:
    with pytest.raises(InvalidArguments, match=r"\$\.value\.items\[1\]"):
        take_anything({"items": [1, object()]})


@pytest.mark.parametrize("call", [add, "add", None])
async def test_trigger_of_anything_but_a_call_is_refused(tab: Tab, call: object) -> None:
    async with tab.durably(add) as durably:
        with pytest.raises(InvalidOption, match="trigger"):
            await durably.trigger(call)  # type: ignore[arg-type]


# Idempotency keys


async def test_second_trigger_under_a_key_returns_the_first_run(tab: Tab) -> None:
    async with tab.durably(add) as durably:
        first = await durably.trigger(add(1), idempotency_key="once")
        second = await durably.trigger(add(1), idempotency_key="once")

        assert (first.disposition, second.disposition) == ("created", "idempotent")
        assert first.id == second.id


async def test_idempotent_trigger_keeps_the_input_of_the_first(tab: Tab) -> None:
    async with tab.durably(add) as durably:
        await durably.trigger(add(1), idempotency_key="once")
        second = await durably.trigger(add(100), idempotency_key="once")

        assert second.run.input == {"left": 1}
        assert await second.result() == 2


async def test_idempotent_trigger_of_a_completed_run_gives_its_result(
    tab: Tab, bodies: Bodies
) -> None:
    @job
    async def once(step: Step) -> str:
        return bodies("once")

    async with tab.durably(once) as durably:
        first = await durably.trigger(once(), idempotency_key="k")
        await first.result()
        second = await durably.trigger(once(), idempotency_key="k")

        assert await second.result() == "once is done"
        assert bodies.ran == ["once"]


async def test_idempotency_key_belongs_to_its_job(tab: Tab) -> None:
    async with tab.durably(add, say) as durably:
        await durably.trigger(add(1), idempotency_key="k")
        other = await durably.trigger(say("hello"), idempotency_key="k")

        assert other.disposition == "created"


async def test_idempotency_key_is_known_in_the_next_life(tab: Tab) -> None:
    async with tab.durably(add) as durably:
        first = await durably.trigger(add(1), idempotency_key="k")
        await first.result()

    async with tab.durably(add) as durably:
        second = await durably.trigger(add(1), idempotency_key="k")

        assert (second.disposition, second.id) == ("idempotent", first.id)


@pytest.mark.parametrize("key", ["", 7])
async def test_idempotency_key_has_to_be_a_text(tab: Tab, key: str) -> None:
    async with tab.durably(add) as durably:
        with pytest.raises(InvalidOption, match="idempotency_key"):
            await durably.trigger(add(1), idempotency_key=key)

        assert await durably.list_runs() == []


# Order and concurrency


async def test_runs_are_claimed_in_the_order_of_their_creation(tab: Tab) -> None:
    async with tab.durably(say) as durably:
        claimed = record(durably, "run:claimed")
        handles = [await durably.trigger(say(word)) for word in "abcde"]
        await asyncio.gather(*(handle.result() for handle in handles))

        assert [event.run_id for event in claimed] == [handle.id for handle in handles]


async def test_one_run_at_a_time_unless_more_are_asked_for(tab: Tab, gate: Gate) -> None:
    @job
    async def wait_at_gate(step: Step) -> None:
        await gate()

    async with tab.durably(wait_at_gate) as durably:
        for _ in range(3):
            await durably.trigger(wait_at_gate())
        await settle()
        running = await durably.list_runs(status="running")
        gate.open()

        assert len(running) == 1


async def test_as_many_runs_at_a_time_as_asked_for(tab: Tab, gate: Gate) -> None:
    @job
    async def wait_at_gate(step: Step) -> None:
        await gate()

    async with tab.durably(wait_at_gate, max_concurrent_runs=3) as durably:
        for _ in range(5):
            await durably.trigger(wait_at_gate())
        await settle()
        running = await durably.list_runs(status="running")
        gate.open()

        assert len(running) == 3


async def test_end_of_a_run_makes_room_for_the_next(tab: Tab) -> None:
    async with tab.durably(add) as durably:
        handles = [await durably.trigger(add(number)) for number in range(10)]

        assert [await handle.result() for handle in handles] == list(range(1, 11))


# Results


async def test_result_of_a_failed_run_raises_what_it_failed_with(tab: Tab) -> None:
    async with tab.durably(fail) as durably:
        handle = await durably.trigger(fail())

        with pytest.raises(RunFailed, match="no good") as caught:
            await handle.result()
        assert caught.value.error.type == "ValueError"
        assert caught.value.error.step is None
        assert "test_runs.py" in caught.value.error.traceback


async def test_result_of_a_cancelled_run_raises_that_it_was_cancelled(tab: Tab) -> None:
    tab.visibility.hide()
    async with tab.durably(add) as durably:
        handle = await durably.trigger(add(1))
        await durably.cancel(handle.id)

        with pytest.raises(RunWasCancelled, match=handle.id):
            await handle.result()


async def test_result_of_an_unknown_run_raises_run_not_found(tab: Tab) -> None:
    async with tab.durably() as durably:
        with pytest.raises(RunNotFound, match="nowhere"):
            await durably.result("nowhere")


async def test_result_can_be_asked_for_long_after_the_end(tab: Tab) -> None:
    async with tab.durably(add) as durably:
        handle = await durably.trigger(add(1))
        await handle.result()

    async with tab.durably() as durably:
        assert await durably.result(handle.id) == 2


async def test_output_that_cannot_be_stored_fails_the_run_and_names_the_path(tab: Tab) -> None:
    @job
    async def give_a_socket(step: Step) -> object:
        return {"items": [object()]}

    async with tab.durably(give_a_socket) as durably:
        handle = await durably.trigger(give_a_socket())

        with pytest.raises(RunFailed, match=r"\$\.items\[0\]: object cannot be stored"):
            await handle.result()


async def test_result_that_cannot_be_read_any_more_raises_unreadable_value(tab: Tab) -> None:
    async with tab.durably(say) as durably:
        handle = await durably.trigger(say("hello"))
        await handle.result()
    # Stands for a class that a new version of the program no longer has.
    tab.disk.image = tab.disk.image.replace(b'"hello"', b"{hello}")

    async with tab.durably(say) as durably:
        with pytest.raises(UnreadableValue):
            await durably.result(handle.id)


async def test_many_can_wait_for_one_result(tab: Tab) -> None:
    async with tab.durably(add) as durably:
        handle = await durably.trigger(add(1))

        assert await asyncio.gather(*(handle.result() for _ in range(5))) == [2] * 5


async def test_waiting_for_a_result_ends_when_the_durably_is_left(tab: Tab, gate: Gate) -> None:
    @job
    async def wait_at_gate(step: Step) -> None:
        await gate()

    async with tab.durably(wait_at_gate) as durably:
        handle = await durably.trigger(wait_at_gate())
        waiting = asyncio.ensure_future(handle.result())
        await gate.entered.wait()

    with pytest.raises(NotOpen):
        await waiting


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

    async with tab.durably(three_steps) as durably:
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


# Jobs that this program does not know


async def test_run_of_an_unregistered_job_stays_pending(tab: Tab) -> None:
    tab.visibility.hide()
    async with tab.durably(say) as durably:
        await durably.trigger(say("hello"))
    tab.visibility.show()

    async with tab.durably(add) as durably:
        await (await durably.trigger(add(1))).result()

        assert [run.job for run in await durably.list_runs(status="pending")] == ["say"]


async def test_unregistered_job_is_named_once_in_the_log(
    tab: Tab, caplog: pytest.LogCaptureFixture
) -> None:
    tab.visibility.hide()
    async with tab.durably(say) as durably:
        await durably.trigger(say("hello"))
        await durably.trigger(say("again"))
    tab.visibility.show()

    with caplog.at_level(logging.WARNING, "durably"):
        async with tab.durably(add) as durably:
            await (await durably.trigger(add(1))).result()
            await (await durably.trigger(add(2))).result()

    lines = [record.getMessage() for record in caplog.records]
    assert [line for line in lines if "'say'" in line] == [
        "Runs of job 'say' stay pending: it is not registered here. "
        "Pass it in Durably(..., jobs=[...])."
    ]


async def test_run_of_an_unregistered_job_runs_when_the_job_is_registered(tab: Tab) -> None:
    tab.visibility.hide()
    async with tab.durably(say) as durably:
        handle = await durably.trigger(say("hello"))
    tab.visibility.show()
    async with tab.durably(add) as durably:
        await settle()

    async with tab.durably(say) as durably:
        assert await durably.result(handle.id) == "hello"


async def test_job_whose_stored_input_no_longer_fits_fails_visibly(tab: Tab) -> None:
    @job(name="resize")
    async def old(step: Step, width: int) -> None: ...

    @job(name="resize")
    async def new(step: Step, size: int) -> None: ...

    tab.visibility.hide()
    async with tab.durably(old) as durably:
        handle = await durably.trigger(old(3))
    tab.visibility.show()

    async with tab.durably(new) as durably:
        with pytest.raises(RunFailed, match="width"):
            await durably.result(handle.id)


# Opening


async def test_use_outside_the_block_is_refused(tab: Tab) -> None:
    durably = tab.durably(add)
    with pytest.raises(NotOpen, match="async with"):
        await durably.trigger(add(1))

    async with durably:
        pass
    with pytest.raises(NotOpen):
        await durably.list_runs()


async def test_durably_can_be_opened_again(tab: Tab) -> None:
    durably = tab.durably(add)
    async with durably:
        first = await durably.trigger(add(1))
        await first.result()

    async with durably:
        second = await durably.trigger(add(2))

        assert await second.result() == 3
        assert await first.result() == 2


async def test_durably_cannot_be_opened_twice_at_once(tab: Tab) -> None:
    async with tab.durably(add) as durably:
        with pytest.raises(RuntimeError, match="open"):
            async with durably:
                pass

        assert await (await durably.trigger(add(1))).result() == 2


async def test_error_in_the_block_closes_the_durably_and_goes_on(tab: Tab) -> None:
    durably = tab.durably(add)
    with pytest.raises(ZeroDivisionError):
        async with durably:
            raise ZeroDivisionError

    with pytest.raises(NotOpen):
        await durably.list_runs()


async def test_idle_worker_sets_no_timer_and_writes_nothing(tab: Tab) -> None:
    async with tab.durably(add) as durably:
        await (await durably.trigger(add(1))).result()
        await settle()
        before = tab.disk.writes
        await tab.clock.advance(3600)

        assert tab.disk.writes == before


async def test_events_of_a_plain_run_come_in_order(tab: Tab) -> None:
    async with tab.durably(add) as durably:
        told = record(durably)
        await (await durably.trigger(add(1))).result()
        await until(lambda: len(told) >= 3)

        assert types(told) == ["run:trigger", "run:claimed", "run:complete"]
        assert isinstance(told[-1], events.RunComplete)
        assert told[-1].output == 2


async def test_job_function_failing_with_a_long_chain_still_fails_visibly(tab: Tab) -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("not even this works")

    @job
    async def raise_unprintable(step: Step) -> None:
        raise Unprintable

    async with tab.durably(raise_unprintable) as durably:
        handle = await durably.trigger(raise_unprintable())

        with pytest.raises(RunFailed, match="could not be read"):
            await handle.result()


async def test_run_is_listed_as_pending_by_its_job_and_told_apart(tab: Tab) -> None:
    tab.visibility.hide()
    async with tab.durably(add) as durably:
        await durably.trigger(add(1))

        assert (await only_run(durably)).is_active
