"""Runs that are kept no longer: deleted, purged, retained for a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from durably import Durably, InvalidOption, RunConflict, RunNotFound, Step, job
from durably.testing import settle
from tests.core.kit import Gate, OpenStore, Tab, record, term_of, types

DAY = 86_400.0
SELDOM: dict[str, Any] = {"heartbeat_interval": DAY / 2, "stale_threshold": DAY}
"""So that a fake year is over soon."""


@job
async def work(step: Step, number: int = 0) -> int:
    return number


@job
async def leave_traces(step: Step) -> str:
    """Leaves a row in every table there is."""

    async def measure() -> int:
        await step.set_metadata({"cost": 1})
        return 1

    step.log("begins", size=7)
    step.progress(1, 2)
    await step.run("measure", measure)
    wait = await step.prepare_wait("answer", timeout=60)
    await step.run("ask", str, wait.id)
    return "done"


async def rows(durably: Durably) -> dict[str, int]:
    """How many rows each table has; those that have none are left out."""
    database = (await term_of(durably)).database
    tables = database.read("select name from sqlite_schema where type = 'table'", {})
    counts = {
        table["name"]: database.read(f"select count(*) as rows from {table['name']}", {})[0]["rows"]
        for table in tables
    }
    return {table: count for table, count in counts.items() if count}


async def triggered_with_everything(durably: Durably, number: int = 0) -> str:
    handle = await durably.trigger(
        leave_traces(),
        idempotency_key=f"i{number}",
        concurrency_key=f"c{number}",
        labels={"tenant": "a", "env": "prod"},
    )
    return handle.id


async def ended(durably: Durably, count: int = 1) -> list[str]:
    """The ids of runs that have completed, one after the other."""
    handles = await durably.trigger_many([work(number) for number in range(count)])
    for _ in handles:
        await durably.process_one()
    return [handle.id for handle in handles]


async def left(durably: Durably) -> list[str]:
    return [run.id for run in reversed(await durably.list_runs(limit=10_000))]


# Deleting


async def test_deleted_run_is_gone(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        gone, kept = await ended(durably, 2)
        await durably.delete_run(gone)

        assert await left(durably) == [kept]
        with pytest.raises(RunNotFound, match=gone):
            await durably.get_run(gone)
        with pytest.raises(RunNotFound):
            await durably.delete_run(gone)


async def test_deleted_run_leaves_no_row_in_any_table(tab: Tab) -> None:
    async with tab.durably(leave_traces, autostart=False, persist_logs=True) as durably:
        run_id = await triggered_with_everything(durably)
        await durably.process_one()
        before = await rows(durably)
        await durably.delete_run(run_id)

        assert before.keys() == {
            *("runs", "steps", "attempts", "waits", "logs", "labels", "idempotency_keys")
        }
        assert await rows(durably) == {}


async def test_deleted_run_takes_nothing_of_another_with_it(tab: Tab) -> None:
    async with tab.durably(leave_traces, autostart=False, persist_logs=True) as durably:
        await triggered_with_everything(durably, 1)
        await durably.process_one()
        alone = await rows(durably)
        gone = await triggered_with_everything(durably, 2)
        await durably.process_one()
        await durably.delete_run(gone)

        assert await rows(durably) == alone


async def test_delete_is_durable_when_it_returns(tab: Tab) -> None:
    async with tab.life(work, autostart=False) as life:
        gone, kept = await ended(life.durably, 2)
        await life.durably.delete_run(gone)
        await life.kill()

    async with tab.durably() as durably:
        assert await left(durably) == [kept]


async def test_delete_frees_the_idempotency_key(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        first = await durably.trigger(work(1), idempotency_key="i")
        await durably.process_one()
        await durably.delete_run(first.id)
        second = await durably.trigger(work(2), idempotency_key="i")

        assert second.disposition == "created"


async def test_delete_leaves_a_key_alone_that_leads_to_a_newer_run(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        first = await durably.trigger(work(1), idempotency_key="i", idempotency_ttl=1)
        await durably.process_one()
        await tab.clock.advance(1)
        second = await durably.trigger(work(2), idempotency_key="i")
        await durably.delete_run(first.id)

        assert (await durably.trigger(work(3), idempotency_key="i")).id == second.id


async def test_run_that_has_not_ended_is_not_deleted(tab: Tab, gate: Gate) -> None:
    @job
    async def wait(step: Step) -> None:
        await step.run("gate", gate)
        await step.wait_for(await step.prepare_wait("answer"))

    async with tab.durably(wait, autostart=False) as durably:
        handle = await durably.trigger(wait())
        with pytest.raises(RunConflict, match="pending"):
            await durably.delete_run(handle.id)
        durably.start()
        await gate.entered.wait()
        with pytest.raises(RunConflict, match="running"):
            await durably.delete_run(handle.id)
        gate.open()
        await settle()
        with pytest.raises(RunConflict, match="waiting"):
            await durably.delete_run(handle.id)

        assert await left(durably) == [handle.id]


@pytest.mark.parametrize("ending", ["failed", "cancelled"])
async def test_failed_and_cancelled_runs_can_be_deleted(tab: Tab, ending: str) -> None:
    @job
    async def fail(step: Step) -> None:
        raise OSError

    async with tab.durably(fail, autostart=False) as durably:
        handle = await durably.trigger(fail())
        if ending == "cancelled":
            await durably.cancel(handle.id)
        await durably.process_one()
        assert (await durably.get_run(handle.id)).status == ending
        await durably.delete_run(handle.id)

        assert await rows(durably) == {}


async def test_delete_is_told_once_it_is_durable(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        (run_id,) = await ended(durably)
        writes: list[int] = []
        told, before = record(durably), tab.disk.writes
        durably.on("run:delete", lambda event: writes.append(tab.disk.writes))
        await durably.delete_run(run_id)

        assert [(event.type, event.run_id, event.job) for event in told] == [
            ("run:delete", run_id, "work")
        ]
        assert writes == [before + 1]


async def test_code_of_a_deleted_run_that_goes_on_leaves_no_row(tab: Tab, gate: Gate) -> None:
    lines = 0

    @job
    async def stubborn(step: Step) -> None:
        nonlocal lines
        try:
            await step.run("gate", gate)
        except BaseException:
            pass
        await settle()
        step.log("still here")
        lines += 1

    async with tab.durably(stubborn, persist_logs=True) as durably:
        handle = await durably.trigger(stubborn())
        await gate.entered.wait()
        await durably.cancel(handle.id)
        await durably.delete_run(handle.id)
        await settle()
        await settle()

        assert lines == 1
        assert await rows(durably) == {}


# Purging


async def test_purge_removes_the_runs_that_ended_longer_ago(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        old = await ended(durably, 2)
        await tab.clock.freeze(100)
        young = await ended(durably, 1)
        purged = await durably.purge_runs(older_than=50)

        assert purged == len(old)
        assert await left(durably) == young


async def test_purge_keeps_what_is_exactly_that_old(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        await ended(durably)
        await tab.clock.freeze(50)
        at_the_moment = await durably.purge_runs(older_than=50)
        await tab.clock.advance(0.001)

        assert (at_the_moment, await durably.purge_runs(older_than=50)) == (0, 1)


async def test_purge_counts_from_the_end_of_a_run(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        await durably.trigger(work())
        await tab.clock.freeze(1000)
        await durably.process_one()
        await tab.clock.advance(10)

        assert await durably.purge_runs(older_than=11) == 0
        assert await durably.purge_runs(older_than=9) == 1


async def test_purge_takes_timedeltas(tab: Tab) -> None:
    async with tab.durably(work, autostart=False, **SELDOM) as durably:
        await ended(durably)
        await tab.clock.freeze(DAY + 1)

        assert await durably.purge_runs(older_than=timedelta(days=1, seconds=2)) == 0
        assert await durably.purge_runs(timedelta(days=1)) == 1


async def test_purge_removes_no_run_that_has_not_ended(tab: Tab, gate: Gate) -> None:
    @job
    async def wait(step: Step, at_gate: bool) -> None:
        if at_gate:
            await step.run("gate", gate)
        await step.wait_for(await step.prepare_wait("answer"))

    async with tab.durably(wait, autostart=False) as durably:
        await durably.trigger(wait(False))
        await durably.process_one()
        await durably.trigger_many([wait(True), wait(True)])
        durably.start()
        await gate.entered.wait()
        await tab.clock.freeze(1000)
        assert await durably.purge_runs(older_than=1) == 0

        assert [run.status for run in await durably.list_runs()] == [
            *("pending", "running", "waiting")
        ]
        gate.open()


async def test_purge_stops_at_its_limit_and_takes_the_earliest_first(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        runs = []
        for _ in range(5):
            runs += await ended(durably)
            await tab.clock.advance(1)
        purged = await durably.purge_runs(older_than=0.5, limit=3)

        assert purged == 3
        assert await left(durably) == runs[3:]


async def test_purge_of_nothing_is_no_write(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        await ended(durably)
        await durably.purge_runs(older_than=100)  # The first one makes the index.
        await tab.clock.advance(10)
        writes = tab.disk.writes

        assert await durably.purge_runs(older_than=100) == 0
        assert await durably.purge_runs(older_than=1, limit=0) == 0
        assert tab.disk.writes == writes


async def test_purged_runs_leave_nothing_but_their_idempotency_keys(tab: Tab) -> None:
    async with tab.durably(leave_traces, autostart=False, persist_logs=True) as durably:
        for number in range(3):
            await triggered_with_everything(durably, number)
        await durably.process_until_idle()
        await tab.clock.advance(10)
        await durably.purge_runs(older_than=1)

        assert await rows(durably) == {"idempotency_keys": 3}


async def test_key_of_a_purged_run_makes_no_second_one(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        first = await durably.trigger(work(1), idempotency_key="i")
        await durably.process_one()
        await tab.clock.advance(10)
        await durably.purge_runs(older_than=1)
        second = await durably.trigger(work(1), idempotency_key="i")

        assert (second.disposition, second.id) == ("idempotent", first.id)
        assert await left(durably) == []
        with pytest.raises(RunNotFound, match=first.id):
            _ = second.run
        with pytest.raises(RunNotFound, match=first.id):
            await second.result()


async def test_key_of_a_purged_run_is_free_when_its_time_is_over(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        await durably.trigger(work(1), idempotency_key="i", idempotency_ttl=100)
        await durably.process_one()
        await tab.clock.advance(10)
        await durably.purge_runs(older_than=1)
        await tab.clock.freeze(90)

        assert (await durably.trigger(work(1), idempotency_key="i")).disposition == "created"


async def test_purge_removes_keys_whose_time_is_over(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        await durably.trigger(work(1), idempotency_key="short", idempotency_ttl=5)
        await durably.trigger(work(2), idempotency_key="long", idempotency_ttl=50)
        await durably.trigger(work(3), idempotency_key="for ever")
        await tab.clock.advance(10)
        await durably.purge_runs(older_than=1)

        assert (await rows(durably))["idempotency_keys"] == 2


async def test_purge_tells_of_each_run(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        runs = await ended(durably, 3)
        await tab.clock.advance(10)
        told = record(durably, "run:delete")
        await durably.purge_runs(older_than=1)

        assert [event.run_id for event in told] == runs


async def test_purge_is_durable_when_it_returns(tab: Tab) -> None:
    async with tab.life(work, autostart=False) as life:
        await ended(life.durably, 2)
        await tab.clock.advance(10)
        await life.durably.purge_runs(older_than=1)
        await life.kill()

    async with tab.durably() as durably:
        assert await left(durably) == []


@pytest.mark.parametrize(
    "older_than",
    [0, -1, float("nan"), float("inf"), -float("inf"), 1e300, True, "1", None, timedelta(-1)],
)
async def test_purge_takes_no_age_that_is_none(tab: Tab, older_than: Any) -> None:
    async with tab.durably(work, autostart=False) as durably:
        await ended(durably)
        await tab.clock.advance(10)
        with pytest.raises(InvalidOption, match="older_than"):
            await durably.purge_runs(older_than)

        assert len(await left(durably)) == 1


@pytest.mark.parametrize("limit", [-1, True, 1.5, None, "5", 2**63])
async def test_purge_takes_no_limit_that_counts_nothing(tab: Tab, limit: Any) -> None:
    async with tab.durably() as durably:
        with pytest.raises(InvalidOption, match="limit"):
            await durably.purge_runs(1, limit=limit)


async def test_longest_timedelta_is_an_age_that_no_run_has(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        await ended(durably)

        assert await durably.purge_runs(timedelta.max) == 0


# Retaining


async def test_runs_are_removed_when_they_are_kept_no_longer(tab: Tab) -> None:
    async with tab.durably(work, retain=timedelta(days=30), **SELDOM) as durably:
        await (await durably.trigger(work())).result()
        await settle()
        await tab.clock.freeze(30 * DAY)
        before = len(await left(durably))
        await tab.clock.advance(2)

        assert (before, await left(durably)) == (1, [])


async def test_runs_are_kept_unless_that_is_asked_for(tab: Tab) -> None:
    async with tab.durably(work, **SELDOM) as durably:
        await (await durably.trigger(work())).result()
        await tab.clock.freeze(365 * DAY)

        assert len(await left(durably)) == 1


async def test_runs_of_an_earlier_life_are_removed_at_the_next_opening(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        await ended(durably, 3)
    tab.clock.jump(100)

    async with tab.durably(retain=10) as durably:
        told = record(durably, "run:delete")
        await settle()

        assert await left(durably) == []
        assert len(told) == 3


async def test_runs_are_removed_in_batches_a_minute_apart(
    tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("durably.housekeeping.PURGE_BATCH", 3)
    async with tab.durably(work, autostart=False) as durably:
        await ended(durably, 7)
    tab.clock.jump(100)

    async with tab.durably(retain=10, **SELDOM) as durably:
        counts = []
        for _ in range(4):
            await settle()
            counts.append(len(await left(durably)))
            await tab.clock.advance(59.9)
            counts.append(len(await left(durably)))
            await tab.clock.advance(0.1)

        assert counts == [4, 4, 1, 1, 0, 0, 0, 0]


async def test_nothing_is_removed_while_a_run_is_executed(tab: Tab, gate: Gate) -> None:
    @job
    async def wait_at_gate(step: Step) -> str:
        return await gate()

    async with tab.durably(work, wait_at_gate, retain=10) as durably:
        old = await durably.trigger(work())
        await old.result()
        busy = await durably.trigger(wait_at_gate())
        await gate.entered.wait()
        await tab.clock.freeze(1000)
        while_busy = await left(durably)
        gate.open()
        await busy.result()
        await tab.clock.advance(1)

        assert while_busy == [old.id, busy.id]
        assert await left(durably) == [busy.id]


async def test_nothing_is_removed_while_there_is_work_to_claim(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        (old,) = await ended(durably)
        await durably.trigger_many([work(1), work(2)])
    tab.clock.jump(100)

    async with tab.durably(work, retain=10) as durably:
        told = record(durably)
        await settle()

        assert types(told).count("run:complete") == 2
        assert types(told).index("run:delete") > max(
            place for place, event in enumerate(told) if event.type == "run:complete"
        )
        assert old not in await left(durably)


async def test_worker_does_not_wake_for_a_removal_that_has_to_wait(tab: Tab, gate: Gate) -> None:
    """A removal that is due used to be looked for a thousand times a second."""

    @job
    async def wait_at_gate(step: Step) -> str:
        return await gate()

    async with tab.durably(work, wait_at_gate, retain=10) as durably:
        await (await durably.trigger(work())).result()
        await durably.trigger(wait_at_gate())
        await gate.entered.wait()
        await tab.clock.freeze(100)
        leases = (await term_of(durably)).store.leases
        looks = counted(leases, "running")
        await tab.clock.advance(10)

        assert len(looks) <= 10
        gate.open()


def counted(holder: Any, name: str) -> list[None]:
    """The calls of a method from now on."""
    calls: list[None] = []
    method: Callable[..., Any] = getattr(holder, name)

    def count(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        return method(*args, **kwargs)

    setattr(holder, name, count)
    return calls


@pytest.mark.parametrize("is_asked_for", [False, True])
async def test_wall_clock_that_is_set_a_year_forward_removes_nothing(
    tab: Tab, is_asked_for: bool
) -> None:
    async with tab.durably(work, retain=DAY) as durably:
        await (await durably.trigger(work())).result()
        tab.clock.jump(365 * DAY)
        await tab.clock.freeze(120)
        if is_asked_for:
            await durably.purge_runs(older_than=DAY)

        assert len(await left(durably)) == 1


@pytest.mark.parametrize(
    "retain", [0, -1, float("nan"), float("inf"), 1e300, True, "30d", timedelta(0)]
)
def test_time_to_retain_that_is_no_duration_is_refused(tab: Tab, retain: Any) -> None:
    with pytest.raises(InvalidOption, match="retain"):
        tab.durably(work, retain=retain)


async def test_longest_timedelta_retains_for_ever(tab: Tab) -> None:
    async with tab.durably(work, retain=timedelta.max, **SELDOM) as durably:
        await (await durably.trigger(work())).result()
        await tab.clock.freeze(10 * DAY)

        assert len(await left(durably)) == 1


async def test_no_timer_is_longer_than_a_browser_can_count(tab: Tab) -> None:
    """setTimeout takes milliseconds in 31 bits and fires at once where that is not enough."""
    timers: list[float] = []
    call_later = tab.clock.call_later

    def note(seconds: float, callback: Callable[[], object]) -> Any:
        timers.append(seconds)
        return call_later(seconds, callback)

    tab.clock.call_later = note  # type: ignore[method-assign]

    @job
    async def wait(step: Step) -> bool:
        wait = await step.prepare_wait("answer", timeout=timedelta(days=40))
        return (await step.wait_for(wait)).timed_out

    async with tab.durably(work, wait, retain=timedelta(days=100), **SELDOM) as durably:
        await (await durably.trigger(work())).result()
        handle = await durably.trigger(wait())
        waiting = asyncio.ensure_future(handle.result(timeout=timedelta(days=60)))
        await settle()
        await tab.clock.freeze(39 * DAY)
        is_early = waiting.done()
        await tab.clock.freeze(1.5 * DAY)

        assert (is_early, await waiting) == (False, True)
        assert max(timers) * 1000 < 2**31


# Query plans


async def test_purge_goes_through_the_runs_that_ended_first(opened: OpenStore) -> None:
    statements: list[str] = []
    connection = opened.database._open_connection()
    opened.trigger()
    claim = opened.claim()
    opened.store.leases.complete(claim.lease, "null", 1, keeps_outputs=False)
    connection.set_trace_callback(statements.append)
    opened.store.retention.first_end()
    opened.store.retention.purge(9, 100, 9)
    connection.set_trace_callback(None)
    plans = [
        row["detail"]
        for sql in statements
        if "runs" in sql and not sql.startswith(("begin", "commit"))
        for row in connection.execute(f"explain query plan {sql}")
    ]

    assert any("USING INDEX runs_by_end (completed_at<?)" in plan for plan in plans)
    assert any("USING COVERING INDEX runs_by_end" in plan for plan in plans)
    assert not any("TEMP B-TREE" in plan for plan in plans)
