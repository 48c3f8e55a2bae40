"""What cannot be read is left as it is; flushing; and the plans of the hot queries."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from durably import (
    DamagedDatabase,
    Durably,
    NewerSchema,
    Step,
    StorageFull,
    StorageLost,
    StorageRefused,
    job,
)
from durably import opening as opening_module
from durably.clock import SystemClock
from durably.database import Database, TermEnded
from durably.local import FileMirror, local_environment
from durably.model import Durability, Progress
from durably.ports import Landed
from durably.store.runs import NewRun
from durably.testing import FakeClock, MemoryDisk, MemoryMirror, settle
from tests.core.kit import OpenStore, Tab, record, steps_told


@job
async def idle(step: Step) -> str:
    return "done"


# What cannot be read is left as it is


async def stored(tab: Tab) -> bytes:
    async with tab.durably(idle) as durably:
        await (await durably.trigger(idle())).result()
    return tab.disk.image


async def test_garbage_is_refused_and_left_as_it_is(tab: Tab) -> None:
    tab.disk.image = b"not a database" * 100

    with pytest.raises(DamagedDatabase, match="Nothing was overwritten"):
        await tab.durably(idle).__aenter__()
    assert tab.disk.image == b"not a database" * 100


async def test_damaged_header_is_refused_and_left_as_it_is(tab: Tab) -> None:
    image = await stored(tab)
    damaged = image[:16] + b"\xff" * 84 + image[100:]
    tab.disk.image = damaged

    with pytest.raises(DamagedDatabase):
        await tab.durably(idle).__aenter__()
    assert tab.disk.image == damaged


async def test_half_a_database_is_refused_and_left_as_it_is(tab: Tab) -> None:
    half = (await stored(tab))[: 4096 + 100]
    tab.disk.image = half

    with pytest.raises(DamagedDatabase):
        await tab.durably(idle).__aenter__()
    assert tab.disk.image == half


def changed(tmp_path: Path, image: bytes, *statements: str) -> bytes:
    path = tmp_path / "changed.sqlite3"
    path.write_bytes(image)
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()
    return path.read_bytes()


async def test_newer_schema_is_refused_and_left_as_it_is(tab: Tab, tmp_path: Path) -> None:
    newer = changed(tmp_path, await stored(tab), "pragma user_version = 999")
    tab.disk.image = newer

    with pytest.raises(NewerSchema, match="schema 999") as caught:
        await tab.durably(idle).__aenter__()
    assert caught.value.found == 999
    assert tab.disk.image == newer


@pytest.mark.parametrize("version", [1, 2])
async def test_database_from_before_the_first_release_is_refused_and_left_as_it_is(
    tab: Tab, tmp_path: Path, version: int
) -> None:
    old = changed(tmp_path, await stored(tab), f"pragma user_version = {version}")
    tab.disk.image = old

    with pytest.raises(DamagedDatabase, match="before the first release"):
        async with tab.durably(idle):
            pass
    assert tab.disk.image == old


FOREIGN = ["create table customers (id)", "insert into customers values (1)"]


@pytest.mark.parametrize("user_version", [0, 1, 999])
@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
@pytest.mark.cpython_only
async def test_database_of_another_program_is_refused_and_left_as_it_is(
    tmp_path: Path, user_version: int, journal_mode: str
) -> None:
    path = tmp_path / "shop.sqlite3"
    foreign = changed(
        tmp_path,
        b"",
        f"pragma journal_mode = {journal_mode}",
        *FOREIGN,
        f"pragma user_version = {user_version}",
    )
    path.write_bytes(foreign)

    with pytest.raises(DamagedDatabase, match="another program"):
        await Durably(
            "shop", jobs=[idle], environment=local_environment("shop", tmp_path)
        ).__aenter__()
    assert path.read_bytes() == foreign


@pytest.mark.cpython_only
async def test_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "shop.sqlite3"
    path.write_bytes(b"these are my notes" * 100)

    with pytest.raises(DamagedDatabase):
        await Durably("shop", environment=local_environment("shop", tmp_path)).__aenter__()
    assert path.read_bytes() == b"these are my notes" * 100


@pytest.mark.cpython_only
async def test_newer_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    async with Durably("shop", environment=local_environment("shop", tmp_path)):
        pass
    path = tmp_path / "shop.sqlite3"
    newer = changed(tmp_path, path.read_bytes(), "pragma user_version = 999")
    path.write_bytes(newer)

    with pytest.raises(NewerSchema):
        await Durably("shop", environment=local_environment("shop", tmp_path)).__aenter__()
    assert path.read_bytes() == newer


@pytest.mark.cpython_only
async def test_folder_in_the_place_of_the_file_is_refused_storage(tmp_path: Path) -> None:
    (tmp_path / "shop.sqlite3").mkdir()

    with pytest.raises(StorageRefused):
        await Durably("shop", environment=local_environment("shop", tmp_path)).__aenter__()


@pytest.mark.cpython_only
async def test_file_holds_what_was_stored_for_the_next_life(tmp_path: Path) -> None:
    async with Durably("shop", jobs=[idle], environment=local_environment("shop", tmp_path)) as one:
        handle = await one.trigger(idle())
        await handle.result()

    async with Durably("shop", environment=local_environment("shop", tmp_path / ".")) as two:
        assert await two.result(handle.id) == "done"


@pytest.mark.cpython_only  # In Pyodide the default is the browser's environment.
async def test_default_environment_is_a_file_in_the_directory(tmp_path: Path) -> None:
    async with Durably("shop", jobs=[idle], directory=tmp_path / "data") as durably:
        assert await (await durably.trigger(idle())).result() == "done"

    assert (tmp_path / "data" / "shop.sqlite3").exists()


# Files that other programs hold


def holder(path: Path) -> sqlite3.Connection:
    """Another program in the middle of a write."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("begin immediate")
    return connection


@pytest.mark.cpython_only  # The file system of Pyodide has no locks.
async def test_file_that_others_are_just_creating_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening_module, "BUSY_TIMEOUT", 0.05)
    path, clock = tmp_path / "shop.sqlite3", FakeClock()
    database = Database("shop", FileMirror("shop", path), clock)
    other = holder(path)
    opening = asyncio.ensure_future(database.open())
    await settle()
    was_waiting = not opening.done()
    other.close()
    await clock.advance(0.02)
    await opening
    await database.close()

    assert was_waiting


@pytest.mark.cpython_only  # The file system of Pyodide has no locks.
async def test_file_that_another_program_never_lets_go_is_refused_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening_module, "BUSY_TIMEOUT", 0.05)
    path, clock = tmp_path / "shop.sqlite3", FakeClock()
    database = Database("shop", FileMirror("shop", path), clock)
    other = holder(path)
    opening = asyncio.ensure_future(database.open())
    await clock.advance(1)

    with pytest.raises(StorageRefused):
        await opening
    await database.close()
    other.close()


@pytest.mark.cpython_only  # The file system of Pyodide has no locks.
async def test_write_to_a_file_that_is_held_for_too_long_says_why_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening_module, "BUSY_TIMEOUT", 0.05)
    environment = local_environment("shop", tmp_path)
    async with Durably("shop", jobs=[idle], environment=environment) as durably:
        other = holder(tmp_path / "shop.sqlite3")
        with pytest.raises(StorageLost, match="another program"):
            await durably.trigger(idle())
        other.close()

        assert await durably.list_runs() == []
        assert await (await durably.trigger(idle())).result() == "done"


# Flushing


async def test_flushes_that_come_while_a_commit_is_under_way_share_the_next(
    opened: OpenStore,
) -> None:
    before = opened.disk.writes
    opened.trigger()
    flushes = [asyncio.ensure_future(opened.database.flush())]
    await asyncio.sleep(0)
    for _ in range(20):
        opened.trigger()
        flushes.append(asyncio.ensure_future(opened.database.flush()))
    await asyncio.gather(*flushes)

    assert opened.disk.writes - before == 2


async def test_flushes_of_one_turn_need_one_commit(opened: OpenStore) -> None:
    before = opened.disk.writes
    for _ in range(20):
        opened.trigger()
    await asyncio.gather(*(opened.database.flush() for _ in range(20)))

    assert opened.disk.writes - before == 1


async def test_those_whom_one_commit_wakes_share_the_next(opened: OpenStore) -> None:
    async def write_often() -> None:
        for _ in range(5):
            opened.trigger()
            await opened.database.flush()

    before = opened.disk.writes
    await asyncio.gather(*(write_often() for _ in range(8)))

    # The first is alone with its first write; from then on all go together.
    assert opened.disk.writes - before == 6


class StallingMirror(MemoryMirror):
    """Lets code that a landed commit calls do as if it waited in ``run_sync``."""

    def commit(self, durability: Durability, landed: Landed) -> bool:
        self._landed = landed
        return super().commit(durability, landed)

    def on_stall(self, callback: Callable[[], Durability | None]) -> None:
        self._wake = callback

    def stall(self) -> None:
        if (wanted := self._wake()) is not None:
            self.commit(wanted, self._landed)


async def test_who_stands_still_where_a_commit_lands_holds_nobody_up() -> None:
    disk, told = MemoryDisk(), list[object]()
    mirror = StallingMirror("test", disk)
    database = Database("test", mirror, FakeClock())

    async def write_twice(name: str) -> None:
        for number in range(2):
            database.write(
                "insert into runs (id, job, input, created_at) values (?, 'j', '{}', 0)",
                (f"{name}{number}",),
            )
            await database.flush()
            told.append(name)

    def stand_still(commit: int) -> None:
        told.append("still")
        mirror.stall()
        told.append("goes on")

    await database.open()
    before = disk.writes
    database.on_durable = stand_still
    await asyncio.gather(write_twice("a"), write_twice("b"))

    assert told == [
        *("still", "a", "goes on"),  # alone with its first write
        *("still", "a", "b", "goes on"),
        *("still", "b", "goes on"),
    ]
    assert disk.writes - before == 3
    database.on_durable = lambda commit: None
    await database.close()


async def test_commit_of_many_is_as_strict_as_the_strictest_asks(
    opened: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = []
    commit = MemoryMirror.commit

    def note(self: MemoryMirror, durability: object, *rest: object) -> object:
        levels.append(durability)
        return commit(self, durability, *rest)  # type: ignore[arg-type]

    async def write_twice(durability: Durability) -> None:
        for _ in range(2):
            opened.trigger()
            await opened.database.flush(durability)

    monkeypatch.setattr(MemoryMirror, "commit", note)
    await asyncio.gather(write_twice("relaxed"), write_twice("strict"), write_twice("relaxed"))

    assert levels == ["relaxed", "strict", "strict"]


async def test_who_writes_behind_a_commit_that_failed_is_told(
    opened: OpenStore,
) -> None:
    outcomes: list[object] = []

    async def write_again() -> None:
        opened.trigger()
        with pytest.raises(StorageLost):
            await opened.database.flush()
        try:
            await opened.database.flush()
        except StorageLost as error:
            outcomes.append(error)

    opened.disk.fail(at=opened.disk.writes + 1, fault="lost")
    await asyncio.gather(write_again(), write_again())

    assert len(outcomes) == 2


async def test_flush_with_nothing_new_costs_nothing(opened: OpenStore) -> None:
    before = opened.disk.writes
    await opened.database.flush()
    await opened.database.flush("strict")

    assert opened.disk.writes == before


async def test_flush_covers_what_was_written_while_another_was_under_way(opened: OpenStore) -> None:
    opened.trigger()
    first = asyncio.ensure_future(opened.database.flush())
    await asyncio.sleep(0)  # The commit is under way, and does not hold what comes now.
    late = opened.trigger()
    await opened.database.flush()
    await first

    assert late.id.encode() in opened.disk.image


async def test_flush_that_is_started_while_another_is_under_way_is_not_forgotten(
    opened: OpenStore,
) -> None:
    opened.database.start_flush()
    run = opened.trigger()
    opened.database.start_flush()
    await settle()

    assert run.id.encode() in opened.disk.image


async def test_strict_flush_is_not_satisfied_by_a_relaxed_commit(
    opened: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = []
    commit = MemoryMirror.commit

    def note(self: MemoryMirror, durability: object, *rest: object) -> object:
        levels.append(durability)
        return commit(self, durability, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryMirror, "commit", note)
    opened.trigger()
    await asyncio.gather(opened.database.flush("relaxed"), opened.database.flush("strict"))

    assert levels == ["relaxed", "strict"]


async def test_strict_step_asks_for_a_strict_commit(
    tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = []
    commit = MemoryMirror.commit

    def note(self: MemoryMirror, durability: object, *rest: object) -> object:
        levels.append(durability)
        return commit(self, durability, *rest)  # type: ignore[arg-type]

    @job
    async def pay(step: Step) -> None:
        levels.clear()
        await step.run("pay", lambda: None, durability="strict")
        assert levels == ["strict"]

    monkeypatch.setattr(MemoryMirror, "commit", note)
    async with tab.durably(pay) as durably:
        await (await durably.trigger(pay())).result()


async def test_commit_that_lands_after_the_close_is_told_to_nobody() -> None:
    told: list[object] = []
    database = Database("test", MemoryMirror("test", MemoryDisk()), FakeClock())
    await database.open()
    database.on_durable = told.append
    database.on_failure = told.append
    database.write("insert into runs (id, job, input, created_at) values ('r', 'j', '{}', 0)", {})
    flushing = asyncio.ensure_future(database.flush())
    await asyncio.sleep(0)
    await database.close()
    await settle()

    assert told == []
    flushing.cancel()
    await asyncio.wait([flushing])


async def test_end_of_a_term_is_one_last_commit(opened: OpenStore) -> None:
    before = opened.disk.writes
    in_time = opened.trigger()
    opened.database.end_term()
    late = opened.trigger()
    opened.database.start_flush()
    with pytest.raises(TermEnded):
        await opened.database.flush()
    opened.database.end_term()
    await settle()

    assert opened.disk.writes - before == 1
    assert in_time.id.encode() in opened.disk.image
    assert late.id.encode() not in opened.disk.image


async def test_last_commit_of_a_term_that_is_fenced_is_told_to_nobody(opened: OpenStore) -> None:
    told: list[object] = []
    opened.database.on_failure = told.append
    opened.trigger()
    opened.disk.epoch += 1  # Another tab was quicker.
    opened.database.end_term()
    await settle()

    assert told == []


async def test_waiter_that_is_cancelled_undoes_no_flush(opened: OpenStore) -> None:
    run = opened.trigger()
    impatient = asyncio.ensure_future(opened.database.flush())
    patient = asyncio.ensure_future(opened.database.flush())
    await asyncio.sleep(0)
    impatient.cancel()
    await patient

    assert impatient.cancelled()
    assert run.id.encode() in opened.disk.image


async def test_full_storage_fails_a_flush_at_once_when_nobody_wants_to_wait(
    opened: OpenStore,
) -> None:
    opened.trigger()
    opened.disk.fail(opened.disk.writes + 1, "full")
    opened.database.stop_waiting()

    with pytest.raises(StorageFull):
        await opened.database.flush()


async def test_transaction_that_fails_leaves_nothing(opened: OpenStore) -> None:
    def trigger_and_fail() -> None:
        with opened.database.transaction():
            opened.trigger()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trigger_and_fail()
    assert (
        opened.store.runs.find(statuses=(), jobs=None, labels={}, before=None, limit=10, offset=0)
        == []
    )


async def test_checkpoint_is_one_durable_commit(tab: Tab) -> None:
    writes = []

    @job
    async def three_steps(step: Step) -> None:
        for name in "abc":
            await step.run(name, lambda: writes.append(tab.disk.writes))

    async with tab.durably(three_steps) as durably:
        told = record(durably)
        await (await durably.trigger(three_steps())).result()

        assert [write - writes[0] for write in writes] == [0, 1, 2]
        assert steps_told(told, "step:complete") == ["a", "b", "c"]


# Query plans


SHORT_INDEXES = {"waits_due"}
"""It holds nothing but what is asked for, so going through it from its start is the plan."""


async def test_no_statement_of_daily_work_scans_a_table(opened: OpenStore) -> None:
    statements: list[str] = []
    connection = opened.database._open_connection()
    connection.set_trace_callback(statements.append)
    store = opened.store
    new = NewRun("job", "{}", idempotency_key="k", concurrency_key="c", coalesce="active")
    run = store.runs.create(new, 1).run
    assert run is not None
    store.runs.create(new, 2)
    store.runs.create(NewRun("job", "{}", concurrency_key="c", coalesce="active"), 2)
    lease = opened.claim().lease
    store.leases.renew(lease, 1)
    store.leases.running()
    store.leases.pending_jobs()
    store.steps.checkpoint(lease, "s", position=1, attempt=1, output="1", started_at=0, now=1)
    store.steps.save_attempt(lease, "t", 1, started_at=1, metadata="{}")
    store.steps.stored(run.id)
    store.steps.output(run.id, 1)
    store.steps.last_attempts(run.id)
    store.waits.prepare(lease, "w", "wait", metadata="null", deadline_at=9, now=1)
    store.waits.named(run.id, "wait")
    store.leases.suspend(lease, ["w"], 1)
    store.waits.expire(5, 5)
    store.waits.next_deadline()
    store.waits.signal("w", "s", "1", 2)
    store.waits.payload("w")
    lease = opened.claim().lease
    store.logs.add(lease, "info", "m", "{}", None, 1)
    store.logs.of_run(run.id, 0, 10)
    store.leases.save_progress(lease, Progress(1))
    store.leases.requeue(lease, 20, "unknown", 2)
    store.leases.release(opened.claim().lease, 3)
    store.leases.complete(opened.claim().lease, "1", 4, keeps_outputs=False)
    store.runs.cancel(run.id, 1, keeps_outputs=False)
    store.runs.get(run.id)
    store.retention.first_end()
    store.retention.purge(9, 100, 9)
    connection.set_trace_callback(None)
    plans = plans_of(connection, statements)

    scans = {
        sql: plan
        for sql, plan in plans.items()
        for table, index in re.findall(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", plan)
        if table != "json_each" and index not in SHORT_INDEXES
    }
    assert scans == {}
    assert len(plans) >= 35


async def test_claim_finds_the_oldest_pending_run_without_sorting(opened: OpenStore) -> None:
    statements: list[str] = []
    opened.trigger()
    connection = opened.database._open_connection()
    connection.set_trace_callback(statements.append)
    opened.claim()
    connection.set_trace_callback(None)
    (plan,) = plans_of(connection, statements).values()

    assert "SEARCH candidate USING INDEX runs_by_status (status=?)" in plan
    assert "busy USING COVERING INDEX runs_keys" in plan
    assert "TEMP B-TREE" not in plan


async def test_checks_of_a_run_make_no_tables(opened: OpenStore) -> None:
    """As an ``in`` of more than two values would, for each statement that writes a run."""
    statements: list[str] = []
    connection = opened.database._open_connection()
    connection.set_trace_callback(statements.append)
    opened.trigger()
    connection.set_trace_callback(None)
    (insert,) = (sql for sql in statements if "insert into runs" in sql)
    steps = [row["opcode"] for row in connection.execute(f"explain {insert}")]

    assert "Insert" in steps
    # The index of concurrency keys has one, which a run without a key does not come to.
    assert steps.count("OpenEphemeral") <= 1


def plans_of(connection: sqlite3.Connection, statements: list[str]) -> dict[str, str]:
    """How SQLite would carry out each statement, in one line; transactions are left out."""
    return {
        sql: "; ".join(row["detail"] for row in connection.execute(f"explain query plan {sql}"))
        for sql in statements
        if not sql.startswith(("--", "begin", "commit"))
    }


@pytest.mark.cpython_only
async def test_clock_of_a_file_is_the_machines_own(tmp_path: Path) -> None:
    environment = local_environment("shop", tmp_path)
    database = Database("shop", FileMirror("shop", tmp_path / "a" / "shop.sqlite3"), FakeClock())
    await database.open()
    await database.close()

    assert isinstance(environment.clock, SystemClock)
    assert (tmp_path / "a" / "shop.sqlite3").exists()


async def test_reader_does_not_wait_for_a_writer_that_was_cancelled(opened: OpenStore) -> None:
    database = opened.database

    async def write() -> None:
        opened.trigger()
        await database.flush()

    first, second = asyncio.ensure_future(write()), asyncio.ensure_future(write())
    await asyncio.sleep(0)
    second.cancel()  # It waits for the commit of the first, to start one of its own.
    await first
    reading = asyncio.ensure_future(database.settle())
    await settle()

    assert reading.done()
    reading.cancel()
