"""Runs whose owner stood still, crashed or was closed go on elsewhere."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, repeat
from pathlib import Path

import pytest

from durably import (
    DamagedDatabase,
    Durability,
    Durably,
    RunStatus,
    Step,
    StorageLost,
    job,
)
from durably.events import Event
from durably.local import FileMirror, local_environment
from durably.ports import Landed
from durably.store.leases import Leases
from durably.testing import FakeClock, settle
from tests.core.kit import Bodies, Gate, Process, Tab, record, types, until


@job
async def idle(step: Step) -> str:
    return "done"


# Two processes on one file


async def test_run_triggered_by_one_process_is_executed_by_another(
    processes: tuple[Process, Process], clock: FakeClock
) -> None:
    one, two = processes
    one.visibility.hide()  # It may trigger, and never claims.
    async with (
        Durably("shared", jobs=[idle], environment=one.environment()) as client,
        Durably("shared", jobs=[idle], environment=two.environment()),
    ):
        handle = await client.trigger(idle())
        waiting = asyncio.ensure_future(handle.result())
        await clock.advance(3)

        assert await waiting == "done"


async def test_stale_run_is_picked_up_by_another_process(
    processes: tuple[Process, Process], clock: FakeClock, bodies: Bodies
) -> None:
    gate = Gate()

    @job
    async def two_steps(step: Step) -> str:
        await step.run("a", bodies, "a")
        await gate()
        return await step.run("b", bodies, "b")

    one, two = processes
    async with Durably("shared", jobs=[two_steps], environment=one.environment()) as first:
        handle = await first.trigger(two_steps())
        await gate.entered.wait()
        one.visibility.hide()  # Its heartbeats pause, as if it stood still.
        await settle()
        gate.open()
        gate.opened.clear()
        async with Durably("shared", jobs=[two_steps], environment=two.environment()) as second:
            told = record(second)
            await clock.advance(29)
            early = types(told)
            gate.opened.set()
            await clock.advance(3)

            assert "run:claimed" not in early
            assert (await second.get_run(handle.id)).status is RunStatus.COMPLETED
            assert bodies.count("a") == 1


async def test_wall_clock_that_jumps_back_hides_no_owner_that_is_gone(
    processes: tuple[Process, Process], clock: FakeClock
) -> None:
    gate = Gate()

    @job
    async def hold(step: Step) -> None:
        await gate()

    one, two = processes
    async with Durably("shared", jobs=[hold], environment=one.environment()) as first:
        await first.trigger(hold())
        await gate.entered.wait()
        one.visibility.hide()  # Its heartbeats pause, as if it were gone.
        await settle()
        async with Durably("shared", jobs=[hold], environment=two.environment()) as second:
            told = record(second)
            clock.jump(-3600)
            await clock.advance(40)
            gate.open()

            assert types(told)[:2] == ["run:requeued", "run:claimed"]


async def test_owner_that_lost_its_lease_stops_before_its_next_step(
    processes: tuple[Process, Process], clock: FakeClock, bodies: Bodies
) -> None:
    gates = [Gate(), Gate()]
    lives = iter(gates)

    @job
    async def two_steps(step: Step) -> str:
        gate = next(lives)
        await step.run("a", bodies, "a")
        await gate()
        return await step.run("b", bodies, "b")

    one, two = processes
    async with Durably("shared", jobs=[two_steps], environment=one.environment()) as first:
        handle = await first.trigger(two_steps())
        await gates[0].entered.wait()
        one.visibility.hide()
        await settle()
        async with Durably("shared", jobs=[two_steps], environment=two.environment()) as second:
            await clock.advance(40)
            await gates[1].entered.wait()
            one.visibility.show()
            await settle()
            gates[0].open()
            await settle()
            ran_in_first = list(bodies.ran)
            gates[1].open()
            result = await second.result(handle.id)

    assert ran_in_first == ["a"]
    assert result == "b is done"
    assert bodies.ran == ["a", "b"]


async def test_live_run_of_another_process_is_left_alone(
    processes: tuple[Process, Process], clock: FakeClock, gate: Gate
) -> None:
    @job
    async def wait(step: Step) -> None:
        await gate()

    one, two = processes
    async with (
        Durably("shared", jobs=[wait], environment=one.environment()) as first,
        Durably("shared", jobs=[wait], environment=two.environment()) as second,
    ):
        requeued = record(second, "run:requeued")
        handle = await first.trigger(wait())
        await gate.entered.wait()
        await clock.advance(60)
        run = await second.get_run(handle.id)
        gate.open()

        assert requeued == []
        assert (run.lease_generation, gate.visits) == (1, 1)


async def test_cancel_by_one_process_stops_the_run_in_another(
    processes: tuple[Process, Process], clock: FakeClock, bodies: Bodies
) -> None:
    gate = Gate()

    @job
    async def two_steps(step: Step) -> None:
        await step.run("a", gate)
        await step.run("b", bodies, "b")

    one, two = processes
    async with Durably("shared", jobs=[two_steps], environment=one.environment()) as first:
        handle = await first.trigger(two_steps())
        await gate.entered.wait()
        async with Durably("shared", environment=two.environment()) as second:
            await second.cancel(handle.id)
        await clock.advance(6)
        gate.open()
        await settle()

        assert (await first.get_run(handle.id)).status is RunStatus.CANCELLED
        assert await first.get_steps(handle.id) == []
        assert bodies.ran == []


# Takeovers and crashes


async def test_runs_of_a_dead_leader_go_on_at_once(tab: Tab, gate: Gate, bodies: Bodies) -> None:
    @job
    async def two_steps(step: Step) -> str:
        await step.run("a", bodies, "a")
        await gate()
        return await step.run("b", bodies, "b")

    async with tab.life(two_steps) as life:
        handle = await life.durably.trigger(two_steps())
        await gate.entered.wait()
    gate.open()
    durably = tab.durably(two_steps)
    told = record(durably)
    async with durably:
        await durably.result(handle.id)

    assert types(told)[1:3] == ["run:requeued", "run:claimed"]
    assert told[1].reason == "its owner has ended"
    assert told[2].lease_generation == 2
    assert bodies.ran == ["a", "b"]


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


class LostMirror(FileMirror):
    """A file whose place goes away when the test says so."""

    is_lost = False

    def commit(self, durability: Durability, landed: Landed) -> bool:
        if self.is_lost:
            landed(StorageLost("shop", "the test took it away"))
        return self.is_lost or super().commit(durability, landed)


@pytest.mark.cpython_only  # The file system of Pyodide has no locks.
@pytest.mark.parametrize("comes_back", [True, False])
async def test_runs_of_a_process_that_lost_its_storage_go_on_at_once(
    tmp_path: Path, clock: FakeClock, gate: Gate, comes_back: bool
) -> None:
    """In its own next term; or in another process, where the place stays away for this one."""

    @job
    async def hold(step: Step) -> str:
        await step.run("hold", gate)
        return "done"

    environment = replace(local_environment("shop", tmp_path), clock=clock)
    mirror = LostMirror("shop", tmp_path / "shop.sqlite3")
    later = tmp_path / "shop.sqlite3" if comes_back else tmp_path
    mirrors = chain([mirror], repeat(FileMirror("shop", later)))
    first = Durably(
        "shop",
        jobs=[hold],
        stale_threshold=3600,
        environment=replace(environment, mirror=lambda: next(mirrors)),
    )
    told = record(first, "run:requeued")
    async with first:
        run = await first.trigger(hold())
        await gate.entered.wait()
        mirror.is_lost = True
        gate.open()
        if comes_back:
            assert await run.result() == "done"
        else:
            await clock.advance(10)
            environment = replace(local_environment("shop", tmp_path), clock=clock)
            second = Durably("shop", jobs=[hold], stale_threshold=3600, environment=environment)
            told = record(second, "run:requeued")
            async with second:
                assert await second.result(run.id) == "done"

    assert [event.reason for event in told] == ["its owner has ended"]
    assert "shop.sqlite3.owners" not in files(tmp_path)


@pytest.mark.cpython_only  # In a tab nothing is synced to a disk.
async def test_disk_that_does_not_sync_ends_the_term_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []

    def refuse(descriptor: int) -> None:
        monkeypatch.undo()
        raise OSError(errno.EIO, "Input/output error")

    def act(number: int) -> int:
        ran.append(number)
        if ran == [0, 1]:
            monkeypatch.setattr(os, "fsync", refuse)
        return number

    @job
    async def steps(step: Step) -> list[int]:
        return [await step.run("step", act, number, key=number) for number in range(3)]

    durably = Durably("shop", jobs=[steps], directory=tmp_path, durability="strict")
    told = record(durably, "storage:lost")
    async with durably:
        result = await durably.trigger_and_wait(steps(), timeout=10)

    assert result == [0, 1, 2]
    assert len(told) == 1
    assert "Input/output error" in str(told[0])
    assert ran in ([0, 1, 2], [0, 1, 1, 2])


@pytest.mark.cpython_only  # The file system of Pyodide has no locks.
async def test_opening_that_fails_leaves_no_file_of_its_owner(tmp_path: Path) -> None:
    (tmp_path / "shop.sqlite3").write_bytes(b"these are my notes" * 100)

    with pytest.raises(DamagedDatabase):
        await Durably("shop", directory=tmp_path).__aenter__()
    assert files(tmp_path) == ["shop.sqlite3"]


@pytest.mark.cpython_only  # The file system of Pyodide has no locks.
async def test_two_durablys_of_one_process_leave_each_others_runs_alone(
    tmp_path: Path, clock: FakeClock, gate: Gate
) -> None:
    @job
    async def hold(step: Step) -> str:
        return await step.run("hold", gate)

    def durably() -> Durably:
        environment = replace(local_environment("shop", tmp_path), clock=clock)
        return Durably("shop", jobs=[hold], environment=environment)

    async with durably() as one, durably() as two:
        told = record(two)
        run = await one.trigger(hold())
        await gate.entered.wait()
        await clock.advance(60)
        gate.open()
        await run.result()

    assert "run:requeued" not in types(told)
    assert gate.visits == 1


async def test_run_waits_for_the_threshold_where_no_death_is_proven(tab: Tab, gate: Gate) -> None:
    @job
    async def wait(step: Step) -> str:
        await gate()
        return "done"

    tab.proves_death = False
    async with tab.life(wait, heartbeat_interval=5, stale_threshold=30) as life:
        handle = await life.durably.trigger(wait())
        await gate.entered.wait()
    gate.open()
    async with tab.durably(wait, heartbeat_interval=5, stale_threshold=30) as durably:
        await tab.clock.advance(30)
        at_the_threshold = (await durably.get_run(handle.id)).status
        await tab.clock.advance(5)

        assert at_the_threshold is RunStatus.RUNNING
        assert await durably.result(handle.id) == "done"


async def test_crash_is_counted_as_an_interruption(tab: Tab, gate: Gate) -> None:
    @job
    async def wait(step: Step) -> None:
        await gate()

    async with tab.life(wait) as life:
        handle = await life.durably.trigger(wait())
        await gate.entered.wait()
    gate.open()
    async with tab.durably(wait) as durably:
        await durably.result(handle.id)

        assert (await durably.get_run(handle.id)).interruptions == 1


async def test_run_that_gets_on_in_every_life_is_no_crash_loop(tab: Tab, bodies: Bodies) -> None:
    @job
    async def crawl(step: Step) -> str:
        for number in range(6):
            before = bodies.count("start")
            await step.run("crawl", bodies, "start", key=number)
            if before < bodies.count("start") < 6:
                await asyncio.Event().wait()  # One new checkpoint in each life, and no more.
        return "done"

    for life_number in range(5):
        async with tab.life(crawl, max_interruptions=1) as life:
            await life.durably.trigger(crawl(), idempotency_key="only")
            await until(partial(more_starts_than, bodies, life_number))
            await settle()
    async with tab.durably(crawl, max_interruptions=1) as durably:
        handle = await durably.trigger(crawl(), idempotency_key="only")

        assert await handle.result() == "done"
        assert handle.run.interruptions == 1


def more_starts_than(bodies: Bodies, count: int) -> bool:
    return bodies.count("start") > count


async def test_leaving_is_not_counted_as_an_interruption(tab: Tab, bodies: Bodies) -> None:
    @job
    async def wait(step: Step) -> None:
        bodies("start")
        await asyncio.Event().wait()

    run_id = ""
    for number in range(3):
        async with tab.durably(wait, max_interruptions=1) as durably:
            if number == 0:
                run_id = (await durably.trigger(wait())).id
            await until(partial(more_starts_than, bodies, number))

    async with tab.durably() as durably:
        run = await durably.get_run(run_id)

        assert (run.status, run.interruptions) == (RunStatus.PENDING, 0)
        assert run.lease_generation == 3


@pytest.fixture
def claim_failures(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """What the next claims raise, the last one first."""
    claim = Leases.claim
    failures: list[Exception] = []

    def claim_or_fail(self: Leases, *args: object) -> object:
        if failures:
            raise failures.pop()
        return claim(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Leases, "claim", claim_or_fail)
    return failures


async def test_worker_survives_an_error_of_its_own(
    tab: Tab, claim_failures: list[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    claim_failures.append(RuntimeError("a bug"))
    with caplog.at_level(logging.ERROR, "durably"):
        durably = tab.durably(idle)
        errors = record(durably, "worker:error")
        async with durably:
            handle = await durably.trigger(idle())
            await tab.clock.advance(2)

            assert await handle.result() == "done"
    assert [event.message for event in errors] == ["RuntimeError('a bug')"]


async def test_error_where_a_run_is_claimed_as_it_is_triggered_is_told_once_and_ends_nothing(
    tab: Tab, claim_failures: list[Exception]
) -> None:
    async with tab.durably(idle) as durably:
        errors = record(durably, "worker:error")
        await settle()
        claim_failures.extend([RuntimeError("a bug"), RuntimeError("a bug")])
        handle = await durably.trigger(idle())
        await tab.clock.advance(2)

        assert await handle.result() == "done"
        assert [event.message for event in errors] == ["RuntimeError('a bug')"]


async def test_error_where_a_run_makes_way_for_the_next_is_told_once_and_ends_nothing(
    tab: Tab, claim_failures: list[Exception]
) -> None:
    async with tab.durably(idle) as durably:
        errors = record(durably, "worker:error")
        completed = record(durably, "run:complete")

        def break_at_the_third(event: Event) -> None:
            if len(completed) == 3:
                claim_failures.extend([RuntimeError("a bug"), RuntimeError("a bug")])

        durably.on("run:complete", break_at_the_third)
        handles = await durably.trigger_many([idle() for _ in range(5)])
        await tab.clock.advance(2)

        assert [await handle.result() for handle in handles] == ["done"] * 5
        assert [event.message for event in errors] == ["RuntimeError('a bug')"]


@dataclass(frozen=True)
class Order:
    number: int


async def test_run_whose_checkpoint_cannot_be_read_here_waits_for_a_program_that_can(
    tab: Tab, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_order = Order

    @job
    async def ship(step: Step) -> int:
        order = await step.run("order", make_order, 7)
        await gate()
        return order.number

    async with tab.life(ship) as life:
        handle = await life.durably.trigger(ship())
        await gate.entered.wait()
    gate.open()
    with monkeypatch.context() as without_class:
        without_class.delattr(f"{__name__}.Order")
        durably = tab.durably(ship)
        errors = record(durably, "worker:error")
        async with durably:
            await settle()
            run = await durably.get_run(handle.id)
    async with tab.durably(ship) as durably:
        result = await durably.result(handle.id)

    assert run.status is RunStatus.PENDING
    assert [event.run_id for event in errors] == [handle.id]
    assert result == 7
