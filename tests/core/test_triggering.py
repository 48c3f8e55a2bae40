"""Triggering many at once, again, and once only; and what a trigger refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from durably import (
    ConcurrencyConflict,
    Durably,
    InvalidArguments,
    InvalidOption,
    JobNotRegistered,
    NotOpen,
    RunFailed,
    RunNotFound,
    RunStatus,
    Step,
    StorageFull,
    StorageLost,
    Trigger,
    ValidationError,
    WaitTimeout,
    job,
)
from durably.events import LogWrite
from durably.model import Progress
from durably.testing import settle
from tests.core.kit import Gate, Tab, record, term_of, types


@job
async def add(step: Step, left: int, right: int = 1) -> int:
    return left + right


@job
async def say(step: Step, word: str) -> str:
    return word


@job
async def fail(step: Step, word: str = "no good") -> None:
    raise ValueError(word)


async def words(durably: Durably) -> list[object]:
    """The arguments of every run, oldest first."""
    return [run.input for run in reversed(await durably.list_runs())]


async def words_after_a_crash(tab: Tab) -> list[object]:
    async with tab.durably(autostart=False) as durably:
        return await words(durably)


# Many at once


async def test_many_runs_are_made_in_the_order_of_their_triggers(tab: Tab) -> None:
    async with tab.durably(add, say) as durably:
        handles = await durably.trigger_many([add(1), say("b"), add(3)])
        runs = await durably.list_runs()

        assert [run.id for run in reversed(runs)] == [handle.id for handle in handles]
        assert [await handle.result() for handle in handles] == [2, "b", 4]


async def test_each_of_many_triggers_has_options_of_its_own(tab: Tab) -> None:
    async with tab.durably(add, autostart=False) as durably:
        first, second, third = await durably.trigger_many(
            [
                Trigger(add(1), idempotency_key="i", labels={"tenant": "a"}),
                Trigger(add(2), concurrency_key="c"),
                add(3),
            ]
        )

        assert (first.run.idempotency_key, first.run.concurrency_key) == ("i", None)
        assert first.run.labels == {"tenant": "a"}
        assert (second.run.idempotency_key, second.run.concurrency_key) == (None, "c")
        assert (third.run.idempotency_key, third.run.labels) == (None, {})


async def test_many_triggers_are_one_durable_write(tab: Tab) -> None:
    async with tab.durably(add, autostart=False) as durably:
        writes = tab.disk.writes
        await durably.trigger_many([add(number) for number in range(50)])

        assert tab.disk.writes == writes + 1


async def test_triggers_can_come_from_a_generator(tab: Tab) -> None:
    async with tab.durably(add, autostart=False) as durably:
        handles = await durably.trigger_many(add(number) for number in range(3))

        assert [handle.run.input for handle in handles] == [{"left": 0}, {"left": 1}, {"left": 2}]


async def test_no_triggers_make_no_runs(tab: Tab) -> None:
    async with tab.durably(add) as durably:
        assert await durably.trigger_many([]) == []
        assert await durably.list_runs() == []


async def test_later_trigger_can_join_an_earlier_one_of_the_same_call(tab: Tab) -> None:
    async with tab.durably(add, autostart=False) as durably:
        first, second, third = await durably.trigger_many(
            [
                Trigger(add(1), concurrency_key="c", labels={"nr": "1"}),
                Trigger(add(2), concurrency_key="c", coalesce="skip", labels={"nr": "2"}),
                add(3),
            ]
        )

        assert [first.disposition, second.disposition, third.disposition] == [
            "created",
            "coalesced",
            "created",
        ]
        assert second.id == first.id
        assert (second.run.input, second.run.labels) == ({"left": 1}, {"nr": "1"})
        assert len(await durably.list_runs()) == 2


async def test_idempotency_key_used_twice_in_one_call_makes_one_run(tab: Tab) -> None:
    async with tab.durably(add, autostart=False) as durably:
        first, second = await durably.trigger_many(
            [Trigger(add(1), idempotency_key="i"), Trigger(add(2), idempotency_key="i")]
        )

        assert (second.disposition, second.id) == ("idempotent", first.id)
        assert await words(durably) == [{"left": 1}]


async def test_conflict_of_one_trigger_stores_none_of_many(tab: Tab) -> None:
    async with tab.durably(add, autostart=False) as durably:
        told = record(durably)
        with pytest.raises(ConcurrencyConflict, match="'c'"):
            await durably.trigger_many(
                [
                    Trigger(add(1), idempotency_key="i", labels={"nr": "1"}),
                    Trigger(add(2), concurrency_key="c"),
                    Trigger(add(3), concurrency_key="c"),
                    add(4),
                ]
            )
        await settle()

        assert await durably.list_runs() == []
        assert types(told) == []
        again = await durably.trigger(add(5), idempotency_key="i", labels={"nr": "1"})
        assert again.disposition == "created"
        assert [run.id for run in await durably.list_runs(labels={"nr": "1"})] == [again.id]


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "no call": ("add", InvalidOption, "call is 'add'"),
    "a job that is not called": (add, InvalidOption, r"trigger\(job\(\.\.\.\)\)"),
    "an unknown job": (fail(), JobNotRegistered, "'fail'"),
    "an empty idempotency key": (
        Trigger(add(1), idempotency_key=""),
        InvalidOption,
        "idempotency_key is ''; it has to be a text that is not empty",
    ),
    "an idempotency key that is no text": (
        Trigger(add(1), idempotency_key=7),  # type: ignore[arg-type]
        InvalidOption,
        "idempotency_key is 7",
    ),
    "an idempotency key that is half a character": (
        Trigger(add(1), idempotency_key="\ud800"),
        InvalidOption,
        "idempotency_key",
    ),
    "a time to live without a key": (
        Trigger(add(1), idempotency_ttl=5),
        InvalidOption,
        "idempotency_ttl is 5; it has to be given together with an idempotency_key",
    ),
    "an empty concurrency key": (
        Trigger(add(1), concurrency_key=""),
        InvalidOption,
        "concurrency_key is ''; it has to be a text that is not empty",
    ),
    "a concurrency key that is half a character": (
        Trigger(add(1), concurrency_key="\udfff"),
        InvalidOption,
        "concurrency_key",
    ),
    "a coalesce without a key": (
        Trigger(add(1), coalesce="skip"),
        InvalidOption,
        "coalesce is 'skip'; it has to be given together with a concurrency_key",
    ),
    "an unknown coalesce": (
        Trigger(add(1), concurrency_key="c", coalesce="join"),  # type: ignore[arg-type]
        InvalidOption,
        'coalesce is \'join\'; it has to be "skip", "queue" or "active"',
    ),
    "an empty coalesce": (
        Trigger(add(1), concurrency_key="c", coalesce=""),  # type: ignore[arg-type]
        InvalidOption,
        "coalesce is ''",
    ),
    "a coalesce that is no text": (
        Trigger(add(1), concurrency_key="c", coalesce=["skip"]),  # type: ignore[arg-type]
        InvalidOption,
        "coalesce",
    ),
    "labels that are no dict": (
        Trigger(add(1), labels=["tenant"]),  # type: ignore[arg-type]
        InvalidOption,
        "labels",
    ),
    "labels that are an empty list": (
        Trigger(add(1), labels=[]),  # type: ignore[arg-type]
        InvalidOption,
        r"labels is \[\]; it has to be a dict of texts",
    ),
    "a label that is no text": (
        Trigger(add(1), labels={"size": 7}),
        InvalidOption,
        "label 'size' is 7; it has to be a text",
    ),
    "a label without a name": (Trigger(add(1), labels={"": "x"}), InvalidOption, "label's key"),
}


@pytest.fixture(params=BAD)
def bad(request: pytest.FixtureRequest) -> tuple[Any, type[Exception], str]:
    return BAD[request.param]


async def test_bad_trigger_among_many_stores_none_of_them(
    tab: Tab, bad: tuple[Any, type[Exception], str]
) -> None:
    trigger, kind, message = bad
    async with tab.durably(add, autostart=False) as durably:
        writes = tab.disk.writes
        with pytest.raises(kind, match=message):
            await durably.trigger_many([add(1), trigger, add(3)])

        assert await durably.list_runs() == []
        assert tab.disk.writes == writes


@pytest.mark.parametrize("triggers", [None, 7, add(1), Trigger(add(1))])
async def test_many_triggers_that_are_no_list_are_refused(tab: Tab, triggers: Any) -> None:
    async with tab.durably(add, autostart=False) as durably:
        with pytest.raises(InvalidOption, match="triggers"):
            await durably.trigger_many(triggers)

        assert await durably.list_runs() == []


async def test_generator_that_raises_among_its_triggers_stores_none(tab: Tab) -> None:
    def calls() -> Iterator[Any]:
        yield add(1)
        raise OSError("the file ends here")

    async with tab.durably(add, autostart=False) as durably:
        with pytest.raises(OSError, match="ends here"):
            await durably.trigger_many(calls())

        assert await durably.list_runs() == []


def test_what_cannot_be_right_is_a_validation_error() -> None:
    assert issubclass(InvalidOption, ValidationError)
    assert issubclass(InvalidArguments, ValidationError)


@pytest.mark.parametrize(
    "ttl",
    [0, -1, float("nan"), float("inf"), 1e300, True, "5", timedelta(0), timedelta(seconds=-1)],
)
async def test_time_to_live_that_is_no_duration_is_refused(tab: Tab, ttl: Any) -> None:
    async with tab.durably(add, autostart=False) as durably:
        with pytest.raises(InvalidOption, match="idempotency_ttl"):
            await durably.trigger(add(1), idempotency_key="i", idempotency_ttl=ttl)

        assert await durably.list_runs() == []


async def test_trigger_outside_the_block_is_refused(tab: Tab) -> None:
    durably = tab.durably(add)

    with pytest.raises(NotOpen):
        await durably.trigger(add(1))
    with pytest.raises(NotOpen):
        await durably.trigger_many([add(1)])


# Storage that does not take it


async def test_file_that_is_full_in_the_middle_of_many_triggers_holds_none_of_them(
    tab: Tab,
) -> None:
    async with tab.durably(say, autostart=False) as durably:
        first = await durably.trigger(say("before"))
        database = (await term_of(durably)).database
        ((pages,),) = database.read("pragma page_count", {})
        database.read(f"pragma max_page_count = {pages + 3}", {})
        with pytest.raises(StorageFull):
            await durably.trigger_many(
                [Trigger(say("x" * 1000), labels={"nr": str(number)}) for number in range(100)]
            )
        database.read("pragma max_page_count = 5000", {})

        assert [run.id for run in await durably.list_runs()] == [first.id]
        assert database.read("select * from labels", {}) == []
        assert (await durably.trigger(say("after"))).disposition == "created"


async def test_many_triggers_wait_for_room_and_are_then_all_there(tab: Tab) -> None:
    async with tab.durably(add, autostart=False) as durably:
        told = record(durably)
        tab.disk.fail(tab.disk.writes + 1, "full")
        triggering = asyncio.ensure_future(durably.trigger_many([add(1), add(2)]))
        await settle()
        while_full = (triggering.done(), types(told))
        await tab.clock.advance(2)

        assert while_full == (False, ["storage:full"])
        assert len(await triggering) == 2
        assert types(told) == ["storage:full", "run:trigger", "run:trigger"]
    assert await words_after_a_crash(tab) == [{"left": 1}, {"left": 2}]


async def test_many_triggers_whose_storage_is_lost_are_not_there(tab: Tab) -> None:
    async with tab.durably(add, autostart=False) as durably:
        told = record(durably, "run:trigger")
        tab.disk.fail(tab.disk.writes + 1, "lost")
        with pytest.raises(StorageLost):
            await durably.trigger_many([add(1), Trigger(add(2), idempotency_key="i")])
        await settle()

        assert await durably.list_runs() == []
        assert told == []
        assert (await durably.trigger(add(3), idempotency_key="i")).disposition == "created"


async def test_idempotent_trigger_is_acknowledged_no_earlier_than_the_first(tab: Tab) -> None:
    async with tab.durably(add, autostart=False) as durably:
        tab.disk.fail(tab.disk.writes + 1, "full")
        first = asyncio.ensure_future(durably.trigger(add(1), idempotency_key="i"))
        second = asyncio.ensure_future(durably.trigger(add(1), idempotency_key="i"))
        await settle()
        while_full = (first.done(), second.done())
        await tab.clock.advance(2)

        assert while_full == (False, False)
        assert (await first).id == (await second).id


# Once only


async def test_key_with_a_time_to_live_leads_to_its_run_until_then(tab: Tab) -> None:
    async with tab.durably(add, autostart=False) as durably:
        first = await durably.trigger(add(1), idempotency_key="i", idempotency_ttl=60)
        await tab.clock.freeze(59)
        second = await durably.trigger(add(1), idempotency_key="i")
        await tab.clock.advance(1)
        third = await durably.trigger(add(1), idempotency_key="i")

        assert (second.disposition, second.id) == ("idempotent", first.id)
        assert third.disposition == "created"


async def test_time_to_live_can_be_a_timedelta(tab: Tab) -> None:
    async with tab.durably(add, autostart=False) as durably:
        ttl = timedelta(milliseconds=1500)
        await durably.trigger(add(1), idempotency_key="i", idempotency_ttl=ttl)
        await tab.clock.advance(1.499)
        within = await durably.trigger(add(1), idempotency_key="i")
        await tab.clock.advance(0.001)
        after = await durably.trigger(add(1), idempotency_key="i")

        assert (within.disposition, after.disposition) == ("idempotent", "created")


async def test_later_use_of_a_key_does_not_lengthen_its_life(tab: Tab) -> None:
    async with tab.durably(add, autostart=False) as durably:
        await durably.trigger(add(1), idempotency_key="i", idempotency_ttl=60)
        await tab.clock.freeze(30)
        await durably.trigger(add(1), idempotency_key="i", idempotency_ttl=60)
        await tab.clock.freeze(30)

        assert (await durably.trigger(add(1), idempotency_key="i")).disposition == "created"


async def test_key_that_was_given_again_leads_to_the_newer_run(tab: Tab) -> None:
    async with tab.durably(add, autostart=False) as durably:
        await durably.trigger(add(1), idempotency_key="i", idempotency_ttl=1)
        await tab.clock.advance(1)
        second = await durably.trigger(add(2), idempotency_key="i")
        await tab.clock.advance(10)
        third = await durably.trigger(add(3), idempotency_key="i")

        assert (third.disposition, third.id) == ("idempotent", second.id)


async def test_idempotency_key_goes_before_the_concurrency_key(tab: Tab) -> None:
    async with tab.durably(add, autostart=False) as durably:
        known = await durably.trigger(add(1), idempotency_key="i")
        await durably.trigger(add(2), concurrency_key="c")
        conflicting = await durably.trigger(add(3), idempotency_key="i", concurrency_key="c")
        joining = await durably.trigger(
            add(4), idempotency_key="i", concurrency_key="c", coalesce="skip"
        )

        assert [conflicting.disposition, joining.disposition] == ["idempotent", "idempotent"]
        assert conflicting.id == joining.id == known.id


async def test_idempotent_trigger_tells_and_writes_nothing(tab: Tab) -> None:
    async with tab.durably(add, autostart=False) as durably:
        await durably.trigger(add(1), idempotency_key="i")
        told, writes = record(durably), tab.disk.writes
        await durably.trigger(add(1), idempotency_key="i")
        await settle()

        assert types(told) == []
        assert tab.disk.writes == writes


# Triggering and waiting


async def test_trigger_and_wait_returns_what_the_job_returned(tab: Tab) -> None:
    async with tab.durably(add) as durably:
        assert await durably.trigger_and_wait(add(1), timeout=60) == 2


async def test_trigger_and_wait_raises_what_the_run_failed_with(tab: Tab) -> None:
    async with tab.durably(fail) as durably:
        with pytest.raises(RunFailed, match="no good"):
            await durably.trigger_and_wait(fail())


async def test_trigger_and_wait_gives_up_waiting_and_the_run_goes_on(tab: Tab, gate: Gate) -> None:
    @job
    async def slow(step: Step) -> str:
        return await gate()

    async with tab.durably(slow) as durably:
        waiting = asyncio.ensure_future(durably.trigger_and_wait(slow(), timeout=5))
        await gate.entered.wait()
        await tab.clock.advance(5)
        with pytest.raises(WaitTimeout):
            await waiting
        gate.open()
        (run,) = await durably.list_runs()

        assert await durably.result(run.id) == "passed"


async def test_trigger_and_wait_takes_the_options_of_a_trigger(tab: Tab) -> None:
    async with tab.durably(add) as durably:
        first = await durably.trigger_and_wait(
            add(1), idempotency_key="i", concurrency_key="c", labels={"tenant": "a"}
        )
        again = await durably.trigger_and_wait(add(100), idempotency_key="i")
        (run,) = await durably.list_runs()

        assert (first, again) == (2, 2)
        assert (run.idempotency_key, run.concurrency_key) == ("i", "c")
        assert run.labels == {"tenant": "a"}


async def test_trigger_and_wait_waits_for_the_run_that_it_joined(tab: Tab, gate: Gate) -> None:
    @job
    async def slow(step: Step, word: str) -> str:
        await gate()
        return word

    async with tab.durably(slow) as durably:
        await durably.trigger(slow("first"), concurrency_key="c")
        await gate.entered.wait()
        joined = asyncio.ensure_future(
            durably.trigger_and_wait(slow("second"), concurrency_key="c", coalesce="active")
        )
        await settle()
        gate.open()

        assert await joined == "first"


async def test_trigger_and_wait_tells_of_progress_and_log_lines(tab: Tab) -> None:
    @job
    async def talk(step: Step) -> str:
        step.progress(1, 2)
        step.log("halfway")
        await step.run("go on", settle)
        return "done"

    async with tab.durably(talk) as durably:
        progress: list[Progress] = []
        lines: list[LogWrite] = []
        waiting = asyncio.ensure_future(
            durably.trigger_and_wait(talk(), on_progress=progress.append, on_log=lines.append)
        )
        await settle()
        await waiting

        assert progress == [Progress(1, 2)]
        assert [line.message for line in lines] == ["halfway"]


# What is told


async def test_created_run_is_told_once_it_is_durable(tab: Tab) -> None:
    async with tab.durably(add, autostart=False) as durably:
        writes: list[int] = []
        before = tab.disk.writes
        durably.on("run:trigger", lambda event: writes.append(tab.disk.writes))
        handle = await durably.trigger(add(1))
        told = record(durably)

        assert writes == [before + 1]
        assert told == []
        assert handle.disposition == "created"


async def test_many_triggers_are_told_of_in_their_order(tab: Tab) -> None:
    async with tab.durably(add, say, autostart=False) as durably:
        told = record(durably)
        first, second, third = await durably.trigger_many(
            [
                Trigger(add(1), concurrency_key="c"),
                Trigger(add(2, right=7), concurrency_key="c", coalesce="queue"),
                say("b"),
            ]
        )

        assert [(event.type, event.run_id, event.job) for event in told] == [
            ("run:trigger", first.id, "add"),
            ("run:coalesced", first.id, "add"),
            ("run:trigger", third.id, "say"),
        ]
        assert [event.sequence for event in told] == sorted(event.sequence for event in told)
        assert second.id == first.id


async def test_claim_is_told_behind_the_trigger(tab: Tab) -> None:
    async with tab.durably(add) as durably:
        told = record(durably)
        await (await durably.trigger(add(1))).result()

        assert types(told)[:2] == ["run:trigger", "run:claimed"]


async def test_trigger_and_claim_are_one_commit_where_there_is_room_for_the_run(
    tab: Tab, gate: Gate
) -> None:
    @job
    async def wait_at_gate(step: Step) -> None:
        await gate()

    async with tab.durably(wait_at_gate) as durably:
        told = record(durably)
        writes = tab.disk.writes
        first = await durably.trigger(wait_at_gate())
        told_first = types(told)
        await gate.entered.wait()
        second = await durably.trigger(wait_at_gate())
        await settle()
        statuses = [(await durably.get_run(run.id)).status for run in (first, second)]
        gate.open()

        assert tab.disk.writes - writes == 2
        assert told_first == ["run:trigger", "run:claimed"]
        assert statuses == [RunStatus.RUNNING, RunStatus.PENDING]


# Ids that are none


@pytest.mark.parametrize("run_id", ["nowhere", "", "\ud800", None, 7, object(), ["a"]])
async def test_what_is_no_id_of_a_run_is_not_found(tab: Tab, run_id: Any) -> None:
    async with tab.durably() as durably:
        for verb in (
            durably.get_run,
            durably.get_steps,
            durably.get_attempts,
            durably.get_waits,
            durably.get_logs,
            durably.result,
            durably.wait_for_run,
            durably.cancel,
            durably.retrigger,
            durably.delete_run,
        ):
            with pytest.raises(RunNotFound):
                await verb(run_id)


@pytest.mark.parametrize("name", ["", "\ud800", 7])
async def test_name_of_a_job_has_to_be_a_text(tab: Tab, name: Any) -> None:
    @job(name=name)
    async def nameless(step: Step) -> None: ...

    with pytest.raises(InvalidOption, match="jobs"):
        tab.durably(nameless)
