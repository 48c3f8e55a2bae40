"""Triggering a finished run again."""

from __future__ import annotations

import pytest

from durably import (
    InvalidArguments,
    JobNotRegistered,
    RunConflict,
    RunNotFound,
    RunStatus,
    Step,
    UnreadableValue,
    job,
)
from durably.testing import settle
from tests.core.kit import Bodies, Gate, Tab


@job
async def add(step: Step, left: int, right: int = 1) -> int:
    return left + right


@job
async def say(step: Step, word: str) -> str:
    return word


@job
async def fail(step: Step, word: str = "no good") -> None:
    raise ValueError(word)


async def test_retriggered_run_is_a_fresh_one_with_the_same_input_and_labels(tab: Tab) -> None:
    async with tab.durably(add) as durably:
        first = await durably.trigger(add(1, right=5), labels={"tenant": "a", "env": "prod"})
        await first.result()
        second = await durably.retrigger(first.id)

        assert second.id != first.id
        assert second.disposition == "created"
        assert second.run.input == {"left": 1, "right": 5}
        assert second.run.labels == {"tenant": "a", "env": "prod"}
        assert await second.result() == 6
        assert (await durably.get_run(first.id)).status is RunStatus.COMPLETED


async def test_retriggered_run_has_none_of_the_keys(tab: Tab) -> None:
    async with tab.durably(add, autostart=False) as durably:
        first = await durably.trigger(add(1), idempotency_key="i", concurrency_key="c")
        await durably.process_one()
        second = await durably.retrigger(first.id)
        third = await durably.retrigger(first.id)

        assert (second.run.idempotency_key, second.run.concurrency_key) == (None, None)
        assert third.id != second.id


async def test_retriggered_run_runs_its_steps_anew(tab: Tab, bodies: Bodies) -> None:
    @job
    async def one_step(step: Step) -> str:
        return await step.run("a", bodies, "a")

    async with tab.durably(one_step) as durably:
        first = await durably.trigger(one_step())
        await first.result()
        await (await durably.retrigger(first.id)).result()

        assert bodies.ran == ["a", "a"]


@pytest.mark.parametrize("ending", ["failed", "cancelled"])
async def test_failed_and_cancelled_runs_can_be_triggered_again(tab: Tab, ending: str) -> None:
    async with tab.durably(fail, autostart=False) as durably:
        first = await durably.trigger(fail("broken"))
        if ending == "cancelled":
            await durably.cancel(first.id)
        await durably.process_until_idle()
        second = await durably.retrigger(first.id)

        assert (await durably.get_run(first.id)).status == ending
        assert (second.run.status, second.run.input) == (RunStatus.PENDING, {"word": "broken"})


async def test_run_that_has_not_ended_cannot_be_triggered_again(tab: Tab, gate: Gate) -> None:
    @job
    async def wait(step: Step) -> None:
        await step.run("gate", gate)
        await step.wait_for(await step.prepare_wait("answer"))

    async with tab.durably(wait, autostart=False) as durably:
        handle = await durably.trigger(wait())
        with pytest.raises(RunConflict, match="pending"):
            await durably.retrigger(handle.id)
        durably.start()
        await gate.entered.wait()
        with pytest.raises(RunConflict, match="running"):
            await durably.retrigger(handle.id)
        gate.open()
        await settle()
        with pytest.raises(RunConflict, match="waiting"):
            await durably.retrigger(handle.id)

        assert len(await durably.list_runs()) == 1


async def test_retrigger_of_an_unknown_run_is_refused(tab: Tab) -> None:
    async with tab.durably(add) as durably:
        with pytest.raises(RunNotFound, match="nowhere"):
            await durably.retrigger("nowhere")


async def test_retrigger_checks_the_input_against_the_signature_of_today(tab: Tab) -> None:
    async with tab.durably(say) as durably:
        handle = await durably.trigger(say("hello"))
        await handle.result()

    @job(name="say")
    async def say_aloud(step: Step, word: str, volume: int) -> str:
        return word.upper()

    async with tab.durably(say_aloud) as durably:
        with pytest.raises(InvalidArguments, match="volume"):
            await durably.retrigger(handle.id)

        assert len(await durably.list_runs()) == 1


async def test_retrigger_checks_the_types_of_today(tab: Tab) -> None:
    async with tab.durably(say) as durably:
        handle = await durably.trigger(say("hello"))
        await handle.result()

    @job(name="say")
    async def say_number(step: Step, word: int) -> int:
        return word

    async with tab.durably(say_number) as durably:
        with pytest.raises(InvalidArguments, match=r"\$\.word: expected int, got str"):
            await durably.retrigger(handle.id)


async def test_retrigger_of_a_job_that_is_not_registered_is_refused(tab: Tab) -> None:
    async with tab.durably(say) as durably:
        handle = await durably.trigger(say("hello"))
        await handle.result()

    async with tab.durably(add) as durably:
        with pytest.raises(JobNotRegistered, match="'say'"):
            await durably.retrigger(handle.id)


async def test_retrigger_of_an_input_that_cannot_be_read_says_so(tab: Tab) -> None:
    async with tab.durably(say) as durably:
        handle = await durably.trigger(say("hello"))
        await handle.result()
    # Stands for a class that a new version of the program no longer has.
    tab.disk.image = tab.disk.image.replace(b'{"word":"hello"}', b'{"word":{hello}}')

    async with tab.durably(say) as durably:
        with pytest.raises(UnreadableValue):
            await durably.retrigger(handle.id)


async def test_argument_may_have_any_name(tab: Tab) -> None:
    @job
    async def odd(step: Step, self: int, args: int, kwargs: int) -> int:
        return self + args + kwargs

    async with tab.durably(odd) as durably:
        first = await durably.trigger(odd(self=1, args=2, kwargs=3))
        await first.result()

        assert await (await durably.retrigger(first.id)).result() == 6
