"""``doctor()`` says why each unfinished run is not running, and whether what is stored is whole."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest

from durably import Durably, InvalidOption, Step, job
from durably.doctor import Diagnosis, FindingKind, RunDiagnosis
from durably.local import local_environment
from durably.testing import FakeClock, MemoryDisk, settle
from tests.core.kit import Gate, Process, Tab, interrupted, waits_of


@job
async def idle(step: Step) -> str:
    return "done"


@job(name="idle")
async def idle_elsewhere(step: Step) -> str:
    return "done"


def kinds(diagnosis: Diagnosis) -> list[tuple[FindingKind, ...]]:
    return [run.kinds for run in diagnosis.runs]


def only(diagnosis: Diagnosis) -> RunDiagnosis:
    (run,) = diagnosis.runs
    return run


# Runs


async def test_database_without_unfinished_runs_has_nothing_to_diagnose(tab: Tab) -> None:
    async with tab.durably(idle) as durably:
        await (await durably.trigger(idle())).result()
        diagnosis = await durably.doctor()

    assert (diagnosis.unfinished, diagnosis.runs, diagnosis.problems) == (0, (), ())
    assert diagnosis.is_sound


async def test_running_run_is_running_and_those_behind_it_wait_for_their_turn(
    tab: Tab, gate: Gate
) -> None:
    @job
    async def stand(step: Step) -> None:
        await step.run("gate", gate)

    async with tab.durably(stand, idle) as durably:
        await durably.trigger(stand())
        await gate.entered.wait()
        for _ in range(3):
            await durably.trigger(idle())
        diagnosis = await durably.doctor()
        gate.open()

    assert kinds(diagnosis) == [
        ("running",),
        ("at-limit", "next"),
        ("at-limit", "queued"),
        ("at-limit", "queued"),
    ]
    assert "2 runs that are older" in str(diagnosis.runs[3])


async def test_run_of_an_unknown_job_says_which_and_lets_others_pass(tab: Tab) -> None:
    async with tab.durably(idle, autostart=False) as durably:
        await durably.trigger(idle())

    @job
    async def known(step: Step) -> None: ...

    async with tab.durably(known, autostart=False) as durably:
        await durably.trigger(known())
        diagnosis = await durably.doctor()

    assert kinds(diagnosis) == [("unknown-job", "worker-stopped"), ("worker-stopped", "next")]
    assert "'idle' is not registered" in str(diagnosis.runs[0])


async def test_run_behind_its_concurrency_key_names_the_run_that_has_it(
    tab: Tab, gate: Gate
) -> None:
    @job
    async def stand(step: Step) -> None:
        await step.run("gate", gate)

    async with tab.durably(stand, max_concurrent_runs=2) as durably:
        first = await durably.trigger(stand(), concurrency_key="k")
        await gate.entered.wait()
        await durably.trigger(stand(), concurrency_key="k")
        diagnosis = await durably.doctor()
        gate.open()

    assert kinds(diagnosis) == [("running",), ("key-busy",)]
    assert first.id in str(diagnosis.runs[1])


async def test_waiting_run_names_its_waits_and_how_long_they_last(tab: Tab) -> None:
    @job
    async def ask(step: Step) -> None:
        wait = await step.prepare_wait("approval", timeout=60)
        await step.wait_for(wait)

    async with tab.durably(ask) as durably:
        handle = await durably.trigger(ask())
        (wait,) = await waits_of(durably, handle.id)
        await tab.clock.advance(20)
        diagnosis = await durably.doctor()

    assert only(diagnosis).kinds == ("waiting",)
    assert f"'approval' ({wait.id}), for 40 s more" in str(diagnosis)


async def test_hidden_page_claims_nothing_and_holds_steps_that_are_to_pause(
    tab: Tab, gate: Gate
) -> None:
    @job
    async def two_steps(step: Step) -> None:
        await step.run("gate", gate)
        await step.run("next", str)

    async with tab.durably(two_steps, idle, on_hidden="pause", max_concurrent_runs=2) as durably:
        await durably.trigger(two_steps())
        await gate.entered.wait()
        tab.visibility.hide()
        gate.open()
        await settle()
        await durably.trigger(idle())
        diagnosis = await durably.doctor()
        tab.visibility.show()
        await settle()

    assert kinds(diagnosis) == [("hidden", "running"), ("hidden", "next")]


async def test_full_storage_is_why_nothing_is_claimed(tab: Tab, gate: Gate) -> None:
    @job
    async def stand(step: Step) -> None:
        await step.run("gate", gate)

    async with tab.durably(stand, idle, max_concurrent_runs=2) as durably:
        await durably.trigger(stand())
        await gate.entered.wait()
        tab.visibility.hide()
        await durably.trigger(idle())
        tab.disk.fail(tab.disk.writes + 1, "full")
        gate.open()
        await settle()
        tab.visibility.show()
        await settle()
        diagnosis = await durably.doctor()
        await tab.clock.advance(4)

    assert kinds(diagnosis) == [("storage-full", "running"), ("storage-full", "next")]
    assert diagnosis.health.is_full


@dataclass
class Order:
    number: int


async def test_run_that_cannot_be_read_here_is_unreadable(
    tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    @job
    async def take(step: Step, order: object) -> None: ...

    async with tab.durably(take, autostart=False) as durably:
        await durably.trigger(take(Order(1)))
    monkeypatch.delitem(globals(), "Order")
    async with tab.durably(take) as durably:
        await settle()
        diagnosis = await durably.doctor()

    assert only(diagnosis).kinds == ("unreadable",)


async def test_run_of_another_process_names_its_owner(
    processes: tuple[Process, Process], gate: Gate, clock: FakeClock
) -> None:
    @job
    async def stand(step: Step) -> None:
        await step.run("gate", gate)

    one, two = processes
    async with one.durably(stand) as worker, two.durably(stand) as other:
        await worker.trigger(stand())
        await gate.entered.wait()
        (run,) = await other.list_runs()
        clock.block(3)
        diagnosis = await other.doctor()
        gate.open()

    assert only(diagnosis).kinds == ("owned-elsewhere",)
    assert f"{run.lease_owner!r} has it, whose last heartbeat was 3 s ago" in str(diagnosis)


async def test_run_that_is_interrupted_again_and_again_is_near_a_crash_loop(
    tab: Tab,
) -> None:
    for number in range(3):
        gate = Gate()

        @job
        async def stand(step: Step) -> None:
            await step.run("gate", gate)  # noqa: B023

        async with tab.life(stand) as life:
            if number == 0:
                await life.durably.trigger(stand())
            await gate.entered.wait()
            await life.kill()
    async with tab.durably(idle, max_interruptions=5) as durably:
        await settle()
        diagnosis = await durably.doctor()

    assert only(diagnosis).kinds == ("unknown-job", "near-crash-loop")
    assert only(diagnosis).interruptions == 3
    assert "more than 5 times" in str(diagnosis)


async def test_few_interruptions_are_no_crash_loop(tab: Tab, gate: Gate) -> None:
    @job
    async def stand(step: Step) -> None:
        await step.run("gate", gate)

    await interrupted(tab, stand, gate)
    async with tab.durably(idle) as durably:
        await settle()
        diagnosis = await durably.doctor()

    assert only(diagnosis).kinds == ("unknown-job",)
    assert only(diagnosis).interruptions == 1


async def test_run_that_is_cancelled_while_its_step_does_not_end_is_not_unfinished(
    tab: Tab, gate: Gate
) -> None:
    @job
    async def stand(step: Step) -> None:
        await step.run("gate", gate)

    async with tab.durably(stand) as durably:
        handle = await durably.trigger(stand())
        await gate.entered.wait()
        await durably.cancel(handle.id)
        diagnosis = await durably.doctor()

    assert diagnosis.unfinished == 0


async def test_doctor_looks_at_the_oldest_runs_and_counts_all(tab: Tab) -> None:
    async with tab.durably(idle, autostart=False) as durably:
        handles = [await durably.trigger(idle()) for _ in range(5)]
        diagnosis = await durably.doctor(limit=2)

    assert [run.run_id for run in diagnosis.runs] == [handle.id for handle in handles[:2]]
    assert diagnosis.unfinished == 5
    assert "5 unfinished runs" in str(diagnosis)


async def test_limit_has_to_be_a_number_of_runs(tab: Tab) -> None:
    async with tab.durably(idle) as durably:
        with pytest.raises(InvalidOption):
            await durably.doctor(limit=-1)


async def test_doctor_changes_nothing(tab: Tab) -> None:
    async with tab.durably(idle, autostart=False) as durably:
        await durably.trigger(idle())
        image, writes = tab.disk.image, tab.disk.writes
        told: list[object] = []
        durably.on("*", told.append)
        first, second = await durably.doctor(), await durably.doctor()
        await tab.clock.advance(1)

    assert first == second
    assert told == []
    assert (tab.disk.image, tab.disk.writes) == (image, writes)


# What is stored


def tamper(disk: MemoryDisk, path: Path, *statements: str) -> None:
    """Change the tables behind the library's back."""
    path.write_bytes(disk.image)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma ignore_check_constraints = on")
    for statement in statements:
        connection.execute(statement)
    connection.close()
    disk.image = path.read_bytes()


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("update steps set run_id = 'nobody'", "step 'nobody/work' belongs to no run"),
        (
            "insert into steps select run_id, name, position + 1, attempt, status, output, error, "
            "started_at, completed_at from steps",
            "/work' is stored twice",
        ),
        (
            "insert into attempts (run_id, step, number, started_at) values ('nobody', 's', 1, 1)",
            "attempt 'nobody/s/1' belongs to no run",
        ),
        ("update waits set run_id = 'nobody'", "belongs to no run"),
        (
            "insert into logs values (7, 'nobody', 1, 'info', 'hello', '', null)",
            "log line 7 belongs to no run",
        ),
        ("insert into labels values ('team', 'red', 99)", "label 'team=red' belongs to no run"),
        ("update waits set is_awaited = 0", "waits for nothing that is open"),
        (
            "update runs set status = 'cancelled' where status = 'waiting'",
            "CHECK constraint failed in runs",
        ),
    ],
)
async def test_table_that_breaks_a_rule_is_told(
    tab: Tab, tmp_path: Path, statement: str, problem: str
) -> None:
    @job
    async def ask(step: Step) -> None:
        await step.run("work", str)
        await step.wait_for(await step.prepare_wait("approval"))

    async with tab.durably(ask) as durably:
        await waits_of(durably, (await durably.trigger(ask())).id)
        assert (await durably.doctor()).is_sound
    tamper(tab.disk, tmp_path / "copy", statement)

    async with tab.durably(ask) as durably:
        diagnosis = await durably.doctor()

    assert not diagnosis.is_sound
    assert any(problem in found for found in diagnosis.problems), diagnosis.problems
    assert problem in str(diagnosis)


async def test_key_with_two_running_runs_is_told(
    processes: tuple[Process, Process], gate: Gate, tmp_path: Path
) -> None:
    @job
    async def stand(step: Step) -> None:
        await step.run("gate", gate)

    one, two = processes
    async with one.durably(stand) as worker, two.durably(stand, autostart=False) as other:
        await worker.trigger(stand(), concurrency_key="k")
        await gate.entered.wait()
        await worker.trigger(stand(), concurrency_key="k")
        connection = sqlite3.connect(tmp_path / "shared.sqlite3", isolation_level=None)
        connection.execute(
            "update runs set status = 'running', lease_owner = 'x', heartbeat_at = 1"
            " where status = 'pending'"
        )
        connection.close()
        diagnosis = await other.doctor()
        gate.open()

    assert "concurrency key 'stand/k' has more than one running run" in diagnosis.problems


@pytest.mark.cpython_only
async def test_file_that_sqlite_finds_torn_is_told(tmp_path: Path) -> None:
    @job
    async def fill(step: Step) -> None:
        for number in range(50):
            await step.run("fill", bytes, 2000, key=number)

    environment = local_environment("test", tmp_path)
    async with Durably(
        "test", jobs=[fill], environment=environment, preserve_steps=True
    ) as durably:
        await (await durably.trigger(fill())).result()
    path = tmp_path / "test.sqlite3"
    image = bytearray(path.read_bytes())
    image[-8 * 2048 :] = bytes(8 * 2048)
    path.write_bytes(image)

    async with Durably("test", jobs=[fill], environment=environment) as durably:
        diagnosis = await durably.doctor()

    assert not diagnosis.is_sound


async def test_storage_that_differs_from_memory_is_told_and_left_as_it_is(tab: Tab) -> None:
    async with tab.durably(idle) as durably:
        await (await durably.trigger(idle())).result()
        altered = tab.disk.image[:5000] + b"?" + tab.disk.image[5001:]
        tab.disk.image = altered
        diagnosis = await durably.doctor()
        after = tab.disk.image

    assert diagnosis.problems == (
        "In the storage: page 1 is stored otherwise than it is in memory",
    )
    assert after == altered
