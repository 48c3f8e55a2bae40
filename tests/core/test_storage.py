"""What happens to the storage under a program, and what must not happen to what is stored."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path

import pytest

from durably import (
    DamagedDatabase,
    Durably,
    NewerSchema,
    RunStatus,
    Step,
    StorageError,
    StorageFenced,
    StorageFull,
    StorageLost,
    StorageRefused,
    job,
)
from durably.clock import SystemClock
from durably.database import Database
from durably.local import FileMirror, local_environment
from durably.testing import FakeClock, MemoryDisk, MemoryMirror, settle
from tests.core.kit import Bodies, Gate, OpenStore, Tab, record, steps_told, types, until


@job
async def idle(step: Step) -> str:
    return "done"


# Two tabs


def second_tab(first: Tab) -> Tab:
    return Tab(disk=first.disk, clock=first.clock, lock=first.lock)


async def test_second_tab_waits_and_says_so(tab: Tab, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "durably"):
        async with tab.durably(idle):
            waiting = second_tab(tab).durably(idle)
            told = record(waiting)
            entering = asyncio.ensure_future(waiting.__aenter__())
            await settle()

            assert types(told) == ["tab:follower"]
            assert not entering.done()
            entering.cancel()
            await settle()
    assert "Another tab leads 'test'" in caplog.text


async def test_second_tab_leads_when_the_first_closes(tab: Tab) -> None:
    first = tab.durably(idle)
    await first.__aenter__()
    handle = await first.trigger(idle())
    await handle.result()
    second = second_tab(tab).durably(idle)
    told = record(second)
    entering = asyncio.ensure_future(second.__aenter__())
    await settle()
    await first.__aexit__(None, None, None)
    await entering

    assert types(told) == ["tab:follower", "tab:leader"]
    assert await second.result(handle.id) == "done"
    await second.__aexit__(None, None, None)


async def test_tab_that_gives_up_waiting_stands_in_nobodys_way(tab: Tab) -> None:
    async with tab.durably(idle):
        entering = asyncio.ensure_future(second_tab(tab).durably(idle).__aenter__())
        await settle()
        entering.cancel()
        await settle()

    async with second_tab(tab).durably(idle) as third:
        assert await (await third.trigger(idle())).result() == "done"


async def test_lost_leadership_ends_the_term_and_a_new_one_begins(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    @job
    async def two_steps(step: Step) -> str:
        await step.run("a", bodies, "a")
        await gate()
        return await step.run("b", bodies, "b")

    async with tab.durably(two_steps) as durably:
        handle = await durably.trigger(two_steps())
        await gate.entered.wait()
        told = record(durably)
        epoch = tab.disk.epoch
        durably._environment.leadership.lose()  # type: ignore[attr-defined]
        gate.open()

        assert await handle.result() == "b is done"
        assert types(told)[0] == "tab:leader"
        assert tab.disk.epoch == epoch + 1
        assert bodies.ran == ["a", "b"]


async def test_commit_under_way_when_the_leadership_is_lost_does_not_count_for_the_next_term(
    tab: Tab,
) -> None:
    async with tab.durably(idle) as durably:
        for _ in range(5):
            await (await durably.trigger(idle())).result()
        triggering = asyncio.ensure_future(durably.trigger(idle()))
        await asyncio.sleep(0)
        durably._environment.leadership.lose()  # type: ignore[attr-defined]
        told = record(durably)
        await settle()
        await asyncio.gather(triggering, return_exceptions=True)

        assert types(told).count("tab:leader") == 1
        assert "storage:lost" not in types(told)
        assert await (await durably.trigger(idle())).result() == "done"


async def test_waiting_for_a_result_outlives_a_term(tab: Tab, gate: Gate) -> None:
    @job
    async def wait(step: Step) -> str:
        return await step.run("wait", gate)

    async with tab.durably(wait) as durably:
        handle = await durably.trigger(wait())
        waiting = asyncio.ensure_future(handle.result())
        await gate.entered.wait()
        tab.disk.epoch += 1  # Another tab takes over, and is gone again.
        gate.open()

        assert await waiting == "passed"


async def test_fenced_tab_writes_nothing_more(tab: Tab, gate: Gate, bodies: Bodies) -> None:
    @job
    async def two_steps(step: Step) -> None:
        await step.run("a", gate)
        await step.run("b", bodies, "b")

    async with tab.durably(two_steps) as durably:
        handle = await durably.trigger(two_steps())
        await gate.entered.wait()
        # Another tab has stolen the lock, and works on.
        stolen = asyncio.ensure_future(tab.lock.inner.acquire())
        other = Database("test", MemoryMirror("test", tab.disk), tab.clock)
        await other.open()
        image, writes = tab.disk.image, tab.disk.writes
        told = record(durably)
        gate.open()
        await settle()

        assert stolen.done()
        assert (tab.disk.image, tab.disk.writes) == (image, writes)
        assert "step:complete" not in types(told)
        assert set(types(told)) == {"tab:follower"}
        assert bodies.ran == []
        await other.close()
        tab.lock.inner.release()
        await durably.result(handle.id)
        assert gate.visits == 2


async def test_fenced_trigger_raises(tab: Tab) -> None:
    async with tab.durably(idle) as durably:
        tab.disk.epoch += 1

        with pytest.raises(StorageFenced):
            await durably.trigger(idle())


# Full


async def test_full_storage_loses_nothing_and_goes_on_when_there_is_room(
    tab: Tab, bodies: Bodies, gate: Gate
) -> None:
    @job
    async def two_steps(step: Step) -> str:
        await step.run("a", gate)
        return await step.run("b", bodies, "b")

    async with tab.durably(two_steps) as durably:
        handle = await durably.trigger(two_steps())
        await gate.entered.wait()
        told = record(durably)
        tab.disk.fail(tab.disk.writes + 1, "full")
        gate.open()
        await settle()
        while_full = types(told)
        await tab.clock.advance(2)

        assert while_full == ["storage:full"]
        assert await handle.result() == "b is done"
        assert (bodies.ran, gate.visits) == (["b"], 1)


async def test_full_storage_is_told_once_however_often_it_is_tried(tab: Tab) -> None:
    async with tab.durably(idle) as durably:
        told = record(durably)
        stay_full(tab.disk)
        triggering = asyncio.ensure_future(durably.trigger(idle()))
        await tab.clock.advance(30)
        tab.disk.revive()
        make_room(tab.disk)
        await tab.clock.advance(2)

        assert types(told).count("storage:full") == 1
        assert await (await triggering).result() == "done"


async def test_nothing_is_claimed_while_the_storage_is_full(tab: Tab, bodies: Bodies) -> None:
    @job
    async def start(step: Step) -> None:
        bodies("start")

    async with tab.durably(start) as durably:
        stay_full(tab.disk)
        triggering = asyncio.ensure_future(durably.trigger(start()))
        await tab.clock.advance(60)
        ran_while_full = list(bodies.ran)
        make_room(tab.disk)
        await tab.clock.advance(2)
        await (await triggering).result()

        assert ran_while_full == []


async def test_waiting_run_is_not_claimed_while_the_storage_is_full(tab: Tab, gate: Gate) -> None:
    @job
    async def wait(step: Step) -> None:
        await step.run("wait", gate)

    async with tab.durably(wait, idle, max_concurrent_runs=2) as durably:
        await durably.trigger(wait())
        await gate.entered.wait()
        tab.visibility.hide()
        waiting = await durably.trigger(idle())
        stay_full(tab.disk)
        gate.open()
        await settle()
        tab.visibility.show()
        await settle()
        while_full = (await durably.get_run(waiting.id)).status
        make_room(tab.disk)
        await tab.clock.advance(4)

        assert while_full is RunStatus.PENDING
        assert await waiting.result() == "done"


async def test_program_can_be_left_while_the_storage_is_full(
    tab: Tab, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    @job
    async def wait(step: Step) -> None:
        await step.run("wait", gate)

    with caplog.at_level(logging.WARNING, "durably"):
        durably = tab.durably(wait, stop_timeout=3)
        await durably.__aenter__()
        handle = await durably.trigger(wait())
        await gate.entered.wait()
        stay_full(tab.disk)
        gate.open()
        await settle()
        leaving = asyncio.ensure_future(durably.__aexit__(None, None, None))
        await tab.clock.advance(10)
        assert leaving.done()
        make_room(tab.disk)

    assert "is full" in caplog.text
    async with tab.durably(wait) as later:
        assert await later.result(handle.id) == "passed" or gate.visits == 2


def stay_full(disk: MemoryDisk) -> None:
    """Every write fails from now on."""
    write = MemoryDisk.write

    def refuse(epoch: int, image: bytes) -> object:
        disk.fail(disk.writes + 1, "full")
        return write(disk, epoch, image)

    disk.write = refuse  # type: ignore[method-assign, assignment]


def make_room(disk: MemoryDisk) -> None:
    disk.revive()
    del disk.write


# Lost


async def test_lost_storage_is_told_and_the_next_term_goes_on(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    @job
    async def two_steps(step: Step) -> str:
        await step.run("a", bodies, "a")
        await step.run("gate", gate)
        return await step.run("b", bodies, "b")

    async with tab.durably(two_steps) as durably:
        handle = await durably.trigger(two_steps())
        await gate.entered.wait()
        told = record(durably)
        tab.disk.fail(tab.disk.writes + 1, "lost")
        gate.open()

        assert await handle.result() == "b is done"
        assert types(told)[:2] == ["storage:lost", "tab:leader"]
        # What was not acknowledged runs again; what was does not.
        assert (bodies.ran, gate.visits) == (["a", "b"], 2)


async def test_storage_that_cannot_be_reopened_is_raised_to_whoever_asks(
    tab: Tab, gate: Gate
) -> None:
    @job
    async def wait(step: Step) -> None:
        await step.run("wait", gate)

    async with tab.durably(wait) as durably:
        handle = await durably.trigger(wait())
        waiting = asyncio.ensure_future(handle.result())
        await gate.entered.wait()
        tab.disk.fail(tab.disk.writes + 1, "lost")
        gate.open()
        await until(lambda: tab.disk._plan is not None and tab.disk.writes >= tab.disk._plan[0])
        tab.disk.image = b"garbage"

        with pytest.raises(StorageError):
            await waiting
        with pytest.raises(DamagedDatabase):
            await durably.list_runs()


async def test_lost_trigger_raises(tab: Tab) -> None:
    async with tab.durably(idle) as durably:
        tab.disk.fail(tab.disk.writes + 1, "lost")

        with pytest.raises(StorageLost):
            await durably.trigger(idle())


# Refused


async def test_refused_storage_is_an_error_that_says_what_to_do(tab: Tab) -> None:
    tab.disk.fail(1, "refuse")

    with pytest.raises(StorageRefused, match="when_refused"):
        async with tab.durably(idle):
            pass


async def test_after_a_refusal_the_leadership_is_free_again(tab: Tab) -> None:
    tab.disk.fail(1, "refuse")
    with pytest.raises(StorageRefused):
        await tab.durably(idle).__aenter__()
    tab.disk.revive()

    async with second_tab(tab).durably(idle) as durably:
        assert await (await durably.trigger(idle())).result() == "done"


async def test_refused_storage_runs_in_memory_where_asked_for(tab: Tab) -> None:
    tab.disk.fail(1, "refuse")
    durably = tab.durably(idle, when_refused="memory")
    told = record(durably)
    async with durably:
        result = await (await durably.trigger(idle())).result()

    assert result == "done"
    assert types(told)[:2] == ["storage:memory", "tab:leader"]
    assert tab.disk.image == b""


async def test_refused_leadership_is_an_error_too(
    tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    durably = tab.durably(idle)
    refuse_leadership(durably, monkeypatch)

    with pytest.raises(StorageRefused, match="no Web Locks"):
        await durably.__aenter__()


async def test_refused_leadership_runs_in_memory_where_asked_for(
    tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    durably = tab.durably(idle, when_refused="memory")
    refuse_leadership(durably, monkeypatch)
    told = record(durably)
    async with durably:
        result = await (await durably.trigger(idle())).result()

    assert result == "done"
    assert types(told)[:2] == ["storage:memory", "tab:leader"]
    assert tab.disk.image == b""


def refuse_leadership(durably: Durably, monkeypatch: pytest.MonkeyPatch) -> None:
    async def acquire(on_wait: object) -> None:
        raise StorageRefused("test", "this page has no Web Locks")

    monkeypatch.setattr(durably._environment.leadership, "acquire", acquire)


async def test_error_nobody_foresaw_while_opening_is_raised(
    tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def take_over(self: MemoryMirror) -> str:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(MemoryMirror, "take_over", take_over)

    with pytest.raises(ZeroDivisionError, match="a bug"):
        await tab.durably(idle).__aenter__()


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


FOREIGN = ["create table customers (id)", "insert into customers values (1)"]


@pytest.mark.parametrize("user_version", [0, 1, 999])
@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
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


async def test_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "shop.sqlite3"
    path.write_bytes(b"these are my notes" * 100)

    with pytest.raises(DamagedDatabase):
        await Durably("shop", environment=local_environment("shop", tmp_path)).__aenter__()
    assert path.read_bytes() == b"these are my notes" * 100


async def test_newer_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    async with Durably("shop", environment=local_environment("shop", tmp_path)):
        pass
    path = tmp_path / "shop.sqlite3"
    newer = changed(tmp_path, path.read_bytes(), "pragma user_version = 2")
    path.write_bytes(newer)

    with pytest.raises(NewerSchema):
        await Durably("shop", environment=local_environment("shop", tmp_path)).__aenter__()
    assert path.read_bytes() == newer


async def test_folder_in_the_place_of_the_file_is_refused_storage(tmp_path: Path) -> None:
    (tmp_path / "shop.sqlite3").mkdir()

    with pytest.raises(StorageRefused):
        await Durably("shop", environment=local_environment("shop", tmp_path)).__aenter__()


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
    assert opened.store.list_runs((), (), 10, 0) == []


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


HOT_QUERIES = {
    "claim": (
        "select sequence from runs where status = 'pending' "
        "and job in (select value from json_each(:jobs)) order by sequence limit 1",
        "runs_pending",
    ),
    "running": ("select * from runs where status = 'running' order by sequence", "runs_running"),
    "steps of a run": (
        "select name, error, output from steps where run_id = :run_id",
        "sqlite_autoindex_steps_1",
    ),
    "step": (
        "select output from steps where run_id = :run_id and name = :name",
        "sqlite_autoindex_steps_1",
    ),
    "run": ("select * from runs where id = :id", "sqlite_autoindex_runs_1"),
    "key": (
        "select * from runs where job = :job and idempotency_key = :idempotency_key",
        "runs_idempotency",
    ),
}


@pytest.mark.parametrize(("query", "index"), HOT_QUERIES.values(), ids=HOT_QUERIES)
async def test_hot_query_uses_its_index(opened: OpenStore, query: str, index: str) -> None:
    names = ("jobs", "run_id", "name", "id", "job", "idempotency_key")
    rows = opened.database.read(f"explain query plan {query}", dict.fromkeys(names, "[]"))
    plan = "; ".join(row["detail"] for row in rows)

    assert index in plan
    assert "TEMP B-TREE" not in plan


async def test_every_statement_of_the_store_avoids_scanning_runs(opened: OpenStore) -> None:
    statements: list[str] = []
    connection = opened.database._open_connection()
    run = opened.trigger(key="k")
    connection.set_trace_callback(statements.append)
    opened.trigger(key="k")
    lease = opened.claim().lease
    store = opened.store
    store.renew(lease, 1)
    store.checkpoint(lease, "s", output="1", started_at=0, now=1)
    store.stored_steps(run.id)
    store.step_output(run.id, "s")
    store.get_steps(run.id)
    store.running()
    store.get_run(run.id)
    store.complete(lease, "1", 1)
    store.cancel(run.id, 1)
    connection.set_trace_callback(None)
    plans = {
        statement: [row["detail"] for row in connection.execute(f"explain query plan {statement}")]
        for statement in statements
        if not statement.startswith("--")
    }

    scans = {
        statement: detail
        for statement, plan in plans.items()
        for detail in plan
        if detail in ("SCAN runs", "SCAN steps")
    }
    assert scans == {}
    assert len(plans) >= 10


async def test_clock_of_a_file_is_the_machines_own(tmp_path: Path) -> None:
    environment = local_environment("shop", tmp_path)
    database = Database("shop", FileMirror("shop", tmp_path / "a" / "shop.sqlite3"), FakeClock())
    await database.open()
    await database.close()

    assert isinstance(environment.clock, SystemClock)
    assert (tmp_path / "a" / "shop.sqlite3").exists()
