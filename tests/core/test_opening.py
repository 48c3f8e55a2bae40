"""Opening and leaving a Durably, with the jobs it knows and those it does not."""

from __future__ import annotations

import logging

import pytest

from durably import (
    NotOpen,
    RunFailed,
    Step,
    events,
    job,
)
from durably.testing import settle
from tests.core.kit import Tab, only_run, record, types, until


@job
async def add(step: Step, left: int, right: int = 1) -> int:
    return left + right


@job
async def say(step: Step, word: str) -> str:
    return word


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
