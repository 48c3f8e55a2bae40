"""Leases: what the store refuses to a stale owner, and the heartbeat of a live one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from durably import Step, job
from durably.model import ErrorInfo, Lease, Progress
from durably.store import Store
from durably.testing import settle
from tests.core.kit import Bodies, Gate, OpenStore, Tab, record

# The store's rules

WRITES: dict[str, Callable[[Store, Lease], bool]] = {
    "checkpoint": lambda store, lease: store.steps.checkpoint(
        lease, "late", position=1, attempt=1, output="1", started_at=0, now=1
    ),
    "failed checkpoint": lambda store, lease: store.steps.checkpoint(
        lease, "late", position=1, attempt=1, error=ErrorInfo("E", "m"), started_at=0, now=1
    ),
    "complete": lambda store, lease: store.leases.complete(lease, "1", 1, keeps_outputs=True),
    "fail": lambda store, lease: store.leases.fail(
        lease, ErrorInfo("E", "m"), 1, keeps_outputs=True
    ),
    "progress": lambda store, lease: store.leases.save_progress(lease, Progress(9, 9, "late")),
    "renew": lambda store, lease: store.leases.renew(lease, 99),
    "release": lambda store, lease: store.leases.release(lease, 1),
    "requeue": lambda store, lease: store.leases.requeue(lease, 20, "unknown", 1),
    "suspend": lambda store, lease: store.leases.suspend(lease, ["no wait"], 1) is not None,
}


@pytest.fixture(params=WRITES)
def write(request: pytest.FixtureRequest) -> Callable[[Store, Lease], bool]:
    return WRITES[request.param]


async def test_owner_of_a_lease_may_write(
    opened: OpenStore, write: Callable[[Store, Lease], bool]
) -> None:
    run = opened.trigger()
    before = opened.claim().lease

    assert write(opened.store, before)
    assert opened.row(run.id) != run


async def test_stale_owner_cannot_write_to_a_reclaimed_run(
    opened: OpenStore, write: Callable[[Store, Lease], bool]
) -> None:
    run = opened.trigger()
    stale = opened.claim("first").lease
    opened.store.leases.requeue(stale, 20, "unknown", 1)
    opened.claim("second")
    before = opened.row(run.id)

    assert not write(opened.store, stale)
    assert opened.row(run.id) == before
    assert opened.store.steps.of_run(run.id) == []


async def test_stale_owner_cannot_write_to_a_requeued_run(
    opened: OpenStore, write: Callable[[Store, Lease], bool]
) -> None:
    run = opened.trigger()
    stale = opened.claim().lease
    opened.store.leases.requeue(stale, 20, "unknown", 1)
    before = opened.row(run.id)

    assert not write(opened.store, stale)
    assert opened.row(run.id) == before
    assert opened.store.steps.of_run(run.id) == []


@pytest.mark.parametrize("ending", ["complete", "fail", "cancel"])
async def test_nobody_can_write_to_a_terminal_run(
    opened: OpenStore, write: Callable[[Store, Lease], bool], ending: str
) -> None:
    run = opened.trigger()
    lease = opened.claim().lease
    if ending == "cancel":
        opened.store.runs.cancel(run.id, 5, keeps_outputs=True)
    else:
        WRITES[ending](opened.store, lease)
    before = opened.row(run.id)

    assert not write(opened.store, lease)
    assert opened.row(run.id) == before
    assert opened.store.steps.of_run(run.id) == []


async def test_lease_of_another_run_does_not_count(
    opened: OpenStore, write: Callable[[Store, Lease], bool]
) -> None:
    first, second = opened.trigger(), opened.trigger()
    lease = opened.claim().lease
    before = opened.row(second.id)

    assert lease.run_id == first.id
    assert not write(opened.store, replace(lease, run_id=second.id))
    assert opened.row(second.id) == before


async def test_each_claim_adds_one_to_the_generation(opened: OpenStore) -> None:
    opened.trigger()
    generations = []
    for _ in range(3):
        lease = opened.claim().lease
        generations.append(lease.generation)
        opened.store.leases.requeue(lease, 20, "unknown", 1)

    assert generations == [1, 2, 3]


async def test_started_at_keeps_its_first_value(opened: OpenStore) -> None:
    run = opened.trigger()
    first_claim = opened.clock.now()
    opened.store.leases.requeue(opened.claim().lease, 20, "unknown", 1)
    opened.clock.jump(60)
    opened.claim()

    assert opened.row(run.id).started_at == first_claim
    assert opened.row(run.id).heartbeat_at == first_claim + 60_000


async def test_claim_takes_the_oldest_run_of_the_named_jobs_only(opened: OpenStore) -> None:
    opened.trigger("other")
    wanted = opened.trigger("wanted")
    opened.trigger("wanted")

    assert opened.claim("owner", "wanted", "unheard-of").lease.run_id == wanted.id


async def test_oldest_is_by_creation_even_where_the_clock_went_back(opened: OpenStore) -> None:
    first = opened.trigger()
    opened.clock.jump(-3600)
    opened.trigger()

    assert opened.claim().lease.run_id == first.id


async def test_expired_lease_that_nobody_took_can_be_renewed(opened: OpenStore) -> None:
    run = opened.trigger()
    lease = opened.claim().lease
    opened.clock.jump(3600)

    assert opened.store.leases.renew(lease, opened.clock.now())
    assert opened.row(run.id).heartbeat_at == opened.clock.now()


async def test_release_is_not_counted_and_requeue_is(opened: OpenStore) -> None:
    run = opened.trigger()
    opened.store.leases.release(opened.claim().lease, 1)
    after_release = opened.row(run.id).interruptions
    opened.store.leases.requeue(opened.claim().lease, 20, "unknown", 1)

    assert (after_release, opened.row(run.id).interruptions) == (0, 1)


GOODBYES: dict[str, Callable[[OpenStore, Lease], object]] = {
    "complete": lambda opened, lease: WRITES["complete"](opened.store, lease),
    "fail": lambda opened, lease: WRITES["fail"](opened.store, lease),
    "release": lambda opened, lease: WRITES["release"](opened.store, lease),
    "requeue": lambda opened, lease: WRITES["requeue"](opened.store, lease),
    "suspend": lambda opened, lease: opened.store.leases.suspend(lease, ["wait"], 1),
    "cancel": lambda opened, lease: opened.store.runs.cancel(lease.run_id, 1, keeps_outputs=True),
}


@pytest.mark.parametrize("goodbye", GOODBYES.values(), ids=GOODBYES)
async def test_no_try_is_under_way_once_the_run_has_no_owner(
    opened: OpenStore, goodbye: Callable[[OpenStore, Lease], object]
) -> None:
    run = opened.trigger()
    lease = opened.claim().lease
    opened.store.steps.save_attempt(lease, "cut", 1, started_at=0, metadata=None)
    opened.store.waits.prepare(lease, "wait", "wait", metadata="null", deadline_at=None, now=0)
    goodbye(opened, lease)

    (attempt,) = opened.store.steps.attempts(run.id)
    assert (attempt.outcome, attempt.ended_at) == ("interrupted", 1)


# Heartbeats


@job
async def idle(step: Step) -> str:
    return "done"


async def test_heartbeat_moves_while_a_run_is_under_way(tab: Tab, gate: Gate) -> None:
    @job
    async def wait(step: Step) -> None:
        await step.run("wait", gate)

    async with tab.durably(wait, heartbeat_interval=5) as durably:
        handle = await durably.trigger(wait())
        await gate.entered.wait()
        claimed_at = tab.clock.now()
        await tab.clock.advance(12)
        run = await durably.get_run(handle.id)
        gate.open()

        assert run.heartbeat_at == claimed_at + 10_000


async def test_heartbeat_is_told(tab: Tab, gate: Gate) -> None:
    @job
    async def wait(step: Step) -> None:
        await gate()

    async with tab.durably(wait, heartbeat_interval=5) as durably:
        beats = record(durably, "run:heartbeat")
        await durably.trigger(wait())
        await gate.entered.wait()
        await tab.clock.advance(15)
        gate.open()

        assert [event.heartbeat_at for event in beats] == [
            tab.clock.now() - 10_000,
            tab.clock.now() - 5_000,
            tab.clock.now(),
        ]


async def test_own_live_run_is_never_requeued(tab: Tab, gate: Gate, bodies: Bodies) -> None:
    @job
    async def wait(step: Step) -> None:
        await step.run("a", bodies, "a")
        await step.run("wait", gate)

    async with tab.durably(wait, idle, max_concurrent_runs=2) as durably:
        requeued = record(durably, "run:requeued")
        handle = await durably.trigger(wait())
        await gate.entered.wait()
        for _ in range(10):
            tab.clock.jump(3600)
            await (await durably.trigger(idle())).result()
        gate.open()
        await handle.result()

        assert requeued == []
        assert gate.visits == 1


async def test_run_that_still_winds_down_here_is_not_claimed_again(opened: OpenStore) -> None:
    first, second = opened.trigger(), opened.trigger()

    claim = opened.store.leases.claim(["job"], "owner", 1, left_out=[first.id])

    assert claim is not None
    assert claim.lease.run_id == second.id


async def test_engine_that_is_idle_has_no_timer_and_writes_nothing(tab: Tab) -> None:
    @job
    async def act(step: Step) -> str:
        return await step.run("act", lambda: "done")

    async with tab.durably(act) as durably:
        await settle()
        before = tab.clock.timers
        await (await durably.trigger(act())).result()
        await tab.clock.advance(60)
        after, writes = tab.clock.timers, tab.disk.writes
        await tab.clock.advance(100 * 3600)

        assert (before, after) == ([], [])
        assert tab.disk.writes == writes


async def test_heartbeat_begins_anew_with_the_next_run(tab: Tab) -> None:
    gates = iter([Gate(), Gate()])
    used: list[Gate] = []

    @job
    async def work(step: Step) -> None:
        used.append(next(gates))
        await used[-1]()

    async with tab.durably(work, heartbeat_interval=5) as durably:
        for number in range(2):
            handle = await durably.trigger(work())
            await settle()
            claimed_at = tab.clock.now()
            await tab.clock.advance(7)
            run = await durably.get_run(handle.id)
            assert run.heartbeat_at == claimed_at + 5000, number
            used[-1].open()
            await handle.result()
            await tab.clock.advance(60)
