"""Runs that leave with an export and go on where it is imported."""

from __future__ import annotations

import asyncio
import json
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from durably import (
    DamagedExport,
    Durably,
    EncryptionUnavailable,
    ImportReport,
    InvalidOption,
    NewerExport,
    NotOpen,
    Run,
    RunNotFound,
    RunStatus,
    Step,
    WrongPassphrase,
    job,
)
from durably.container import CHECKSUM_BYTES, MAGIC
from durably.schema import SCHEMA_VERSION
from durably.testing import settle
from tests.core.kit import Bodies, Gate, Tab, only_run, only_wait, term_of, types, until

NOTHING = ImportReport((), (), (), ())
SCHEMA = b'"schema": %d' % SCHEMA_VERSION
FOREIGN_TO_A_PLACE = {"sequence": 0, "lease_owner": None, "heartbeat_at": None}


@pytest.fixture
def elsewhere() -> Tab:
    """A tab of another origin: nothing but the file comes from the first one."""
    return Tab()


@job
async def one_step(step: Step, number: int = 1) -> int:
    return await step.run("a", int, number)


@job
async def ask(step: Step, timeout: float | None = None) -> object:
    await step.run("before", int, 1)
    answer = await step.wait_for(await step.prepare_wait("answer", timeout=timeout))
    return "timed out" if answer.timed_out else answer.payload


def guarded(bodies: Bodies, gate: Gate) -> Any:
    """A job that can be left behind its first step."""

    @job(name="guarded")
    async def run(step: Step) -> list[str]:
        first = await step.run("first", bodies, "first")
        second = await step.run("second", gate)
        return [first, second]

    return run


def altered(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A file whose header and body were changed by somebody who knows how checksums are made."""
    changed = change(data[:-CHECKSUM_BYTES])
    return changed + sha256(changed).digest()


def with_lines(data: bytes, change: Callable[[list[Any]], object]) -> bytes:
    """A file that is whole, with other lines in it."""
    head, newline, body = data[len(MAGIC) : -CHECKSUM_BYTES].partition(b"\n")
    lines = [json.loads(line) for line in zlib.decompress(body).splitlines()]
    change(lines)
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    changed = MAGIC + head + newline + zlib.compress(text.encode())
    return changed + sha256(changed).digest()


def lines_of(data: bytes) -> list[Any]:
    found: list[Any] = []
    with_lines(data, found.extend)
    return found


async def belongings(durably: Durably, run: Run) -> list[object]:
    """What is known of a run, but for what is of one place alone."""
    logs = await durably.get_logs(run.id)
    return [
        replace(run, **FOREIGN_TO_A_PLACE),
        await durably.get_steps(run.id),
        await durably.get_attempts(run.id),
        await durably.get_waits(run.id),
        [replace(line, sequence=0) for line in logs],
    ]


# What goes with a run


async def test_everything_of_a_run_arrives(tab: Tab, elsewhere: Tab) -> None:
    @job
    async def rich(step: Step, name: str) -> str:
        async def priced() -> str:
            await step.set_metadata({"cost": 3})
            return name

        step.log("begins", name=name)
        await step.run("priced", priced)
        step.progress(1, 2, "half")
        wait = await step.prepare_wait("answer", timeout=50, metadata={"for": "you"})
        return str((await step.wait_for(wait)).payload)

    options: dict[str, Any] = {"persist_logs": True, "preserve_steps": True}
    async with tab.durably(rich, one_step, **options) as durably:
        waiting = await durably.trigger(
            rich("zoë"), idempotency_key="i", concurrency_key="c", labels={"team": "röd"}
        )
        done = await durably.trigger(rich("b"))
        await only_wait(durably, waiting.id)
        await durably.signal((await only_wait(durably, done.id)).id, {"yes": True})
        await done.result()
        left = [
            await belongings(durably, await durably.get_run(run_id))
            for run_id in (waiting.id, done.id)
        ]
        data = await durably.export()

    async with elsewhere.durably(rich, **options) as durably:
        report = await durably.import_(data)
        arrived = [
            await belongings(durably, await durably.get_run(run_id))
            for run_id in (waiting.id, done.id)
        ]

        assert report == replace(NOTHING, created=(waiting.id, done.id))
        assert arrived == left
        assert [run.id for run in await durably.list_runs(labels={"team": "röd"})] == [waiting.id]
        again = await durably.trigger(rich("zoë"), idempotency_key="i")
        assert (again.id, again.disposition) == (waiting.id, "idempotent")


async def test_some_runs_leave_without_the_others(tab: Tab, elsewhere: Tab) -> None:
    async with tab.durably(one_step, autostart=False) as durably:
        handles = [
            await durably.trigger(one_step(number), idempotency_key=f"key {number}")
            for number in range(3)
        ]
        data = await durably.export([handles[2].id, handles[0].id, handles[0].id])

    async with elsewhere.durably(one_step, autostart=False) as durably:
        report = await durably.import_(data)
        keys = [
            (await durably.trigger(one_step(number), idempotency_key=f"key {number}")).disposition
            for number in range(3)
        ]

        assert report.created == (handles[0].id, handles[2].id)
        assert keys == ["idempotent", "created", "idempotent"]


async def test_export_of_a_run_that_there_is_not_is_refused(tab: Tab) -> None:
    async with tab.durably(one_step) as durably:
        run = await durably.trigger(one_step())

        with pytest.raises(RunNotFound, match="nowhere"):
            await durably.export([run.id, "nowhere"])


@pytest.mark.parametrize("runs", ["one-id", 5, [5], [None]])
async def test_export_of_what_is_no_id_is_refused(tab: Tab, runs: Any) -> None:
    async with tab.durably(one_step) as durably:
        with pytest.raises(InvalidOption, match="runs"):
            await durably.export(runs)


async def test_key_of_a_purged_run_leaves_with_all_runs(tab: Tab, elsewhere: Tab) -> None:
    async with tab.durably(one_step) as durably:
        purged = await durably.trigger(one_step(), idempotency_key="once")
        await purged.result()
        await tab.clock.advance(10)
        await durably.purge_runs(older_than=5)
        other = await durably.trigger(one_step())
        everything, some = await durably.export(), await durably.export([other.id])

    async with elsewhere.durably(one_step) as durably:
        await durably.import_(some)
        assert len(lines_of(some)) == 1
        await durably.import_(everything)
        again = await durably.trigger(one_step(), idempotency_key="once")

        assert (again.id, again.disposition) == (purged.id, "idempotent")


async def test_runs_keep_their_order_behind_those_that_are_there(tab: Tab, elsewhere: Tab) -> None:
    async with tab.durably(one_step, autostart=False) as durably:
        left = [await durably.trigger(one_step(number)) for number in range(3)]
        data = await durably.export()

    async with elsewhere.durably(one_step, autostart=False) as durably:
        there = await durably.trigger(one_step())
        await durably.import_(data)
        runs = list(reversed(await durably.list_runs()))

        assert [run.id for run in runs] == [there.id, *(handle.id for handle in left)]
        assert [run.sequence for run in runs] == [1, 2, 3, 4]


# How it goes on


async def test_half_done_run_goes_on_from_its_checkpoint(
    tab: Tab, elsewhere: Tab, bodies: Bodies
) -> None:
    here, there = Gate(), Gate()
    there.open()
    async with tab.life(guarded(bodies, here)) as life:
        handle = await life.durably.trigger(guarded(bodies, here)())
        await here.entered.wait()
        left = await life.durably.get_run(handle.id)
        data = await life.durably.export()

    async with elsewhere.durably(guarded(bodies, there)) as durably:
        await durably.import_(data)
        result = await durably.result(handle.id)
        arrived = await durably.get_run(handle.id)

        assert left.status is RunStatus.RUNNING
        assert result == ["first is done", "passed"]
        assert bodies.count("first") == 1
        assert there.visits == 1
        assert arrived.lease_generation > left.lease_generation
        assert arrived.started_at == left.started_at


async def test_moving_is_no_interruption_and_ends_the_try_under_way(
    tab: Tab, elsewhere: Tab, bodies: Bodies, gate: Gate
) -> None:
    durable = guarded(bodies, gate)
    async with tab.life(durable) as life:
        handle = await life.durably.trigger(durable())
        await gate.entered.wait()
        await tab.clock.advance(1)
        data = await life.durably.export()

    async with elsewhere.durably(durable, autostart=False, max_interruptions=1) as durably:
        await durably.import_(data)
        run = await durably.get_run(handle.id)
        (_, cut) = await durably.get_attempts(handle.id)

        assert (run.status, run.interruptions) == (RunStatus.PENDING, 0)
        assert (run.lease_owner, run.heartbeat_at) == (None, None)
        assert (cut.step, cut.outcome, cut.reason) == ("second", "interrupted", "lease-lost")


async def test_waiting_run_takes_its_signal_where_it_is_imported(tab: Tab, elsewhere: Tab) -> None:
    async with tab.durably(ask) as durably:
        handle = await durably.trigger(ask())
        wait = await only_wait(durably, handle.id)
        data = await durably.export()

    async with elsewhere.durably(ask) as durably:
        await durably.import_(data)
        assert (await only_run(durably)).is_waiting
        await durably.signal(wait.id, "yes")

        assert await durably.result(handle.id) == "yes"


async def test_deadline_of_a_wait_stays_where_it_is(tab: Tab, elsewhere: Tab) -> None:
    async with tab.durably(ask) as durably:
        handle = await durably.trigger(ask(timeout=100))
        deadline = (await only_wait(durably, handle.id)).deadline_at
        data = await durably.export()

    await elsewhere.clock.advance(60)
    async with elsewhere.durably(ask) as durably:
        await durably.import_(data)
        await elsewhere.clock.advance(39)
        waits = await only_wait(durably, handle.id)
        await elsewhere.clock.advance(2)

        assert waits.deadline_at == deadline
        assert await durably.result(handle.id) == "timed out"


async def test_wait_whose_time_was_over_on_the_way_times_out(tab: Tab, elsewhere: Tab) -> None:
    async with tab.durably(ask) as durably:
        handle = await durably.trigger(ask(timeout=100))
        await only_wait(durably, handle.id)
        data = await durably.export()

    await elsewhere.clock.advance(1000)
    async with elsewhere.durably(ask) as durably:
        await durably.import_(data)
        await elsewhere.clock.advance(1)

        assert await durably.result(handle.id) == "timed out"


async def test_import_wakes_the_worker(tab: Tab, elsewhere: Tab) -> None:
    async with tab.durably(one_step, autostart=False) as durably:
        handle = await durably.trigger(one_step(7))
        data = await durably.export()

    async with elsewhere.durably(one_step) as durably:
        await settle()
        await durably.import_(data)

        assert await durably.result(handle.id) == 7


async def test_each_new_run_is_told_of_once_it_is_durable(tab: Tab, elsewhere: Tab) -> None:
    async with tab.durably(one_step) as durably:
        done = await durably.trigger(one_step())
        await done.result()
        data = await durably.export()

    async with elsewhere.life(one_step, autostart=False) as life:
        await life.durably.import_(data)
        await life.durably.import_(data)
        told = [event for event in life.told if event.type == "run:import"]

        assert [(event.run_id, event.job, event.status) for event in told] == [
            (done.id, "one_step", "completed")
        ]
        assert "run:trigger" not in types(life.told)


async def test_only_an_open_durably_exports_and_imports(tab: Tab, elsewhere: Tab) -> None:
    async with tab.durably() as durably:
        data = await durably.export()

    with pytest.raises(NotOpen):
        await elsewhere.durably().import_(data)
    with pytest.raises(NotOpen):
        await elsewhere.durably().export()


# What is there already


async def test_importing_twice_changes_nothing(tab: Tab, elsewhere: Tab) -> None:
    async with tab.durably(ask, one_step) as durably:
        handle = await durably.trigger(ask(), idempotency_key="a", labels={"x": "y"})
        await durably.trigger(one_step(), idempotency_key="b")
        await only_wait(durably, handle.id)
        data = await durably.export()

    async with elsewhere.durably(ask, one_step) as durably:
        first = await durably.import_(data)
        before = lines_of(await durably.export())
        second = await durably.import_(data)

        assert second == replace(NOTHING, known=first.created)
        assert lines_of(await durably.export()) == before


async def test_run_that_went_on_here_is_left_as_it_is(tab: Tab, elsewhere: Tab) -> None:
    async with tab.durably(one_step, autostart=False) as durably:
        handle = await durably.trigger(one_step(7))
        data = await durably.export()
        await durably.process_one()
        report = await durably.import_(data)

        assert report == replace(NOTHING, known=(handle.id,))
        assert (await durably.get_run(handle.id)).status is RunStatus.COMPLETED


async def test_run_that_is_behind_its_copy_is_left_as_it_is_and_told(
    tab: Tab, elsewhere: Tab
) -> None:
    async with tab.durably(one_step, autostart=False) as durably:
        handle = await durably.trigger(one_step(7))
        early = await durably.export()
        await durably.process_one()
        late = await durably.export()

    async with elsewhere.durably(one_step, autostart=False) as durably:
        await durably.import_(early)
        report = await durably.import_(late)
        assert report == replace(NOTHING, known=(handle.id,), behind=(handle.id,))
        assert (await durably.get_run(handle.id)).status is RunStatus.PENDING

        await durably.cancel(handle.id)
        await durably.delete_run(handle.id)
        await durably.import_(late)
        assert (await durably.get_run(handle.id)).output == 7


async def test_more_checkpoints_in_the_file_are_told(
    tab: Tab, elsewhere: Tab, bodies: Bodies, gate: Gate
) -> None:
    durable = guarded(bodies, gate)
    async with tab.life(durable, autostart=False) as life:
        handle = await life.durably.trigger(durable())
        early = await life.durably.export()
        life.durably.start()
        await gate.entered.wait()
        late = await life.durably.export()

    async with elsewhere.durably(durable, autostart=False) as durably:
        await durably.import_(early)

        assert (await durably.import_(late)).behind == (handle.id,)
        assert (await durably.import_(early)).behind == ()


async def test_unfinished_run_whose_key_another_run_has_here_is_not_taken(
    tab: Tab, elsewhere: Tab
) -> None:
    async with tab.durably(one_step, autostart=False) as durably:
        moved = await durably.trigger(one_step(1), idempotency_key="once")
        free = await durably.trigger(one_step(2))
        data = await durably.export()

    async with elsewhere.durably(one_step, autostart=False) as durably:
        there = await durably.trigger(one_step(3), idempotency_key="once")
        report = await durably.import_(data)
        assert report == replace(NOTHING, created=(free.id,), conflicting=(moved.id,))
        assert (await durably.trigger(one_step(1), idempotency_key="once")).id == there.id

        await durably.cancel(there.id)
        await durably.delete_run(there.id)
        report = await durably.import_(data)
        assert report == replace(NOTHING, created=(moved.id,), known=(free.id,))


async def test_ended_run_comes_without_the_key_that_another_run_has_here(
    tab: Tab, elsewhere: Tab
) -> None:
    async with tab.durably(one_step) as durably:
        moved = await durably.trigger(one_step(1), idempotency_key="once")
        await moved.result()
        data = await durably.export()

    async with elsewhere.durably(one_step, autostart=False) as durably:
        there = await durably.trigger(one_step(3), idempotency_key="once")
        report = await durably.import_(data)

        assert report.created == (moved.id,)
        assert (await durably.get_run(moved.id)).output == 1
        assert (await durably.trigger(one_step(1), idempotency_key="once")).id == there.id


async def test_key_that_is_over_stands_in_nobodys_way(tab: Tab, elsewhere: Tab) -> None:
    async with tab.durably(one_step, autostart=False) as durably:
        moved = await durably.trigger(one_step(1), idempotency_key="once")
        data = await durably.export()

    async with elsewhere.durably(one_step, autostart=False) as durably:
        await durably.trigger(one_step(3), idempotency_key="once", idempotency_ttl=5)
        await elsewhere.clock.advance(10)
        report = await durably.import_(data)

        assert report.created == (moved.id,)
        assert (await durably.trigger(one_step(1), idempotency_key="once")).id == moved.id


async def test_run_that_lost_its_key_to_time_comes_beside_the_one_that_has_it(
    tab: Tab, elsewhere: Tab
) -> None:
    async with tab.durably(one_step, autostart=False) as durably:
        moved = await durably.trigger(one_step(1), idempotency_key="once", idempotency_ttl=5)
        data = await durably.export()

    await elsewhere.clock.advance(10)
    async with elsewhere.durably(one_step, autostart=False) as durably:
        there = await durably.trigger(one_step(3), idempotency_key="once")
        report = await durably.import_(data)

        assert report.created == (moved.id,)
        assert (await durably.trigger(one_step(1), idempotency_key="once")).id == there.id


async def test_run_that_was_purged_here_does_not_come_back(tab: Tab, elsewhere: Tab) -> None:
    async with tab.durably(one_step, autostart=False) as durably:
        handle = await durably.trigger(one_step(1), idempotency_key="once")
        data = await durably.export()

    async with elsewhere.durably(one_step, autostart=False) as durably:
        await durably.import_(data)
        await durably.process_one()
        await elsewhere.clock.advance(10)
        await durably.purge_runs(older_than=5)
        report = await durably.import_(data)

        assert report == replace(NOTHING, known=(handle.id,))
        assert await durably.list_runs() == []


async def test_pending_runs_of_one_concurrency_key_run_one_after_the_other(
    tab: Tab, elsewhere: Tab, bodies: Bodies
) -> None:
    here, there = Gate(), Gate()
    async with tab.durably(guarded(bodies, here), autostart=False) as durably:
        moved = await durably.trigger(guarded(bodies, here)(), concurrency_key="c")
        data = await durably.export()

    durable = guarded(bodies, there)
    async with elsewhere.durably(durable, autostart=False, max_concurrent_runs=5) as durably:
        local = await durably.trigger(durable(), concurrency_key="c")
        await durably.import_(data)
        durably.start()
        await there.entered.wait()
        await settle()
        statuses = [(await durably.get_run(run_id)).status for run_id in (local.id, moved.id)]
        there.open()
        await durably.result(moved.id)

        assert statuses == [RunStatus.RUNNING, RunStatus.PENDING]
        assert there.visits == 2


async def test_run_of_a_job_that_is_not_known_here_stays_pending(tab: Tab, elsewhere: Tab) -> None:
    async with tab.durably(one_step, autostart=False) as durably:
        handle = await durably.trigger(one_step())
        data = await durably.export()

    async with elsewhere.durably() as durably:
        await durably.import_(data)
        await settle()

        assert (await durably.get_run(handle.id)).status is RunStatus.PENDING


# What is acknowledged


async def test_everything_in_an_export_is_durable(tab: Tab, elsewhere: Tab) -> None:
    async with tab.life(one_step, autostart=False) as life:
        triggering = asyncio.ensure_future(life.durably.trigger(one_step()))
        database = (await term_of(life.durably)).database
        await until(lambda: database.commits > 1)
        data = await life.durably.export()
        await life.kill()
    triggering.cancel()

    async with tab.durably(one_step, autostart=False) as durably:
        assert len(lines_of(data)) == 1
        assert [run.id for run in await durably.list_runs()] == [lines_of(data)[0]["run"]["id"]]


async def test_full_storage_can_be_exported(tab: Tab, elsewhere: Tab) -> None:
    async with tab.life(one_step, autostart=False) as life:
        handle = await life.durably.trigger(one_step(7))
        tab.disk.fail(tab.disk.writes + 1, "full")
        data = await life.durably.export()

    async with elsewhere.durably(one_step) as durably:
        await durably.import_(data)

        assert await durably.result(handle.id) == 7


async def test_import_is_durable_when_it_returns(tab: Tab, elsewhere: Tab) -> None:
    async with tab.durably(one_step, autostart=False) as durably:
        handle = await durably.trigger(one_step(7))
        data = await durably.export()

    async with elsewhere.life(one_step, autostart=False) as life:
        await life.durably.import_(data)
        await life.kill()
    async with elsewhere.durably(one_step) as durably:
        assert await durably.result(handle.id) == 7


# What is refused


@pytest.fixture
async def data(tab: Tab) -> bytes:
    """An export of two runs; one waits."""
    async with tab.durably(ask, one_step, preserve_steps=True) as durably:
        await (await durably.trigger(one_step(), labels={"x": "y"})).result()
        handle = await durably.trigger(ask(), idempotency_key="k")
        await only_wait(durably, handle.id)
        return await durably.export()


async def refusal(elsewhere: Tab, data: Any, **options: Any) -> BaseException:
    """What import_ raises; it has changed nothing, and what is whole can be imported still."""
    async with elsewhere.durably(autostart=False) as durably:
        before = elsewhere.disk.image
        with pytest.raises(Exception) as raised:  # noqa: PT011 - the callers say which
            await durably.import_(data, **options)
        await settle()

        assert await durably.list_runs() == []
        assert elsewhere.disk.image == before
        return raised.value


async def test_file_that_was_cut_off_anywhere_is_refused(elsewhere: Tab, data: bytes) -> None:
    async with elsewhere.durably(autostart=False) as durably:
        for length in range(len(data)):
            with pytest.raises(DamagedExport):
                await durably.import_(data[:length])
        assert await durably.list_runs() == []


async def test_file_with_any_byte_altered_is_refused(elsewhere: Tab, data: bytes) -> None:
    async with elsewhere.durably(autostart=False) as durably:
        for at in range(len(data)):
            with pytest.raises(DamagedExport):
                await durably.import_(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert await durably.list_runs() == []


@pytest.mark.parametrize("foreign", [b"", b"PK\3\4", b"SQLite format 3\0", MAGIC, MAGIC * 9])
async def test_foreign_file_is_refused(elsewhere: Tab, foreign: bytes) -> None:
    assert isinstance(await refusal(elsewhere, foreign), DamagedExport)


@pytest.mark.parametrize("value", ["durably-export\n", None, 5, []])
async def test_what_are_no_bytes_is_refused(elsewhere: Tab, value: Any) -> None:
    assert isinstance(await refusal(elsewhere, value), InvalidOption)


async def test_bytes_of_any_kind_are_taken(elsewhere: Tab, data: bytes) -> None:
    async with elsewhere.durably(autostart=False) as durably:
        await durably.import_(bytearray(data))

        assert len((await durably.import_(memoryview(data))).known) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"format": 1', b'"format": 2'), (SCHEMA, b'"schema": %d' % (SCHEMA_VERSION + 1))],
    ids=["format", "schema"],
)
async def test_file_of_a_newer_version_is_refused(
    elsewhere: Tab, data: bytes, old: bytes, new: bytes
) -> None:
    newer = altered(data, lambda content: content.replace(old, new))

    error = await refusal(elsewhere, newer)

    assert isinstance(error, NewerExport)
    assert "update durably" in str(error)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"format": 1', b'"format": "x"'),
        (b'"kind": "runs"', b'"kind": "more"'),
        (SCHEMA, b'"schema": null'),
        (SCHEMA, SCHEMA + b', "encryption": {"cipher": "rot13"}'),
        (b'"created_at"', b'"created_at'),
        (b"{", b"["),
        (b"\nx\x9c", b"\nx\x9d"),
    ],
)
async def test_header_that_makes_no_sense_is_refused(
    elsewhere: Tab, data: bytes, old: bytes, new: bytes
) -> None:
    assert old in data
    changed = altered(data, lambda content: content.replace(old, new, 1))

    assert isinstance(await refusal(elsewhere, changed), DamagedExport)


SECOND: list[Callable[[list[Any]], object]] = [
    lambda lines: lines[1].pop("steps"),
    lambda lines: lines[1].update(more=[]),
    lambda lines: lines[1].update(steps=5),
    lambda lines: lines[1].update(run=None),
    lambda lines: lines[1]["run"].pop("labels"),
    lambda lines: lines[1]["run"].update(lease_owner="me"),
    lambda lines: lines[1]["run"].update(labels="[]"),
    lambda lines: lines[1]["run"].update(labels='{"a": 1}'),
    lambda lines: lines[1]["run"].update(labels="{"),
    lambda lines: lines[1]["run"].update(progress="[1, 2, 3, 4]"),
    lambda lines: lines[1]["run"].update(error="{}"),
    lambda lines: lines[1]["run"].update(status="done"),
    lambda lines: lines[1]["run"].update(status="completed"),
    lambda lines: lines[1]["run"].update(id=None),
    lambda lines: lines[1]["run"].update(created_at="today"),
    lambda lines: lines[1]["run"].update(created_at=2**64),
    lambda lines: lines[1]["run"].update(created_at=1.5),
    lambda lines: lines[1]["run"].update(created_at=True),
    lambda lines: lines[1]["run"].update(input={}),
    lambda lines: lines[1]["run"].update(input="\ud800"),
    lambda lines: lines[1]["steps"].append(lines[1]["steps"][0]),
    lambda lines: lines[1]["steps"].append(lines[1]["steps"][0] | {"position": 2}),
    lambda lines: lines[1]["steps"].append(lines[1]["steps"][0] | {"name": "other"}),
    lambda lines: lines[1]["steps"][0].update(run_id="other"),
    lambda lines: lines[1]["waits"][0].update(outcome="signal"),
    lambda lines: lines[1]["waits"].append(5),
    lambda lines: lines.append(lines[1]["waits"][0]),
    lambda lines: lines.append({"key": {"job": "a"}}),
    lambda lines: lines.append([]),
]


@pytest.mark.parametrize("change", SECOND, ids=range(len(SECOND)))
async def test_file_with_one_line_that_cannot_be_is_refused_whole(
    elsewhere: Tab, data: bytes, change: Callable[[list[Any]], object]
) -> None:
    changed = with_lines(data, change)

    assert isinstance(await refusal(elsewhere, changed), DamagedExport)


# Encryption


async def test_encrypted_export_is_opened_with_its_passphrase(tab: Tab, elsewhere: Tab) -> None:
    async with tab.durably(one_step, autostart=False) as durably:
        handle = await durably.trigger(one_step(), labels={"who": "nobody may know"})
        secret = await durably.export(passphrase="zo\u00eb's horse")
        plain = await durably.export()

    async with elsewhere.durably(one_step) as durably:
        # The same letters, as another system types them.
        report = await durably.import_(secret, passphrase="zoe\u0308's horse")

        assert report.created == (handle.id,)
        assert b"encryption" not in plain
        assert b'"iterations": 600000' in secret
        assert zlib.decompress(plain.split(b"\n", 2)[2][:-CHECKSUM_BYTES])
        with pytest.raises(zlib.error):
            zlib.decompress(secret.split(b"\n", 2)[2][:-CHECKSUM_BYTES])


async def test_two_encrypted_exports_have_nothing_in_common(tab: Tab) -> None:
    async with tab.durably(one_step, autostart=False) as durably:
        first = await durably.export(passphrase="p")
        second = await durably.export(passphrase="p")

        assert first.split(b"\n", 2)[1] != second.split(b"\n", 2)[1]
        assert first.split(b"\n", 2)[2] != second.split(b"\n", 2)[2]


@pytest.fixture
async def secret(tab: Tab) -> bytes:
    async with tab.durably(one_step, autostart=False) as durably:
        await durably.trigger(one_step())
        return await durably.export(passphrase="right")


@pytest.mark.parametrize("passphrase", ["wrong", "Right", "right ", None])
async def test_wrong_passphrase_is_refused(
    elsewhere: Tab, secret: bytes, passphrase: str | None
) -> None:
    error = await refusal(elsewhere, secret, passphrase=passphrase)

    assert isinstance(error, WrongPassphrase)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: content[:-1],
        lambda content: content.replace(b'"created_at": ', b'"created_at": 1'),
        lambda content: content.replace(b'"iterations": 600000', b'"iterations": 600001'),
    ],
    ids=["body", "tag", "header", "iterations"],
)
async def test_encrypted_file_that_somebody_altered_is_refused(
    elsewhere: Tab, secret: bytes, change: Callable[[bytes], bytes]
) -> None:
    changed = altered(secret, change)
    assert changed != secret

    assert isinstance(await refusal(elsewhere, changed, passphrase="right"), WrongPassphrase)


async def test_file_that_is_not_encrypted_is_no_answer_to_a_passphrase(
    elsewhere: Tab, data: bytes
) -> None:
    assert isinstance(await refusal(elsewhere, data, passphrase="right"), WrongPassphrase)


@pytest.mark.parametrize("iterations", [b"0", b"-1", b'"many"', b"100000000000"])
async def test_file_that_would_keep_its_reader_busy_for_ever_is_refused(
    elsewhere: Tab, secret: bytes, iterations: bytes
) -> None:
    changed = altered(
        secret, lambda content: content.replace(b'ions": 600000', b'ions": ' + iterations)
    )

    assert isinstance(await refusal(elsewhere, changed, passphrase="right"), DamagedExport)


@pytest.mark.parametrize("passphrase", ["", 5, b"right", "\ud800"])
async def test_what_nobody_can_type_is_no_passphrase(
    tab: Tab, elsewhere: Tab, data: bytes, passphrase: Any
) -> None:
    assert isinstance(await refusal(elsewhere, data, passphrase=passphrase), InvalidOption)
    async with tab.durably() as durably:
        with pytest.raises(InvalidOption, match="passphrase"):
            await durably.export(passphrase=passphrase)


@pytest.mark.cpython_only
async def test_missing_package_is_told_with_the_extra_that_brings_it(
    tab: Tab, elsewhere: Tab, secret: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("cryptography")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)

    error = await refusal(elsewhere, secret, passphrase="right")

    assert isinstance(error, EncryptionUnavailable)
    assert "durably[encryption]" in str(error)
    async with tab.durably() as durably:
        with pytest.raises(EncryptionUnavailable):
            await durably.export(passphrase="right")
