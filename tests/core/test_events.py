"""Events: their order, when they are told, and what a listener can and cannot do."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest

from durably import EventsOverflow, InvalidOption, RunFailed, Step, events, job
from durably.emitter import EVENT_QUEUE_LIMIT, Emitter
from durably.events import Event
from durably.testing import FakeClock, settle
from tests.core.kit import Gate, Tab, record, types


@job
async def two_steps(step: Step) -> str:
    await step.run("a", lambda: None)
    await step.run("b", lambda: None)
    return "done"


def emitter() -> Emitter:
    return Emitter(FakeClock())


def line(message: str) -> dict[str, Any]:
    return {
        "run_id": "r", "job": "j", "level": "info", "message": message, "data": {}, "step": None,
    }  # fmt: skip


# Order


async def test_events_of_a_run_come_in_the_order_of_its_writes(tab: Tab) -> None:
    async with tab.durably(two_steps) as durably:
        told = record(durably)
        await (await durably.trigger(two_steps())).result()

        assert types(told) == [
            "run:trigger",
            "run:claimed",
            "step:start",
            "step:complete",
            "step:start",
            "step:complete",
            "run:complete",
        ]


async def test_sequence_counts_up_by_one(tab: Tab) -> None:
    durably = tab.durably(two_steps)
    told = record(durably)
    async with durably:
        await (await durably.trigger(two_steps())).result()

    assert [event.sequence for event in told] == list(range(1, len(told) + 1))


async def test_events_carry_the_time_at_which_they_are_told(tab: Tab) -> None:
    async with tab.durably(two_steps) as durably:
        told = record(durably)
        await (await durably.trigger(two_steps())).result()

        assert {event.at for event in told} == {tab.clock.now()}


async def test_failure_of_a_step_and_of_its_run_are_told(tab: Tab) -> None:
    def break_down() -> None:
        raise OSError("no network")

    @job
    async def failing(step: Step) -> None:
        await step.run("fetch", break_down)

    async with tab.durably(failing) as durably:
        told = record(durably)
        with pytest.raises(RunFailed):
            await (await durably.trigger(failing())).result()

        assert types(told)[-2:] == ["step:fail", "run:fail"]
        assert told[-2].error == told[-1].error


async def test_event_without_a_write_waits_for_the_writes_before_it() -> None:
    emitting = emitter()
    told: list[Any] = []
    emitting.on("*", told.append)
    emitting.stage(1, events.LogWrite, line("write"))
    emitting.emit(events.LogWrite, **line("no write"))
    before = list(told)
    emitting.durable_up_to(1)

    assert before == []
    assert [event.message for event in told] == ["write", "no write"]


async def test_event_caused_by_a_listener_reaches_every_listener_after_its_cause() -> None:
    emitting = emitter()
    first: list[str] = []
    second: list[str] = []

    def answer(event: Event) -> None:
        assert isinstance(event, events.LogWrite)
        first.append(event.message)
        if event.message == "question":
            emitting.emit(events.LogWrite, **line("answer"))
            emitting.emit_now(events.LogWrite(**line("urgent answer")))

    emitting.on("*", answer)
    emitting.on("log:write", lambda event: second.append(getattr(event, "message")))  # noqa: B009
    emitting.emit(events.LogWrite, **line("question"))

    assert first == second == ["question", "urgent answer", "answer"]


# Durable first


async def test_event_of_a_checkpoint_is_told_when_the_checkpoint_is_on_the_disk(tab: Tab) -> None:
    on_disk = []

    @job
    async def mark(step: Step) -> None:
        await step.run("mark", lambda: "a mark in the file")

    async with tab.durably(mark) as durably:
        for event_type in ("step:start", "step:complete"):
            durably.on(event_type, lambda event: on_disk.append(b"a mark" in tab.disk.image))
        await (await durably.trigger(mark())).result()

        assert on_disk == [False, True]


async def test_no_event_tells_of_a_write_that_was_never_acknowledged(tab: Tab) -> None:
    async with tab.life(two_steps) as life:
        life.durably.on(
            "step:start", lambda event: tab.disk.fail(tab.disk.writes + 1, "die", lands=True)
        )
        await life.durably.trigger(two_steps())
        await settle()

        assert types(life.told)[1:] == ["run:trigger", "run:claimed", "step:start"]


async def test_no_event_of_a_term_that_ended_is_told_in_the_next(tab: Tab, gate: Gate) -> None:
    @job
    async def wait(step: Step) -> None:
        await step.run("wait", gate)

    async with tab.durably(wait) as durably:
        await durably.trigger(wait())
        await gate.entered.wait()
        told = record(durably)
        tab.disk.epoch += 1  # Another tab has taken over.
        gate.open()
        await settle()

        assert types(told).index("tab:follower") == 0
        after = types(told)[types(told).index("tab:leader") :]
        assert after.count("step:complete") == 1


async def test_durable_count_of_a_term_does_not_vouch_for_the_next(tab: Tab) -> None:
    async with tab.life(two_steps) as life:
        for _ in range(3):
            await (await life.durably.trigger(two_steps())).result()
        life.durably._environment.leadership.lose()  # type: ignore[attr-defined]
        await settle()
        told = record(life.durably)
        tab.disk.fail(tab.disk.writes + 1, "die")
        triggering = asyncio.ensure_future(life.durably.trigger(two_steps()))
        await settle()

        assert told == []
        assert not triggering.done()


# Listeners


async def test_failure_of_a_listener_reaches_only_the_error_handlers(tab: Tab) -> None:
    reported = []

    def fail(event: Event) -> None:
        raise ValueError(event.type)

    async with tab.durably(two_steps) as durably:
        durably.on("*", fail)
        told = record(durably)
        durably.on_error(lambda error, event: reported.append((str(error), event.type)))
        result = await (await durably.trigger(two_steps())).result()

        assert result == "done"
        assert reported == [(event.type, event.type) for event in told]


async def test_failure_of_a_listener_is_logged_where_nobody_handles_it(
    tab: Tab, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: Event) -> None:
        raise ValueError("a bug in the listener")

    with caplog.at_level(logging.ERROR, "durably"):
        async with tab.durably(two_steps) as durably:
            durably.on("run:complete", fail)
            await (await durably.trigger(two_steps())).result()

    assert [record.getMessage() for record in caplog.records] == [
        "A listener for run:complete failed."
    ]


async def test_failure_of_an_error_handler_is_logged_too(
    tab: Tab, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: object) -> None:
        raise ValueError("a bug")

    with caplog.at_level(logging.ERROR, "durably"):
        async with tab.durably(two_steps) as durably:
            durably.on("run:complete", fail)
            durably.on_error(fail)
            await (await durably.trigger(two_steps())).result()

    assert "An error handler failed." in caplog.text


async def test_unsubscribed_listener_hears_nothing_more(tab: Tab) -> None:
    async with tab.durably(two_steps) as durably:
        told: list[Event] = []
        unsubscribe = durably.on("*", told.append)
        await (await durably.trigger(two_steps())).result()
        heard = len(told)
        unsubscribe()
        unsubscribe()
        await (await durably.trigger(two_steps())).result()

        assert len(told) == heard


async def test_listener_can_unsubscribe_while_it_is_called() -> None:
    emitting = emitter()
    told: list[Event] = []

    def hear_once(event: Event) -> None:
        told.append(event)
        unsubscribe()

    unsubscribe = emitting.on("*", hear_once)
    emitting.on("*", told.append)
    emitting.emit(events.LogWrite, **line("first"))
    emitting.emit(events.LogWrite, **line("second"))

    assert len(told) == 3


async def test_listener_for_a_type_hears_that_type_only(tab: Tab) -> None:
    async with tab.durably(two_steps) as durably:
        told = record(durably, "step:complete")
        await (await durably.trigger(two_steps())).result()

        assert types(told) == ["step:complete", "step:complete"]


# The iterator


async def test_iterator_gives_the_events_from_its_making_on(tab: Tab) -> None:
    async with tab.durably(two_steps) as durably:
        stream = durably.events()
        await (await durably.trigger(two_steps())).result()
        received = []
        async for event in stream:
            received.append(event.type)
            if event.type == "run:complete":
                break

        assert received[0] == "run:trigger"
        assert len(received) == 7


async def test_iterator_of_one_run_gives_its_events_only(tab: Tab) -> None:
    async with tab.durably(two_steps) as durably:
        first = await durably.trigger(two_steps())
        second = await durably.trigger(two_steps())
        stream = durably.events(second.id)
        await second.result()
        received = []
        async for event in stream:
            assert isinstance(event, events.RunEvent)
            received.append(event.run_id)
            if event.type == "run:complete":
                break

        assert set(received) == {second.id}
        assert first.id != second.id


async def test_reader_that_falls_too_far_behind_is_told() -> None:
    emitting = emitter()
    stream, _ = emitting.stream(None)
    for number in range(EVENT_QUEUE_LIMIT + 1):
        emitting.emit(events.LogWrite, **line(str(number)))

    received = 0
    with pytest.raises(EventsOverflow, match="10000"):
        async for _ in stream:
            received += 1
    assert received == EVENT_QUEUE_LIMIT


async def test_iterator_that_is_dropped_no_longer_listens() -> None:
    emitting = emitter()
    stream, _ = emitting.stream(None)
    emitting.emit(events.LogWrite, **line("heard"))
    assert isinstance(await anext(stream), events.LogWrite)
    del stream
    gc.collect()
    await settle()

    assert "*" not in emitting._listeners


async def test_iterator_ends_when_the_durably_is_left(tab: Tab) -> None:
    async with tab.durably(two_steps) as durably:
        reader = durably.events()
        await (await durably.trigger(two_steps())).result()

    assert [event.type async for event in reader][-1] == "run:complete"


async def test_listener_for_a_type_that_there_is_not_is_refused(tab: Tab) -> None:
    with pytest.raises(InvalidOption, match="run:complete"):
        tab.durably().on("run:completed", print)


async def test_async_listener_is_refused(tab: Tab) -> None:
    async def listen(event: Event) -> None: ...

    with pytest.raises(InvalidOption, match="plain function"):
        tab.durably().on("*", listen)
