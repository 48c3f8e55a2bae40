"""Log lines: where they come from, and what is kept of them with ``persist_logs``."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durably import InvalidOption, RunFailed, RunNotFound, Step, job
from durably.testing import settle
from tests.core.kit import Gate, Tab, record, steps_told, types


@job
async def talk(step: Step) -> None:
    step.log("before")
    await step.run("work", lambda: step.log("inside", "warning", count=2, tags={"a"}))
    step.log("after", "error")


async def test_lines_are_stored_in_order_with_their_step(tab: Tab) -> None:
    async with tab.durably(talk, persist_logs=True) as durably:
        handle = await durably.trigger(talk())
        await handle.result()
        lines = await durably.get_logs(handle.id)

        assert [(line.message, line.level, line.step) for line in lines] == [
            ("before", "info", None),
            ("inside", "warning", "work"),
            ("after", "error", None),
        ]
        assert [line.data for line in lines] == [{}, {"count": 2, "tags": {"a"}}, {}]
        assert {(line.run_id, line.at) for line in lines} == {(handle.id, tab.clock.now())}


async def test_nothing_is_stored_unless_asked_for(tab: Tab) -> None:
    async with tab.durably(talk) as durably:
        handle = await durably.trigger(talk())
        await handle.result()

        assert await durably.get_logs(handle.id) == []


async def test_line_that_was_told_is_there_after_a_crash(tab: Tab, gate: Gate) -> None:
    @job
    async def talk_and_stand(step: Step) -> None:
        step.log("said")
        await gate()

    async with tab.life(talk_and_stand, persist_logs=True) as life:
        handle = await life.durably.trigger(talk_and_stand())
        await gate.entered.wait()
        await settle()
        await life.kill()
    async with tab.durably() as later:
        lines = await later.get_logs(handle.id)

        assert types(life.told)[-1] == "log:write"
        assert [line.message for line in lines] == ["said"]


async def test_line_is_told_when_it_is_durable_and_not_before(tab: Tab, gate: Gate) -> None:
    @job
    async def talk_and_stand(step: Step) -> None:
        tab.disk.is_dead = True
        step.log("said")
        await gate()

    async with tab.life(talk_and_stand, persist_logs=True) as life:
        await life.durably.trigger(talk_and_stand())
        await gate.entered.wait()
        await settle()

        assert "log:write" not in types(life.told)


async def test_line_that_is_logged_while_a_commit_is_under_way_is_told_soon(
    tab: Tab, gate: Gate
) -> None:
    @job
    async def talk_twice(step: Step) -> None:
        step.log("first")
        step.log("second")
        await gate()

    async with tab.durably(talk_twice, persist_logs=True) as durably:
        told = record(durably, "log:write")
        await durably.trigger(talk_twice())
        await gate.entered.wait()
        await settle()

        assert [event.message for event in told] == ["first", "second"]
        gate.open()


async def test_lines_are_told_in_order_among_the_other_events(tab: Tab) -> None:
    async with tab.durably(talk, persist_logs=True) as durably:
        told = record(durably)
        await (await durably.trigger(talk())).result()

        names = [getattr(event, "message", event.type) for event in told]
        assert names == [
            *("run:trigger", "run:claimed", "before", "step:start", "inside"),
            *("step:complete", "after", "run:complete"),
        ]


async def test_many_lines_share_their_commits(tab: Tab, gate: Gate) -> None:
    @job
    async def chatter(step: Step) -> None:
        for number in range(100):
            step.log(f"line {number}")
        await gate()

    async with tab.durably(chatter, persist_logs=True) as durably:
        handle = await durably.trigger(chatter())
        await gate.entered.wait()
        writes = tab.disk.writes
        await settle()

        assert tab.disk.writes <= writes + 2
        assert len(await durably.get_logs(handle.id)) == 100
        gate.open()


async def test_lines_can_be_read_page_by_page(tab: Tab) -> None:
    @job
    async def count(step: Step) -> None:
        for number in range(5):
            step.log(str(number))

    async with tab.durably(count, persist_logs=True) as durably:
        await (await durably.trigger(count())).result()
        handle = await durably.trigger(count())
        await handle.result()
        pages = [await durably.get_logs(handle.id, limit=2)]
        while pages[-1]:
            pages.append(await durably.get_logs(handle.id, after=pages[-1][-1], limit=2))

        assert [[line.message for line in page] for page in pages] == [
            ["0", "1"],
            ["2", "3"],
            ["4"],
            [],
        ]
        assert await durably.get_logs(handle.id, limit=0) == []


@pytest.mark.parametrize("options", [{"limit": -1}, {"limit": True}, {"limit": 1.5}, {"after": 7}])
async def test_page_that_cannot_be_is_refused(tab: Tab, options: dict[str, Any]) -> None:
    async with tab.durably(talk, persist_logs=True) as durably:
        handle = await durably.trigger(talk())
        await handle.result()

        with pytest.raises(InvalidOption, match=next(iter(options))):
            await durably.get_logs(handle.id, **options)


async def test_log_of_a_run_that_there_is_not_cannot_be_read(tab: Tab) -> None:
    async with tab.durably(talk, persist_logs=True) as durably:
        with pytest.raises(RunNotFound):
            await durably.get_logs("nowhere")


# Where a line comes from


@pytest.mark.parametrize("persist_logs", [False, True])
async def test_line_names_its_step_also_where_steps_overlap(tab: Tab, persist_logs: bool) -> None:
    async def helper(step: Step, name: str) -> None:
        for _ in range(3):
            step.log(f"in {name}")
            await asyncio.sleep(0)

    @job
    async def overlap(step: Step) -> None:
        await step.all(a=lambda: helper(step, "a"), b=lambda: helper(step, "b"))
        step.log("outside")

    async with tab.durably(overlap, persist_logs=persist_logs) as durably:
        told = record(durably, "log:write")
        await (await durably.trigger(overlap())).result()

        lines = [(event.message, event.step) for event in told]
        assert lines == [("in a", "a"), ("in b", "b")] * 3 + [("outside", None)]


async def test_line_of_a_callback_or_a_task_names_the_step_that_started_it(tab: Tab) -> None:
    @job
    async def start(step: Step) -> None:
        async def work(name: str) -> None:
            called = asyncio.Event()

            def call_back() -> None:
                step.log(f"called back in {name}")
                called.set()

            async def other_task() -> None:
                step.log(f"a task of {name}")

            asyncio.get_running_loop().call_soon(call_back)
            await asyncio.gather(called.wait(), other_task())

        await asyncio.gather(step.run("a", work, "a"), step.run("b", work, "b"))

    async with tab.durably(start) as durably:
        told = record(durably, "log:write")
        await (await durably.trigger(start())).result()

        assert len(told) == 4
        assert all(event.message.endswith(event.step) for event in told)


@pytest.mark.cpython_only
@pytest.mark.parametrize("persist_logs", [False, True])
async def test_line_of_a_thread_names_the_step_that_started_it(
    tab: Tab, persist_logs: bool
) -> None:
    @job
    async def start(step: Step) -> None:
        await step.run("work", asyncio.to_thread, step.log, "in a thread")

    async with tab.durably(start, persist_logs=persist_logs) as durably:
        told = record(durably, "log:write")
        handle = await durably.trigger(start())
        await handle.result()
        lines = await durably.get_logs(handle.id)

        assert steps_told(told, "log:write") == ["work"]
        assert [line.step for line in lines] == ["work"] * persist_logs


@pytest.mark.cpython_only
async def test_progress_can_be_reported_by_a_thread(tab: Tab) -> None:
    @job
    async def start(step: Step) -> None:
        await step.run("work", asyncio.to_thread, step.progress, 1, 2)

    async with tab.durably(start) as durably:
        handle = await durably.trigger(start())
        await handle.result()
        progress = (await durably.get_run(handle.id)).progress

        assert progress is not None
        assert (progress.current, progress.total) == (1, 2)


# What may be in a line


async def test_data_that_cannot_be_stored_is_described(tab: Tab) -> None:
    class Strange:
        def __repr__(self) -> str:
            return "<strange>"

    @job
    async def describe(step: Step) -> None:
        step.log("here", strange=Strange(), count=7)

    async with tab.durably(describe, persist_logs=True) as durably:
        handle = await durably.trigger(describe())
        await handle.result()
        (line,) = await durably.get_logs(handle.id)

        assert line.data == {"strange": "<strange>", "count": 7}


@pytest.mark.parametrize("persist_logs", [False, True])
async def test_line_may_hold_any_text(tab: Tab, persist_logs: bool) -> None:
    @job
    async def talk_strangely(step: Step) -> None:
        step.log("half a \ud800 pair, and a \x00", half="\ud800")

    async with tab.durably(talk_strangely, persist_logs=persist_logs) as durably:
        handle = await durably.trigger(talk_strangely())
        await handle.result()
        lines = await durably.get_logs(handle.id)

        expected = [("half a \\ud800 pair, and a \x00", {"half": "\ud800"})]
        assert [(line.message, line.data) for line in lines] == expected * persist_logs


@pytest.mark.parametrize("line", [(None,), (7,), (b"bytes",), ("text", None), ("text", 30)])
@pytest.mark.parametrize("persist_logs", [False, True])
async def test_line_that_is_no_text_is_refused(
    tab: Tab, line: tuple[Any, ...], persist_logs: bool
) -> None:
    @job
    async def misuse(step: Step) -> None:
        step.log(*line)

    async with tab.durably(misuse, persist_logs=persist_logs) as durably:
        handle = await durably.trigger(misuse())
        with pytest.raises(RunFailed, match=r"InvalidOption: (message|level) is"):
            await handle.result()


async def test_last_words_of_a_cancelled_run_are_stored(tab: Tab, gate: Gate) -> None:
    @job
    async def say_goodbye(step: Step) -> None:
        try:
            await gate()
        finally:
            step.log("goodbye")

    async with tab.durably(say_goodbye, persist_logs=True) as durably:
        handle = await durably.trigger(say_goodbye())
        await gate.entered.wait()
        await durably.cancel(handle.id)
        await settle()

        assert [line.message for line in await durably.get_logs(handle.id)] == ["goodbye"]


async def test_last_words_of_a_run_that_was_deleted_are_not_stored(tab: Tab, gate: Gate) -> None:
    words = Gate()

    @job
    async def say_goodbye(step: Step) -> None:
        try:
            await gate()
        finally:
            await words()
            step.log("goodbye")

    async with tab.durably(say_goodbye, persist_logs=True) as durably:
        told = record(durably, "log:write")
        handle = await durably.trigger(say_goodbye())
        await gate.entered.wait()
        await durably.cancel(handle.id)
        await durably.delete_run(handle.id)
        words.open()
        await settle()
        writes = tab.disk.writes

        assert [event.message for event in told] == ["goodbye"]
        assert tab.disk.writes == writes


async def test_line_logged_after_the_term_holds_up_nothing_in_the_next(
    tab: Tab, gate: Gate
) -> None:
    late = Gate()

    @job
    async def talk_late(step: Step) -> str:
        if not late.visits:
            try:
                await gate()
            finally:
                await late()
                step.log("too late")
        return "done"

    durably = tab.durably(talk_late, persist_logs=True, stop_timeout=3)
    await durably.__aenter__()
    handle = await durably.trigger(talk_late())
    await gate.entered.wait()
    leaving = asyncio.ensure_future(durably.__aexit__(None, None, None))
    await tab.clock.advance(10)
    await leaving
    late.open()
    await settle()
    told = record(durably)
    async with durably:
        assert await durably.result(handle.id) == "done"

    assert "run:complete" in types(told)
