"""Triggering runs, their order, and their results."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest

from durably import (
    InvalidArguments,
    InvalidOption,
    JobNotRegistered,
    NotOpen,
    RunFailed,
    RunNotFound,
    RunStatus,
    RunWasCancelled,
    Step,
    UnreadableValue,
    job,
)
from durably.testing import settle
from tests.core.kit import Bodies, Gate, Tab, record


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


async def test_run_of_a_new_handle_is_the_one_that_is_stored(tab: Tab) -> None:
    async with tab.durably(add, autostart=False) as durably:
        handle = await durably.trigger(
            add(2), idempotency_key="i", concurrency_key="c", labels={"tenant": "a"}
        )

        assert handle.run == await durably.get_run(handle.id)


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


async def test_run_sees_no_context_variable_of_its_trigger_or_of_another_run(tab: Tab) -> None:
    word = ContextVar("word", default="of nobody")

    @job
    async def tell(step: Step) -> str:
        told = word.get()
        word.set("of another run")
        return told

    async with tab.durably(tell) as durably:
        word.set("of the trigger")
        runs = [await durably.trigger(tell()) for _ in range(3)]
        told = [await run.result() for run in runs]
        await durably.stop()
        driven = await durably.trigger(tell())
        await durably.process_one()
        told.append(await driven.result())

        assert told == ["of nobody"] * 4


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
