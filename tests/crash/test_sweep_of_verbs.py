"""The crash sweep over what a program asks for: after a crash, all of it is there or nothing.

As in ``test_sweep``, the program dies at its write N, before or after it has landed, for every N.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from durably import Durably, Run, Step, StorageError, Trigger, job
from durably.testing import Fault
from tests.core.kit import Gate, Life, Tab, term_of, until

MOST_WRITES = 50

FAULTS = pytest.mark.parametrize(
    ("fault", "lands"),
    [("lost", False), ("lost", True), ("die", False), ("die", True)],
    ids=["lost", "lost though it landed", "died before it landed", "died after it landed"],
)


@job
async def work(step: Step, number: int = 0) -> int:
    await step.run("a", int, number)
    return number


Verb = Callable[[Durably], Awaitable[object]]


async def prepared() -> Tab:
    """A tab with two completed runs and one run that is pending."""
    tab = Tab()
    async with tab.durably(work, autostart=False, preserve_steps=True) as durably:
        for number in range(2):
            await durably.trigger(
                work(number), idempotency_key=f"old {number}", labels={"age": "old"}
            )
        await durably.process_until_idle()
        await tab.clock.freeze(100)
        await durably.trigger(work(2), concurrency_key="busy", labels={"age": "young"})
    return tab


async def state_of(tab: Tab) -> dict[str, list[object]]:
    """What is stored, without ids and leases, which differ from life to life."""
    async with tab.durably(work, autostart=False) as durably:
        runs: list[Run] = list(reversed(await durably.list_runs(limit=1000)))
        database = (await term_of(durably)).database

        def read(sql: str) -> list[object]:
            return [tuple(row) for row in database.read(sql, {})]

        return {
            "runs": [
                (run.job, run.input, run.status, run.labels, run.concurrency_key) for run in runs
            ],
            "labels": read("select key, value, run from labels order by 1, 2, 3"),
            "keys": read("select job, key from idempotency_keys order by 1, 2"),
            "steps": read("select name, output from steps order by 2, 1"),
            "attempts": read("select count(*) from attempts"),
            "waits": read("select name from waits order by 1"),
        }


async def trigger_many(durably: Durably) -> None:
    await durably.trigger_many(
        [
            Trigger(work(10), idempotency_key="new", labels={"age": "new", "nr": "10"}),
            Trigger(work(11), concurrency_key="busy", coalesce="skip", labels={"nr": "11"}),
            Trigger(work(12), concurrency_key="free", labels={"nr": "12"}),
            Trigger(work(13), idempotency_key="old 0"),
            Trigger(work(14), concurrency_key="free", coalesce="active"),
            work(15),
        ]
    )


async def delete_run(durably: Durably) -> None:
    (_, run) = await durably.list_runs(status="completed")
    await durably.delete_run(run.id)


async def purge_runs(durably: Durably) -> None:
    await durably.purge_runs(older_than=50)


async def retrigger(durably: Durably) -> None:
    (run, _) = await durably.list_runs(status="completed")
    await durably.retrigger(run.id)


async def cancel(durably: Durably) -> None:
    (run,) = await durably.list_runs(status="pending")
    await durably.cancel(run.id)


async def import_(durably: Durably) -> None:
    await durably.import_(await exported())


VERBS: list[Verb] = [trigger_many, delete_run, purge_runs, retrigger, cancel, import_]

_exported: list[bytes] = []


async def exported() -> bytes:
    """The runs of another origin: an ended one, one that is half done, one that is pending."""
    if not _exported:
        gate = Gate()

        @job(name="work")
        async def stuck(step: Step, number: int = 0) -> int:
            await step.run("a", int, number)
            await step.prepare_wait("answer")
            await step.run("gate", gate)
            return number

        other = Tab()
        async with other.durably(work) as durably:
            ended = await durably.trigger(work(20), idempotency_key="ended", labels={"nr": "20"})
            await ended.result()
        async with other.life(stuck) as life:
            await life.durably.trigger(stuck(21), idempotency_key="half", labels={"nr": "21"})
            await gate.entered.wait()
            await life.durably.trigger(stuck(22), concurrency_key="busy")
            _exported.append(await life.durably.export())
    return _exported[0]


async def life_with(tab: Tab, verb: Verb) -> bool:
    """A life in which the verb is used once; True where it was acknowledged."""
    life = Life(tab, tab.durably(work, autostart=False))

    async def live() -> bool:
        try:
            await life.begin()
            await verb(life.durably)
        except StorageError:
            return False
        return True

    living = asyncio.ensure_future(live())
    await until(lambda: living.done() or tab.disk.is_dead)
    acknowledged = living.done() and living.result()
    await life.kill()
    return acknowledged


@pytest.mark.parametrize("verb", VERBS)
@FAULTS
async def test_what_was_asked_for_is_there_as_a_whole_or_not_at_all(
    verb: Verb, fault: Fault, lands: bool
) -> None:
    before = await state_of(await prepared())
    tab = await prepared()
    assert await life_with(tab, verb)
    after = await state_of(tab)
    assert after != before

    outcomes: list[Any] = []
    for number in range(1, MOST_WRITES):
        tab = await prepared()
        first = tab.disk.writes + number
        tab.disk.fail(first, fault, lands=lands)
        acknowledged = await life_with(tab, verb)
        was_reached = tab.disk.writes >= first
        tab.disk.revive()
        state = await state_of(tab)

        assert state in (before, after), f"write {number}"
        assert not acknowledged or state == after, f"write {number}"
        outcomes.append(state == after)
        if not was_reached:
            break
    else:
        raise AssertionError("the sweep does not end")
    assert outcomes[-1], "without a fault it is done"
    assert lands or not all(outcomes), "the sweep has met the write that stores it"


@pytest.mark.parametrize("lands", [False, True])
async def test_many_triggers_with_keys_can_be_sent_again_after_a_crash(lands: bool) -> None:
    """However often the program dies, sending them again makes each run once."""
    triggers = [Trigger(work(number), idempotency_key=f"key {number}") for number in range(3)]
    for number in range(1, MOST_WRITES):
        tab = Tab()
        tab.disk.fail(number, "die", lands=lands)
        await life_with(tab, lambda durably: durably.trigger_many(triggers))
        was_reached = tab.disk.writes >= number
        tab.disk.revive()

        async with tab.durably(work, autostart=False) as durably:
            handles = await durably.trigger_many(triggers)
            assert await durably.process_until_idle() == 3, f"write {number}"
            assert [await handle.result() for handle in handles] == [0, 1, 2]
        if not was_reached:
            break
    else:
        raise AssertionError("the sweep does not end")
    assert number > 1, "the sweep has seen the write of the triggers"


async def test_purge_in_idle_time_can_die_at_every_write() -> None:
    for number in range(1, MOST_WRITES):
        tab = await prepared()
        first = tab.disk.writes + number
        tab.disk.fail(first, "die")
        life = Life(tab, tab.durably(work, autostart=False, retain=50))
        beginning = asyncio.ensure_future(life.begin())
        await tab.clock.advance(1)
        await life.kill()
        assert beginning.done()
        was_reached = tab.disk.writes >= first
        tab.disk.revive()

        state = await state_of(tab)
        assert len(state["runs"]) in (1, 3), f"write {number}"
        assert len(state["steps"]) == len(state["runs"]) - 1, f"write {number}"
        assert len(state["keys"]) == 2, f"write {number}"
        if not was_reached:
            break
    else:
        raise AssertionError("the sweep does not end")
    assert len(state["runs"]) == 1
