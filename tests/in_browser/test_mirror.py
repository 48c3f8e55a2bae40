"""IndexedDB keeps the contract of Mirror, and what only it can be put through."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

from durably import (
    DamagedDatabase,
    NewerSchema,
    StorageError,
    StorageFenced,
    StorageFull,
    StorageLost,
)
from durably.browser.mirror import IndexedDBMirror
from durably.ports import Mirror
from tests.contracts.mirror import (
    FaultContract,
    FenceContract,
    MirrorContract,
    Mirrors,
    Opened,
    committed,
    life,
    write_and_commit,
)
from tests.in_browser.page import Stored, outside

TRIES = 3
FOLD_RECORDS = 200
FOLD_RECORDS_AT_MOST = 4000
CHUNK_PAGES = 15
PAGE_BYTES = 4096
BLOCK_BYTES = 128
LOAD_BATCH = 500
FOLD_TIMEOUT = 10.0


class IndexedDBMirrors(Mirrors):
    place = "indexeddb"

    def __init__(self, name: str) -> None:
        self.name = name

    def make(self) -> Mirror:
        return IndexedDBMirror(self.name)

    async def look(self) -> Stored:
        return await Stored.look(self.name)

    async def damage(self) -> None:
        last = max((await self.look()).log)
        await (await outside()).alter(self.name, "log", as_key(last))

    async def clear(self) -> None:
        assert not await (await outside()).erase(self.name)

    async def stored(self) -> object:
        return await self.look()

    async def plan(self, *faults: str, store: str = "log") -> None:
        (await outside()).plan(store, *faults)

    async def fail_next(self, fault: Literal["full", "lost"]) -> None:
        if fault == "full":
            await self.plan("QuotaExceededError")
        else:
            await self.plan(*["UnknownError"] * TRIES)


def as_key(numbers: tuple[int, ...]) -> Any:
    from pyodide.ffi import to_js

    return to_js(list(numbers))


@pytest.fixture
def mirrors(name: str) -> IndexedDBMirrors:
    return IndexedDBMirrors(name)


class TestIndexedDBMirror(MirrorContract, FenceContract, FaultContract):
    pass


async def fill(opened: Opened, count: int, size: int = 10) -> list[str]:
    """Commit ``count`` notes, one at a time, and return them."""
    notes = [f"{number} ".ljust(size, "x") for number in range(count)]
    await write_and_commit(opened, *notes)
    return notes


async def until_folded(mirrors: IndexedDBMirrors, but: Stored | None = None) -> Stored:
    """Wait for a fold other than the last one in ``but``, and for its log to be trimmed."""
    old = but.manifest if but else None
    seen = ""
    deadline = asyncio.get_running_loop().time() + FOLD_TIMEOUT
    while asyncio.get_running_loop().time() < deadline:
        # The fold waits for each look, so that looking on and on would hold it up.
        state = await (await outside()).logState(mirrors.name)
        if state != seen:
            seen = state
            stored = await mirrors.look()
            first = min(record.position for record in stored.records if record.kind != "seal")
            manifest = stored.manifest
            if manifest and manifest != old and first > manifest.behind:
                return stored
        # A fold gives way to commits with timers of its own, in JavaScript: real time has to pass.
        await asyncio.sleep(0.01)
    raise AssertionError("nothing was folded")


class TestLog:
    async def test_small_change_writes_few_pages_however_large_the_database_is(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        async with life(mirrors) as opened:
            opened.write("x" * 2_000_000)
            await opened.commit()
            await write_and_commit(opened, "small", "smaller")
            record = (await mirrors.look()).records[-1]

        assert record.page_count > 400
        assert len(record.page_numbers) <= 3
        assert record.size_bytes < 1000

    async def test_one_commit_is_one_record_after_the_one_before(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        async with life(mirrors) as opened:
            await fill(opened, 5)
            await opened.commit()
            records = (await mirrors.look()).records

        assert [record.kind for record in records] == ["open", *["commit"] * 5]
        assert [record.seq for record in records] == list(range(6))

    async def test_takeover_seals_the_epoch_before_and_the_seals_stay(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        for _ in range(3):
            async with life(mirrors) as opened:
                await fill(opened, 1)
        async with life(mirrors) as opened:
            await fill(opened, FOLD_RECORDS)
            stored = await until_folded(mirrors)

        seals = [record.epoch for record in stored.records if record.kind == "seal"]
        assert seals == [1, 2, 3]
        assert {record.epoch for record in stored.records if record.kind != "seal"} == {4}

    async def test_log_longer_than_a_batch_is_loaded_whole(self, mirrors: IndexedDBMirrors) -> None:
        async with life(mirrors) as opened:
            await mirrors.plan(*["QuotaExceededError"] * LOAD_BATCH, store="chunks")
            notes = await fill(opened, LOAD_BATCH + 20)
        stored = await mirrors.look()

        assert len(stored.log) > LOAD_BATCH
        assert stored.manifest is None
        async with life(mirrors) as opened:
            assert opened.notes() == notes

    async def test_damage_in_the_middle_is_refused_and_every_record_left_as_it_is(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        async with life(mirrors) as opened:
            await fill(opened, 5)
        await (await outside()).alter(mirrors.name, "log", as_key((1, 3)))
        before = await mirrors.look()
        mirror = mirrors.make()

        with pytest.raises(DamagedDatabase, match=r"record 1\.3 was altered"):
            await mirror.take_over()
        await mirror.close()
        after = await mirrors.look()
        assert {key: after.log[key] for key in before.log} == before.log


class TestBlocks:
    """A record holds the blocks that changed. Bytes are written here past SQLite, in any way."""

    @pytest.mark.parametrize("seed", range(6))
    async def test_whatever_is_written_is_what_the_next_life_finds(
        self, mirrors: IndexedDBMirrors, seed: int
    ) -> None:
        randomly = random.Random(seed)
        written = b""
        for _ in range(3):
            async with bare_file(mirrors) as (mirror, file):
                assert content_of(file) == written
                for _ in range(120):
                    for _ in range(randomly.choice([0, 1, 1, 2, 5])):
                        write_something(file, randomly)
                    if randomly.random() < 0.1:
                        os.pwrite(file, randomly.randbytes(PAGE_BYTES), 0)
                        await mirrors.plan("QuotaExceededError")
                        with pytest.raises(StorageFull):
                            await committed(mirror)
                    await committed(mirror)
                written = content_of(file)
                assert await mirror.verify() == []
        async with bare_file(mirrors) as (_, file):
            assert content_of(file) == written
        assert (await mirrors.look()).manifest, "none of it was folded"

    async def test_page_is_stored_whole_where_it_is_new_and_else_the_blocks_that_changed(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        page = bytearray(PAGE_BYTES)
        found = []
        async with bare_file(mirrors) as (mirror, file):
            for changes in ([], [0], [0, PAGE_BYTES - 1], []):
                for change in changes:
                    page[change] += 1
                os.pwrite(file, page, 0)
                await committed(mirror)
                record = (await mirrors.look()).records[-1]
                found.append((record.seq, record.size_bytes))

        frame = 88 + 8 + 4
        assert found == [
            (1, frame + PAGE_BYTES),
            (2, frame + BLOCK_BYTES),
            (3, frame + 2 * BLOCK_BYTES),
            (4, frame + BLOCK_BYTES),  # What was written again, unchanged, is a commit too.
        ]


@asynccontextmanager
async def bare_file(mirrors: IndexedDBMirrors) -> AsyncIterator[tuple[Mirror, int]]:
    """A mirror that was taken over, and its file, which need not be one of SQLite."""
    mirror = mirrors.make()
    file = os.open(await mirror.take_over(), os.O_RDWR)
    try:
        yield mirror, file
    finally:
        os.close(file)
        await mirror.close()


def content_of(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)


def write_something(file: int, randomly: random.Random) -> None:
    """Some bytes of a page, as SQLite writes it; bytes anywhere; or another end of the file."""
    end = os.fstat(file).st_size
    pages = end // PAGE_BYTES
    kind = randomly.random()
    if pages and kind < 0.7:
        page = randomly.randrange(pages) * PAGE_BYTES
        content = bytearray(os.pread(file, PAGE_BYTES, page))
        for _ in range(randomly.choice([0, 1, 3])):
            at = randomly.randrange(PAGE_BYTES)
            length = randomly.choice([1, 4, 130, 700])
            content[at : at + length] = randomly.randbytes(len(content[at : at + length]))
        # A buffer may begin anywhere.
        shifted = memoryview(b"x" * randomly.randrange(4) + content)[-PAGE_BYTES:]
        os.pwrite(file, shifted, page)
    elif kind < 0.85:
        os.pwrite(file, randomly.randbytes(PAGE_BYTES), pages * PAGE_BYTES)
    elif pages and kind < 0.93:
        os.pwrite(file, randomly.randbytes(randomly.randrange(1, 9000)), randomly.randrange(end))
        os.ftruncate(file, -(-os.fstat(file).st_size // PAGE_BYTES) * PAGE_BYTES)
    else:
        os.ftruncate(file, max(0, pages + randomly.randrange(-3, 4)) * PAGE_BYTES)


class TestUnknownOutcome:
    async def test_commit_that_landed_though_it_was_reported_as_failed_is_acknowledged_once(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        outcomes: list[object] = []
        async with life(mirrors) as opened:
            await fill(opened, 1)
            before = await mirrors.look()
            await mirrors.plan("lands unseen")
            opened.write("landed")
            opened.mirror.commit("relaxed", outcomes.append)
            while not outcomes:
                await asyncio.sleep(0)
            after = await mirrors.look()
            await write_and_commit(opened, "next")

        assert outcomes == [None]
        assert after.log.keys() - before.log.keys() == {(1, 2)}
        async with life(mirrors) as opened:
            assert opened.notes()[1:] == ["landed", "next"]

    @pytest.mark.parametrize("failures", range(1, TRIES))
    async def test_commit_that_did_not_land_is_written_again_under_the_same_key(
        self, mirrors: IndexedDBMirrors, failures: int
    ) -> None:
        outcomes: list[object] = []
        async with life(mirrors) as opened:
            await fill(opened, 1)
            await mirrors.plan(*["UnknownError"] * failures)
            opened.write("again")
            opened.mirror.commit("relaxed", outcomes.append)
            while not outcomes:
                await asyncio.sleep(0)
            keys = list((await mirrors.look()).log)

        assert outcomes == [None]
        assert keys == [(1, 0), (1, 1), (1, 2)]
        async with life(mirrors) as opened:
            assert opened.notes()[1:] == ["again"]

    async def test_commit_that_landed_at_its_last_try_is_not_taken_for_lost(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        async with life(mirrors) as opened:
            await mirrors.plan(*["UnknownError"] * (TRIES - 1), "lands unseen")
            await write_and_commit(opened, "landed")

        async with life(mirrors) as opened:
            assert opened.notes() == ["landed"]

    async def test_outcome_is_fenced_where_another_has_taken_over_meanwhile(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        async with life(mirrors) as old:
            await fill(old, 1)
            async with life(mirrors):
                await mirrors.plan("UnknownError")
                old.write("too late")

                with pytest.raises(StorageFenced):
                    await old.commit()


class TestConnection:
    async def test_connection_that_was_closed_is_opened_again(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        async with life(mirrors) as opened:
            for number in range(3):
                await write_and_commit(opened, str(number))
                (await outside()).closeConnections()

        async with life(mirrors) as opened:
            assert opened.notes() == ["0", "1", "2"]

    async def test_connection_that_is_closed_during_a_commit_loses_nothing(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        async with life(mirrors) as opened:
            opened.write("under way")
            outcome = opened.begin_commit()
            (await outside()).closeConnections()
            assert await outcome is None
            await write_and_commit(opened, "next")

        async with life(mirrors) as opened:
            assert opened.notes() == ["under way", "next"]

    async def test_database_that_was_deleted_is_lost_and_not_made_anew(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        async with life(mirrors) as opened:
            await write_and_commit(opened, "kept")
            was_blocked = await (await outside()).erase(mirrors.name)
            for _ in range(2):
                opened.write("lost")
                with pytest.raises(StorageLost):
                    await opened.commit()

        assert not was_blocked
        async with life(mirrors) as opened:
            assert opened.notes() == []

    async def test_database_that_was_deleted_behind_a_closed_connection_is_lost(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        async with life(mirrors) as opened:
            await write_and_commit(opened, "kept")
            (await outside()).closeConnections()
            await (await outside()).erase(mirrors.name)
            opened.write("lost")

            with pytest.raises(StorageLost, match="cleared"):
                await opened.commit()

    async def test_deletion_is_told_before_the_next_commit(self, mirrors: IndexedDBMirrors) -> None:
        async with life(mirrors) as opened:
            await write_and_commit(opened, "kept")
            told = asyncio.get_running_loop().create_future()
            opened.mirror.on_failure(told.set_result)
            await (await outside()).erase(mirrors.name)
            error = await told

        assert isinstance(error, StorageLost)
        assert "being deleted" in str(error)

    async def test_connection_that_the_browser_closes_is_opened_again_before_it_is_needed(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        failures: list[StorageError] = []
        async with life(mirrors) as opened:
            await write_and_commit(opened, "kept")
            opened.mirror.on_failure(failures.append)
            world = await outside()
            before = world.openConnections()
            world.closeConnections(True)
            while world.openConnections() < before:
                await asyncio.sleep(0)
            problems = await opened.mirror.verify()

        assert (failures, problems) == ([], [])

    async def test_newer_version_of_the_stores_is_refused_and_left_as_it_is(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        async with life(mirrors) as opened:
            await write_and_commit(opened, "kept")
        before = await mirrors.look()
        await (await outside()).upgrade(mirrors.name)
        mirror = mirrors.make()

        with pytest.raises(NewerSchema, match=r"format 2; .* formats up to 1"):
            await mirror.take_over()
        await mirror.close()
        assert await mirrors.look() == before

    async def test_full_storage_tells_the_figures_that_the_browser_has(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        async with life(mirrors) as opened:
            await mirrors.plan("QuotaExceededError")
            opened.write("too much")
            with pytest.raises(StorageFull) as caught:
                await opened.commit()
            state = await opened.mirror.state()

        assert caught.value.usage_bytes
        assert caught.value.quota_bytes
        assert state.quota_bytes
        assert abs(caught.value.quota_bytes - state.quota_bytes) < state.quota_bytes / 10

    async def test_full_storage_keeps_every_page_for_the_commit_that_succeeds(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        async with life(mirrors) as opened:
            await write_and_commit(opened, "before")
            await mirrors.plan(*["QuotaExceededError"] * 3)
            for _ in range(3):
                opened.write("x" * 50_000)
                with pytest.raises(StorageFull):
                    await opened.commit()
            log = list((await mirrors.look()).log)
            await opened.commit()
            record = (await mirrors.look()).records[-1]

        assert log == [(1, 0), (1, 1)]
        assert len(record.page_numbers) > 3 * 50_000 // 4096
        async with life(mirrors) as opened:
            assert opened.notes() == ["before", *["x" * 50_000] * 3]


class TestLives:
    async def test_takeover_that_nobody_waits_for_does_not_fence_the_next(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        for turns in range(0, 40, 4):
            impatient = mirrors.make()
            taking_over = asyncio.ensure_future(impatient.take_over())
            for _ in range(turns):
                await asyncio.sleep(0)
            taking_over.cancel()
            await asyncio.wait([taking_over])
            await impatient.close()
            async with life(mirrors) as opened:
                await write_and_commit(opened, str(turns))

        async with life(mirrors) as opened:
            assert opened.notes() == [str(turns) for turns in range(0, 40, 4)]

    async def test_closing_waits_for_the_commit_under_way(self, mirrors: IndexedDBMirrors) -> None:
        async with life(mirrors) as opened:
            opened.write("under way")
            outcome = opened.begin_commit()

        assert outcome.done()
        assert outcome.result() is None
        async with life(mirrors) as opened:
            assert opened.notes() == ["under way"]

    async def test_lives_of_two_databases_do_not_touch_one_another(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        other = IndexedDBMirrors(f"{mirrors.name}-other")
        async with life(mirrors) as one, life(other) as two:
            await write_and_commit(one, "one")
            await write_and_commit(two, "two")

        async with life(mirrors) as one, life(other) as two:
            assert (one.notes(), two.notes()) == (["one"], ["two"])


class TestVerify:
    @pytest.mark.parametrize("store", ["log", "chunks"])
    async def test_any_altered_byte_is_found_while_the_owner_goes_on(
        self, mirrors: IndexedDBMirrors, store: str
    ) -> None:
        async with life(mirrors) as opened:
            await fill(opened, FOLD_RECORDS + 10)
            stored = await until_folded(mirrors)
            sound = await opened.mirror.verify()
            key = max(stored.log) if store == "log" else max(stored.chunks)
            await (await outside()).alter(mirrors.name, store, as_key(key))
            problems = await opened.mirror.verify()

        assert sound == []
        assert len(problems) == 1
        assert "was altered" in problems[0]

    async def test_nothing_is_wrong_at_any_moment_of_a_fold(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        looks = 0
        async with life(mirrors) as opened:
            await write_and_commit(opened, "x" * 1_200_000)
            while (await mirrors.look()).manifest is None:
                opened.write(f"{looks}")
                outcome = opened.begin_commit()
                assert await opened.mirror.verify() == []
                assert await outcome is None
                looks += 1

        assert looks > 1

    async def test_owner_that_was_fenced_is_told_that_another_has_written(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        async with life(mirrors) as old:
            await fill(old, 1)
            async with life(mirrors):
                problems = await old.mirror.verify()

        assert problems == ["its last record is 2.0, and not 1.1 as written from here"]


class TestFold:
    async def test_long_log_becomes_chunks_and_one_manifest(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        async with life(mirrors) as opened:
            notes = await fill(opened, FOLD_RECORDS + 20, size=300)
            stored = await until_folded(mirrors)
            page_count = stored.records[-1].page_count

        manifests = [record.chunks for record in stored.records if record.chunks]
        assert len(stored.log) < FOLD_RECORDS
        assert manifests == [len(stored.chunks)]
        assert (
            (page_count - 1) // CHUNK_PAGES <= len(stored.chunks) <= page_count // CHUNK_PAGES + 1
        )
        assert all(len(chunk) <= CHUNK_PAGES * 4096 for chunk in stored.chunks.values())
        async with life(mirrors) as opened:
            assert opened.notes() == notes

    async def test_folds_follow_one_another_and_leave_one_chunk_of_each_place(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        stored = None
        notes = []
        async with life(mirrors) as opened:
            for _ in range(3):
                notes += await fill(opened, FOLD_RECORDS + 10)
                stored = await until_folded(mirrors, but=stored)

        places = [index for index, _, _ in stored.chunks]
        assert places == sorted(set(places))
        async with life(mirrors) as opened:
            assert opened.notes() == notes

    async def test_log_of_small_records_is_folded_before_a_load_takes_long(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        chunks = 40  # Its bytes alone would be a reason after some 5,000 records.
        async with bare_file(mirrors) as (mirror, file):
            os.pwrite(file, bytes(chunks * CHUNK_PAGES * PAGE_BYTES), 0)
            await committed(mirror)
            await committed(mirror)
            first = await until_folded(mirrors)
            for number in range(FOLD_RECORDS_AT_MOST - 10):
                place = number % chunks * CHUNK_PAGES * PAGE_BYTES
                os.pwrite(file, (b"%d" % number).ljust(PAGE_BYTES, b"."), place)
                await committed(mirror)
            just_before = (await mirrors.look()).manifest
            for number in range(20):
                os.pwrite(file, (b"again %d" % number).ljust(PAGE_BYTES, b"."), 0)
                await committed(mirror)
            second = await until_folded(mirrors, but=first)
            written = content_of(file)
        async with bare_file(mirrors) as (_, file):
            assert content_of(file) == written

        assert just_before == first.manifest
        assert len(second.log) < FOLD_RECORDS

    async def test_fold_writes_the_chunks_that_changed_and_no_others(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        async with life(mirrors) as opened:
            opened.write("x" * 1_500_000)
            await opened.commit()
            await fill(opened, 10)
            first = await until_folded(mirrors)
            await fill(opened, FOLD_RECORDS + 10)
            second = await until_folded(mirrors, but=first)

        changed = second.chunks.keys() - first.chunks.keys()
        assert len(first.chunks) > 20
        assert 1 <= len(changed) <= 4

    async def test_commits_during_a_fold_are_kept(self, mirrors: IndexedDBMirrors) -> None:
        async with life(mirrors) as opened:
            notes = ["x" * 2_000_000]
            await write_and_commit(opened, *notes)
            # The fold has begun, and takes some 30 pauses; the first of these come in between.
            for number in range(150):
                notes.append(f"{number} " + "y" * (number * 97 % 6000))
                await write_and_commit(opened, notes[-1])
            manifest = (await until_folded(mirrors)).manifest

        assert manifest is not None
        assert manifest.behind == (1, 1)
        assert manifest.seq > 2
        async with life(mirrors) as opened:
            assert opened.notes() == notes

    async def test_life_that_ends_during_a_fold_leaves_the_database_whole(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        notes: list[str] = []
        for pause in (0.0, 0.02, 0.1, 0.2):
            async with life(mirrors) as opened:
                notes.append("x" * 1_200_000)
                await write_and_commit(opened, notes[-1])
                # To be at another place of the fold each time.
                await asyncio.sleep(pause)

        async with life(mirrors) as opened:
            assert opened.notes() == notes

    async def test_database_that_was_vacuumed_is_loaded_short(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        async with life(mirrors) as opened:
            opened.write("x" * 2_000_000)
            await opened.commit()
            large = await until_folded(mirrors)
            shrink(opened)
            await opened.commit()
            notes = await fill(opened, FOLD_RECORDS + 10)
            small = await until_folded(mirrors, but=large)

        assert len(small.chunks) < len(large.chunks) / 5
        async with life(mirrors) as opened:
            assert opened.notes() == notes

    async def test_database_that_shrinks_and_grows_again_during_a_fold_stays_whole(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        notes: list[str] = []
        async with life(mirrors) as opened:
            await write_and_commit(opened, "x" * 1_500_000)
            first = await until_folded(mirrors)
            # Every chunk changes, so the fold that begins now has all of them to write again.
            opened.execute("update notes set note = replace(note, 'x', 'y')")
            await opened.commit()
            shrink(opened)
            await opened.commit()
            # Half of the fold meets places that are not part of the file now, the other half does.
            await asyncio.sleep(0.15)
            notes.append("z" * 1_500_000)
            await write_and_commit(opened, *notes)
            await until_folded(mirrors, but=first)

        async with life(mirrors) as opened:
            assert opened.notes() == notes

    async def test_fold_that_fails_leaves_the_log_and_is_made_up_for(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        async with life(mirrors) as opened:
            await mirrors.plan("none", "none", "QuotaExceededError", store="chunks")
            notes = ["x" * 1_200_000]
            await write_and_commit(opened, *notes)
            await asyncio.sleep(0.1)  # The fold has failed at its third chunk by then.
            unfolded = await mirrors.look()
            notes += await fill(opened, FOLD_RECORDS)
            stored = await until_folded(mirrors)

        places = [index for index, _, _ in stored.chunks]
        assert unfolded.manifest is None
        assert places == sorted(set(places))
        async with life(mirrors) as opened:
            assert opened.notes() == notes

    async def test_chunks_of_a_fenced_owner_overwrite_nothing(
        self, mirrors: IndexedDBMirrors
    ) -> None:
        async with life(mirrors) as zombie:
            await write_and_commit(zombie, "x" * 1_200_000)
            # Its fold has begun, and goes on under the new owner, who folds the same places.
            async with life(mirrors) as owner:
                assert owner.notes() == ["x" * 1_200_000]
                owner.execute("update notes set note = replace(note, 'x', 'y')")
                await owner.commit()
                stored = await until_folded(mirrors)
                await asyncio.sleep(0.3)  # The zombie has done what it can by then.
                after = await mirrors.look()

        assert {key: after.chunks.get(key) for key in stored.chunks} == stored.chunks
        assert {epoch for epoch, seq in stored.log if seq > 2} <= {2}
        async with life(mirrors) as opened:
            assert opened.notes() == ["y" * 1_200_000]


def shrink(opened: Opened) -> None:
    opened.execute("delete from notes")
    opened.execute("vacuum")
