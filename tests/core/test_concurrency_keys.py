"""Concurrency keys: of the runs of a job under one key, one runs at a time and one is pending."""

from __future__ import annotations

import pytest

from durably import (
    Coalesce,
    ConcurrencyConflict,
    Durably,
    Job,
    Run,
    RunHandle,
    RunStatus,
    Step,
    job,
)
from durably.testing import settle
from tests.core.kit import Gate, Tab, record, term_of, types

MODES: list[Coalesce] = ["skip", "queue", "active"]
Guarded = Job[[int], int]


@job
async def sync(step: Step, number: int = 0) -> int:
    return number


@job
async def other(step: Step, number: int = 0) -> int:
    return number


class Gates:
    """A gate for each run of a job, by its number."""

    def __init__(self) -> None:
        self.gates: dict[int, Gate] = {}

    def __getitem__(self, number: int) -> Gate:
        return self.gates.setdefault(number, Gate())

    def open_all(self) -> None:
        for gate in self.gates.values():
            gate.open()


@pytest.fixture
def gates() -> Gates:
    return Gates()


@pytest.fixture
def guarded(gates: Gates) -> Guarded:
    @job
    async def sync(step: Step, number: int) -> int:
        await step.run("gate", gates[number])
        return number

    return sync


async def statuses(durably: Durably, *handles: RunHandle[object]) -> list[str]:
    return [(await durably.get_run(handle.id)).status.value for handle in handles]


# Without coalescing


async def test_second_pending_run_under_a_key_is_a_conflict(tab: Tab) -> None:
    async with tab.durably(sync, autostart=False) as durably:
        first = await durably.trigger(sync(1), concurrency_key="c")
        with pytest.raises(ConcurrencyConflict, match=f"{first.id}.*coalesce") as caught:
            await durably.trigger(sync(2), concurrency_key="c", labels={"a": "b"})

        error = caught.value
        assert (error.job, error.key, error.run_id) == ("sync", "c", first.id)
        assert [run.id for run in await durably.list_runs()] == [first.id]


async def test_other_key_is_no_conflict(tab: Tab) -> None:
    async with tab.durably(sync, autostart=False) as durably:
        await durably.trigger(sync(1), concurrency_key="c")

        assert (await durably.trigger(sync(2), concurrency_key="d")).disposition == "created"
        assert (await durably.trigger(sync(3))).disposition == "created"


async def test_key_of_another_job_is_another_key(tab: Tab) -> None:
    async with tab.durably(sync, other, autostart=False) as durably:
        await durably.trigger(sync(1), concurrency_key="c")
        second = await durably.trigger(other(2), concurrency_key="c", coalesce="active")

        assert second.disposition == "created"


async def test_run_can_be_pending_behind_a_running_one(
    tab: Tab, gates: Gates, guarded: Guarded
) -> None:
    async with tab.durably(guarded, max_concurrent_runs=5) as durably:
        first = await durably.trigger(guarded(1), concurrency_key="c")
        await gates[1].entered.wait()
        second = await durably.trigger(guarded(2), concurrency_key="c")
        await settle()

        assert second.disposition == "created"
        assert await statuses(durably, first, second) == ["running", "pending"]
        with pytest.raises(ConcurrencyConflict, match=second.id):
            await durably.trigger(guarded(3), concurrency_key="c")
        gates.open_all()


async def test_pending_run_is_claimed_when_the_running_one_of_its_key_has_ended(
    tab: Tab, gates: Gates, guarded: Guarded
) -> None:
    async with tab.durably(guarded, max_concurrent_runs=5) as durably:
        first = await durably.trigger(guarded(1), concurrency_key="c")
        await gates[1].entered.wait()
        second = await durably.trigger(guarded(2), concurrency_key="c")
        gates[1].open()
        await gates[2].entered.wait()

        assert await statuses(durably, first, second) == ["completed", "running"]
        gates.open_all()


async def test_runs_behind_a_busy_key_are_overtaken_by_those_of_other_keys(
    tab: Tab, gates: Gates, guarded: Guarded
) -> None:
    async with tab.durably(guarded, max_concurrent_runs=2) as durably:
        await durably.trigger(guarded(1), concurrency_key="c")
        await gates[1].entered.wait()
        behind = await durably.trigger(guarded(2), concurrency_key="c")
        beside = await durably.trigger(guarded(3), concurrency_key="d")
        await settle()

        assert await statuses(durably, behind, beside) == ["pending", "running"]
        gates.open_all()


async def test_jobs_with_the_same_key_run_side_by_side(
    tab: Tab, gates: Gates, guarded: Guarded
) -> None:
    @job
    async def beside(step: Step, number: int) -> None:
        await step.run("gate", gates[number])

    async with tab.durably(guarded, beside, max_concurrent_runs=2) as durably:
        first = await durably.trigger(guarded(1), concurrency_key="c")
        second = await durably.trigger(beside(2), concurrency_key="c")
        await settle()

        assert await statuses(durably, first, second) == ["running", "running"]
        gates.open_all()


async def test_runs_without_a_key_do_not_wait_for_each_other(
    tab: Tab, gates: Gates, guarded: Guarded
) -> None:
    async with tab.durably(guarded, max_concurrent_runs=2) as durably:
        first = await durably.trigger(guarded(1))
        second = await durably.trigger(guarded(2))
        await settle()

        assert await statuses(durably, first, second) == ["running", "running"]
        gates.open_all()


@pytest.mark.parametrize("ending", ["completed", "cancelled", "deleted"])
async def test_key_is_free_when_its_run_has_ended(tab: Tab, ending: str) -> None:
    async with tab.durably(sync, autostart=False) as durably:
        first = await durably.trigger(sync(1), concurrency_key="c")
        if ending != "completed":
            await durably.cancel(first.id)
        if ending == "deleted":
            await durably.delete_run(first.id)
        await durably.process_until_idle()
        second = await durably.trigger(sync(2), concurrency_key="c", coalesce="active")

        assert second.disposition == "created"


async def test_cancelled_run_lets_the_next_of_its_key_run(
    tab: Tab, gates: Gates, guarded: Guarded
) -> None:
    async with tab.durably(guarded) as durably:
        first = await durably.trigger(guarded(1), concurrency_key="c")
        await gates[1].entered.wait()
        await durably.trigger(guarded(2), concurrency_key="c")
        await durably.cancel(first.id)
        await gates[2].entered.wait()

        assert await statuses(durably, first) == ["cancelled"]
        gates.open_all()


async def test_key_is_busy_for_every_process(tab: Tab, gates: Gates, guarded: Guarded) -> None:
    """The rule is the store's: it does not depend on which worker claims."""
    async with tab.life(guarded, max_concurrent_runs=5) as life:
        durably = life.durably
        await durably.trigger(guarded(1), concurrency_key="c")
        await gates[1].entered.wait()
        await durably.trigger(guarded(2), concurrency_key="c")
        store = (await term_of(durably)).store

        assert store.leases.claim(["sync"], "another", tab.clock.now()) is None


# Coalescing


@pytest.mark.parametrize("mode", MODES)
async def test_every_mode_joins_the_pending_run(tab: Tab, mode: Coalesce) -> None:
    async with tab.durably(sync, autostart=False) as durably:
        first = await durably.trigger(sync(1), concurrency_key="c", labels={"nr": "1"})
        joined = await durably.trigger(
            sync(2), concurrency_key="c", coalesce=mode, labels={"nr": "2"}
        )

        assert (joined.disposition, joined.id) == ("coalesced", first.id)
        assert joined.run == first.run
        assert len(await durably.list_runs()) == 1


@pytest.mark.parametrize("mode", MODES)
async def test_every_mode_makes_a_run_where_there_is_none_to_join(tab: Tab, mode: Coalesce) -> None:
    async with tab.durably(sync, autostart=False) as durably:
        handle = await durably.trigger(sync(1), concurrency_key="c", coalesce=mode)

        assert handle.disposition == "created"
        assert handle.run.concurrency_key == "c"


@pytest.mark.parametrize("mode", ["skip", "queue"])
async def test_skip_and_queue_make_one_trailing_run_behind_a_running_one(
    tab: Tab, gates: Gates, guarded: Guarded, mode: Coalesce
) -> None:
    async with tab.durably(guarded) as durably:
        first = await durably.trigger(guarded(1), concurrency_key="c", coalesce=mode)
        await gates[1].entered.wait()
        trailing = await durably.trigger(guarded(2), concurrency_key="c", coalesce=mode)
        joined = await durably.trigger(guarded(3), concurrency_key="c", coalesce=mode)
        gates.open_all()
        gates[2].open()

        assert [first.disposition, trailing.disposition] == ["created", "created"]
        assert (joined.disposition, joined.id) == ("coalesced", trailing.id)
        assert (await first.result(), await joined.result()) == (1, 2)


async def test_active_joins_the_running_run(tab: Tab, gates: Gates, guarded: Guarded) -> None:
    async with tab.durably(guarded) as durably:
        first = await durably.trigger(guarded(1), concurrency_key="c")
        await gates[1].entered.wait()
        joined = await durably.trigger(guarded(2), concurrency_key="c", coalesce="active")
        gates.open_all()

        assert (joined.disposition, joined.id) == ("coalesced", first.id)
        assert joined.run.status is RunStatus.RUNNING
        assert joined.run.input == {"number": 1}
        assert await joined.result() == 1


async def test_active_joins_the_pending_run_before_the_running_one(
    tab: Tab, gates: Gates, guarded: Guarded
) -> None:
    async with tab.durably(guarded) as durably:
        await durably.trigger(guarded(1), concurrency_key="c")
        await gates[1].entered.wait()
        pending = await durably.trigger(guarded(2), concurrency_key="c")
        joined = await durably.trigger(guarded(3), concurrency_key="c", coalesce="active")
        gates.open_all()
        gates[2].open()

        assert joined.id == pending.id


async def test_terminal_run_is_not_joined(tab: Tab) -> None:
    async with tab.durably(sync, autostart=False) as durably:
        first = await durably.trigger(sync(1), concurrency_key="c")
        await durably.process_one()
        second = await durably.trigger(sync(2), concurrency_key="c", coalesce="active")

        assert second.disposition == "created"
        assert second.id != first.id


async def test_joining_tells_what_it_left_out(tab: Tab) -> None:
    async with tab.durably(sync, autostart=False) as durably:
        first = await durably.trigger(sync(1), concurrency_key="c")
        told = record(durably)
        await durably.trigger(sync(2), concurrency_key="c", coalesce="skip", labels={"nr": "2"})
        await settle()
        (event,) = told

        assert (event.type, event.run_id, event.job) == ("run:coalesced", first.id, "sync")
        assert event.coalesce == "skip"
        assert event.skipped_input == {"number": 2}
        assert event.skipped_labels == {"nr": "2"}


async def test_what_is_told_to_be_left_out_is_what_would_have_been_stored(tab: Tab) -> None:
    @job
    async def collect(step: Step, items: list[int]) -> None: ...

    async with tab.durably(collect, autostart=False) as durably:
        await durably.trigger(collect([]), concurrency_key="c")
        told = record(durably)
        items, labels = [1], {"nr": "1"}
        call = collect(items)
        items.append(2)
        await durably.trigger(call, concurrency_key="c", coalesce="skip", labels=labels)
        labels["nr"] = "2"
        await settle()

        assert told[0].skipped_input == {"items": [1]}
        assert told[0].skipped_labels == {"nr": "1"}


async def test_joining_changes_nothing_and_writes_nothing(tab: Tab) -> None:
    async with tab.durably(sync, autostart=False) as durably:
        first = await durably.trigger(sync(1), concurrency_key="c")
        writes = tab.disk.writes
        await durably.trigger(sync(2), concurrency_key="c", coalesce="skip", labels={"nr": "2"})

        assert tab.disk.writes == writes
        assert await durably.get_run(first.id) == first.run
        assert await durably.list_runs(labels={"nr": "2"}) == []


async def test_trigger_that_joined_keeps_no_idempotency_key(tab: Tab) -> None:
    async with tab.durably(sync, autostart=False) as durably:
        await durably.trigger(sync(1), concurrency_key="c")
        await durably.trigger(sync(2), concurrency_key="c", coalesce="skip", idempotency_key="i")
        await durably.process_one()
        again = await durably.trigger(sync(2), idempotency_key="i")

        assert again.disposition == "created"


async def test_many_triggers_under_one_key_make_one_run(tab: Tab) -> None:
    async with tab.durably(sync, autostart=False) as durably:
        handles = [
            await durably.trigger(sync(number), concurrency_key="c", coalesce="skip")
            for number in range(20)
        ]

        assert len({handle.id for handle in handles}) == 1
        assert await durably.process_until_idle() == 1


async def test_burst_of_triggers_under_one_key_makes_a_running_and_a_pending_run(
    tab: Tab, gates: Gates, guarded: Guarded
) -> None:
    async with tab.durably(guarded) as durably:
        handles = [
            await durably.trigger(guarded(number), concurrency_key="c", coalesce="skip")
            for number in range(20)
        ]
        for number in (0, 1):
            gates[number].open()

        assert [handle.disposition for handle in handles] == ["created"] * 2 + ["coalesced"] * 18
        assert [await handle.result() for handle in handles] == [0] + [1] * 19


# Waiting


async def waiting_then_pending(durably: Durably, waiter: Guarded) -> list[Run]:
    """One run of a key that waits, and a newer one that is pending."""
    first = await durably.trigger(waiter(1), concurrency_key="c")
    await durably.process_one()
    second = await durably.trigger(waiter(2), concurrency_key="c")
    return [await durably.get_run(first.id), await durably.get_run(second.id)]


@pytest.fixture
def waiter() -> Guarded:
    @job
    async def waiter(step: Step, number: int) -> int:
        if number == 1:
            await step.wait_for(await step.prepare_wait("answer"))
        return number

    return waiter


async def test_waiting_run_does_not_occupy_its_key(tab: Tab, waiter: Guarded) -> None:
    async with tab.durably(waiter, autostart=False) as durably:
        first, second = await waiting_then_pending(durably, waiter)
        await durably.process_one()

        assert first.status is RunStatus.WAITING
        assert (await durably.get_run(second.id)).status is RunStatus.COMPLETED


async def test_active_joins_a_waiting_run_where_no_other_is_active(
    tab: Tab, waiter: Guarded
) -> None:
    async with tab.durably(waiter, autostart=False) as durably:
        first, second = await waiting_then_pending(durably, waiter)
        joined = await durably.trigger(waiter(3), concurrency_key="c", coalesce="active")
        await durably.process_one()
        joined_later = await durably.trigger(waiter(4), concurrency_key="c", coalesce="active")

        assert joined.id == second.id
        assert joined_later.id == first.id


async def test_resumed_run_goes_on_before_a_newer_one_of_its_key(tab: Tab, waiter: Guarded) -> None:
    async with tab.durably(waiter, autostart=False) as durably:
        first, second = await waiting_then_pending(durably, waiter)
        (wait,) = await durably.get_waits(first.id)
        await durably.signal(wait.id)
        claimed = record(durably, "run:claimed")
        await durably.process_until_idle()

        assert [event.run_id for event in claimed] == [first.id, second.id]


# A run that was interrupted while a newer one is pending


async def interrupted_with_a_newer_one_pending(
    tab: Tab, gates: Gates, guarded: Guarded
) -> list[str]:
    """The ids of the run that was running when its program was killed, and of the newer one."""
    async with tab.life(guarded) as life:
        older = await life.durably.trigger(guarded(1), concurrency_key="c")
        await gates[1].entered.wait()
        newer = await life.durably.trigger(guarded(2), concurrency_key="c")
        await life.kill()
    gates.open_all()
    gates[2].open()
    return [older.id, newer.id]


async def test_interrupted_run_goes_on_before_a_newer_one_of_its_key(
    tab: Tab, gates: Gates, guarded: Guarded
) -> None:
    older, newer = await interrupted_with_a_newer_one_pending(tab, gates, guarded)

    async with tab.durably(guarded) as durably:
        claimed = record(durably, "run:claimed")

        assert [await durably.result(older), await durably.result(newer)] == [1, 2]
        assert [event.run_id for event in claimed] == [older, newer]


async def test_interrupted_run_is_requeued_and_not_failed(
    tab: Tab, gates: Gates, guarded: Guarded
) -> None:
    older, newer = await interrupted_with_a_newer_one_pending(tab, gates, guarded)

    async with tab.durably(guarded, autostart=False) as durably:
        await settle()
        runs = [await durably.get_run(run_id) for run_id in (older, newer)]

        assert [run.status for run in runs] == [RunStatus.PENDING, RunStatus.PENDING]
        assert [run.interruptions for run in runs] == [1, 0]
        assert runs[0].error is None


async def test_two_pending_runs_of_a_key_never_run_side_by_side(
    tab: Tab, gates: Gates, guarded: Guarded
) -> None:
    older, newer = await interrupted_with_a_newer_one_pending(tab, gates, guarded)
    gates.gates[1] = Gate()

    async with tab.durably(guarded, max_concurrent_runs=5) as durably:
        await gates[1].entered.wait()
        await settle()

        assert (await durably.get_run(older)).status is RunStatus.RUNNING
        assert (await durably.get_run(newer)).status is RunStatus.PENDING
        gates.open_all()


async def test_trigger_joins_the_pending_run_that_has_not_begun(
    tab: Tab, gates: Gates, guarded: Guarded
) -> None:
    _, newer = await interrupted_with_a_newer_one_pending(tab, gates, guarded)

    async with tab.durably(guarded, autostart=False) as durably:
        await settle()
        joined = await durably.trigger(guarded(3), concurrency_key="c", coalesce="skip")

        assert joined.id == newer
        with pytest.raises(ConcurrencyConflict, match=newer):
            await durably.trigger(guarded(4), concurrency_key="c")


async def test_run_with_a_stale_heartbeat_goes_on_before_a_newer_one_of_its_key(
    tab: Tab, gates: Gates, guarded: Guarded
) -> None:
    tab.proves_death = False
    older, newer = await interrupted_with_a_newer_one_pending(tab, gates, guarded)

    async with tab.durably(guarded) as durably:
        told = record(durably)
        await tab.clock.advance(60)

        requeued = types(told).index("run:requeued")
        assert told[requeued].run_id == older
        claimed = [event.run_id for event in told if event.type == "run:claimed"]
        assert claimed == [older, newer]


async def test_run_that_was_given_back_goes_on_before_a_newer_one_of_its_key(
    tab: Tab, gates: Gates, guarded: Guarded
) -> None:
    async with tab.durably(guarded) as durably:
        older = await durably.trigger(guarded(1), concurrency_key="c")
        await gates[1].entered.wait()
        newer = await durably.trigger(guarded(2), concurrency_key="c")
        gates[2].open()
        opening = gates[1].open_once_settled()
        await durably.stop()
        await opening
        claimed = record(durably, "run:claimed")
        durably.start()

        assert [await older.result(), await newer.result()] == [1, 2]
        assert [event.run_id for event in claimed] == [older.id, newer.id]
