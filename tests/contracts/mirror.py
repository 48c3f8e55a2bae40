"""The contract of the Mirror port, for every implementation: its tests are run against each.

To add an implementation, derive ``Mirrors`` for it, give its fixture the name ``mirrors``, and
derive a test class from the contracts that it has to keep. Nothing here needs a fake clock.
"""

from __future__ import annotations

import asyncio
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import pytest

from durably import DamagedDatabase, Durability, StorageFenced, StorageFull, StorageLost
from durably.errors import StorageError
from durably.ports import Mirror, Place

DURABILITIES: list[Durability] = ["relaxed", "strict"]


class Mirrors(ABC):
    """One storage, and the mirrors that are opened on it, one life after the other."""

    place: Place

    @abstractmethod
    def make(self) -> Mirror:
        """A mirror for the next life on the same storage."""

    async def damage(self) -> None:
        """Make what is stored something that is not one whole."""
        raise NotImplementedError

    async def clear(self) -> None:
        """Let all that is stored be gone, as its user can."""
        raise NotImplementedError

    async def stored(self) -> object:
        """All that is stored, to be compared."""
        raise NotImplementedError

    async def fail_next(self, fault: Literal["full", "lost"]) -> None:
        """Let the next commit fail, and the one after it succeed again."""
        raise NotImplementedError


class Opened:
    """A mirror that was taken over, and a connection to its file as the engine makes it."""

    def __init__(self, mirror: Mirror, path: str) -> None:
        self.mirror = mirror
        self._connection = sqlite3.connect(path, isolation_level=None)
        pragmas = (
            ["journal_mode = wal", "synchronous = normal"]
            if mirror.is_shared
            else ["locking_mode = exclusive", "journal_mode = memory", "synchronous = off"]
        )
        for pragma in pragmas:
            self._connection.execute(f"pragma {pragma}")

    def write(self, note: str) -> None:
        self._connection.execute("create table if not exists notes (note text)")
        self._connection.execute("insert into notes values (?)", (note,))

    def execute(self, sql: str) -> None:
        self._connection.execute(sql)

    def notes(self) -> list[str]:
        tables = self._connection.execute("select name from sqlite_schema").fetchall()
        if not tables:
            return []
        return [note for (note,) in self._connection.execute("select note from notes")]

    async def commit(self, durability: Durability = "relaxed") -> None:
        await committed(self.mirror, durability)

    def begin_commit(self) -> asyncio.Future[StorageError | None]:
        return begin_commit(self.mirror)

    async def close(self) -> None:
        self._connection.close()
        await self.mirror.close()


def begin_commit(
    mirror: Mirror, durability: Durability = "relaxed"
) -> asyncio.Future[StorageError | None]:
    outcome: asyncio.Future[StorageError | None] = asyncio.get_running_loop().create_future()
    if not mirror.commit(durability, outcome.set_result):
        outcome.set_result(None)
    return outcome


async def committed(mirror: Mirror, durability: Durability = "relaxed") -> None:
    """Commit, and return when it has landed; raises what went wrong."""
    if error := await begin_commit(mirror, durability):
        raise error


@asynccontextmanager
async def life(mirrors: Mirrors, known_epoch: int | None = None) -> AsyncIterator[Opened]:
    mirror = mirrors.make()
    opened = Opened(mirror, await mirror.take_over(known_epoch or 0))
    try:
        yield opened
    finally:
        await opened.close()


async def write_and_commit(opened: Opened, *notes: str) -> None:
    for note in notes:
        opened.write(note)
        await opened.commit()


class StateContract:
    """What every mirror says of itself, also one that keeps nothing."""

    async def test_state_says_where_the_data_lie(self, mirrors: Mirrors) -> None:
        async with life(mirrors) as opened:
            state = await opened.mirror.state()

        assert state.place == mirrors.place

    async def test_figures_are_numbers_or_unknown_together(self, mirrors: Mirrors) -> None:
        async with life(mirrors) as opened:
            opened.write("x" * 100_000)
            await opened.commit()
            state = await opened.mirror.state()

        if state.usage_bytes is None or state.quota_bytes is None:
            assert (state.usage_bytes, state.quota_bytes) == (None, None)
        else:
            assert 0 <= state.usage_bytes <= state.quota_bytes
            assert {type(state.usage_bytes), type(state.quota_bytes)} == {int}

    async def test_answer_to_persist_is_what_the_state_says_then(self, mirrors: Mirrors) -> None:
        async with life(mirrors) as opened:
            answer = await opened.mirror.persist()
            state = await opened.mirror.state()

        assert state.is_persisted in (answer, None)

    async def test_nothing_is_wrong_with_what_was_committed(self, mirrors: Mirrors) -> None:
        async with life(mirrors) as opened:
            assert await opened.mirror.verify() == []
            for number in range(3):
                opened.write(f"{number} " + "x" * 20_000)
                await opened.commit()

            assert await opened.mirror.verify() == []

    async def test_asking_changes_nothing(self, mirrors: Mirrors) -> None:
        async with life(mirrors) as opened:
            opened.write("kept")
            await opened.commit()
            opened.write("not durable yet")
            first = await opened.mirror.state()
            await opened.mirror.verify()
            second = await opened.mirror.state()

        assert first.dirty_pages == second.dirty_pages
        assert first.epoch == second.epoch


class MirrorContract(StateContract):
    """What every mirror that keeps something does."""

    async def test_first_life_begins_with_nothing(self, mirrors: Mirrors) -> None:
        async with life(mirrors) as opened:
            assert opened.notes() == []

    @pytest.mark.parametrize("durability", DURABILITIES)
    async def test_committed_write_is_there_in_the_next_life(
        self, mirrors: Mirrors, durability: Durability
    ) -> None:
        async with life(mirrors) as opened:
            opened.write("kept")
            await opened.commit(durability)

        async with life(mirrors) as opened:
            assert opened.notes() == ["kept"]

    async def test_each_commit_adds_to_the_ones_before(self, mirrors: Mirrors) -> None:
        for number in range(3):
            async with life(mirrors) as opened:
                for letter in "ab":
                    opened.write(f"{letter}{number}")
                    await opened.commit()

        async with life(mirrors) as opened:
            assert opened.notes() == ["a0", "b0", "a1", "b1", "a2", "b2"]

    async def test_many_commits_and_large_ones_come_back_whole(self, mirrors: Mirrors) -> None:
        written = [f"{number} " + "x" * (number * 997 % 9_001) for number in range(60)]
        async with life(mirrors) as opened:
            for note in written:
                opened.write(note)
                await opened.commit()

        async with life(mirrors) as opened:
            assert opened.notes() == written

    async def test_commit_without_a_change_succeeds(self, mirrors: Mirrors) -> None:
        async with life(mirrors) as opened:
            opened.write("kept")
            await opened.commit()
            await opened.commit()
            await opened.commit("strict")

        async with life(mirrors) as opened:
            assert opened.notes() == ["kept"]

    async def test_outcome_of_a_commit_is_told_once(self, mirrors: Mirrors) -> None:
        outcomes: list[object] = []
        async with life(mirrors) as opened:
            opened.write("kept")
            is_told = opened.mirror.commit("relaxed", outcomes.append)
            while is_told and not outcomes:
                await asyncio.sleep(0)
            await opened.commit()

        assert outcomes == [None] * is_told

    async def test_closing_what_was_never_taken_over_is_harmless(self, mirrors: Mirrors) -> None:
        await mirrors.make().close()

        async with life(mirrors) as opened:
            assert opened.notes() == []


class FenceContract:
    """What a mirror does that has the storage to itself: it fences, and it drops what is open."""

    async def test_mirror_says_that_it_is_not_shared(self, mirrors: Mirrors) -> None:
        mirror = mirrors.make()
        await mirror.close()

        assert not mirror.is_shared

    async def test_state_counts_the_pages_that_are_not_durable_yet(self, mirrors: Mirrors) -> None:
        async with life(mirrors) as opened:
            opened.write("kept")
            await opened.commit()
            clean = await opened.mirror.state()
            opened.write("x" * 50_000)
            dirty = await opened.mirror.state()
            await opened.commit()
            clean_again = await opened.mirror.state()

        assert (clean.dirty_pages, clean_again.dirty_pages) == (0, 0)
        assert dirty.dirty_pages >= 50_000 // 4096

    async def test_pages_of_a_commit_under_way_are_not_durable_yet(self, mirrors: Mirrors) -> None:
        async with life(mirrors) as opened:
            opened.write("x" * 50_000)
            outcome = opened.begin_commit()
            state = await opened.mirror.state()
            assert await outcome is None

        assert state.dirty_pages >= 50_000 // 4096

    async def test_each_owner_has_an_epoch_of_its_own(self, mirrors: Mirrors) -> None:
        epochs = []
        for _ in range(3):
            async with life(mirrors) as opened:
                epochs.append((await opened.mirror.state()).epoch)

        assert None not in epochs
        assert len(set(epochs)) == 3

    async def test_storage_that_has_come_to_the_known_epoch_or_further_is_taken_over(
        self, mirrors: Mirrors
    ) -> None:
        async with life(mirrors) as opened:
            await write_and_commit(opened, "kept")
            known_epoch = opened.mirror.epoch
        for _ in range(2):
            async with life(mirrors, known_epoch) as opened:
                assert opened.notes() == ["kept"]

    async def test_storage_that_was_cleared_is_lost_for_whoever_knows_of_it(
        self, mirrors: Mirrors
    ) -> None:
        async with life(mirrors) as opened:
            await write_and_commit(opened, "gone")
            known_epoch = opened.mirror.epoch
        await mirrors.clear()
        mirror = mirrors.make()

        assert known_epoch is not None
        with pytest.raises(StorageLost):
            await mirror.take_over(known_epoch)
        await mirror.close()
        async with life(mirrors) as opened:
            assert (opened.mirror.epoch, opened.notes()) == (1, [])

    async def test_storage_that_was_begun_anew_is_left_alone_by_whoever_knew_the_old_one(
        self, mirrors: Mirrors
    ) -> None:
        for _ in range(2):
            async with life(mirrors) as opened:
                known_epoch = opened.mirror.epoch
        await mirrors.clear()
        async with life(mirrors) as opened:
            await write_and_commit(opened, "of somebody else")
        before = await mirrors.stored()
        mirror = mirrors.make()

        assert known_epoch is not None
        with pytest.raises(StorageLost):
            await mirror.take_over(known_epoch)
        await mirror.close()
        assert await mirrors.stored() == before

    async def test_what_is_not_durable_yet_is_not_taken_for_damage(self, mirrors: Mirrors) -> None:
        async with life(mirrors) as opened:
            opened.write("kept")
            await opened.commit()
            opened.write("x" * 50_000)
            outcome = opened.begin_commit()
            opened.write("x" * 50_000)

            assert await opened.mirror.verify() == []
            assert await outcome is None

    async def test_what_is_written_while_it_is_read_back_is_not_taken_for_damage(
        self, mirrors: Mirrors
    ) -> None:
        async with life(mirrors) as opened:
            opened.write("kept")
            await opened.commit()
            verifying = asyncio.ensure_future(opened.mirror.verify())
            await asyncio.sleep(0)
            opened.write("written meanwhile, to a page that was clean")
            outcome = opened.begin_commit()

            assert await verifying == []
            assert await outcome is None

    async def test_damage_under_the_owner_is_found_and_left_as_it_is(
        self, mirrors: Mirrors
    ) -> None:
        async with life(mirrors) as opened:
            opened.write("kept")
            await opened.commit()
            await mirrors.damage()
            damaged = await mirrors.stored()
            problems = await opened.mirror.verify()

            assert problems
            assert await mirrors.stored() == damaged

    async def test_write_that_was_not_committed_is_dropped(self, mirrors: Mirrors) -> None:
        async with life(mirrors) as opened:
            opened.write("kept")
            await opened.commit()
            opened.write("dropped")

        async with life(mirrors) as opened:
            assert opened.notes() == ["kept"]

    async def test_commit_holds_nothing_that_was_written_after_it_began(
        self, mirrors: Mirrors
    ) -> None:
        async with life(mirrors) as opened:
            opened.write("before")
            outcome = opened.begin_commit()
            opened.write("after")
            assert await outcome is None

        async with life(mirrors) as opened:
            assert opened.notes() == ["before"]

    async def test_what_was_written_during_a_commit_is_part_of_the_next(
        self, mirrors: Mirrors
    ) -> None:
        async with life(mirrors) as opened:
            opened.write("before")
            outcome = opened.begin_commit()
            opened.write("after")
            assert await outcome is None
            await opened.commit()

        async with life(mirrors) as opened:
            assert opened.notes() == ["before", "after"]

    async def test_earlier_owner_is_fenced_by_a_takeover(self, mirrors: Mirrors) -> None:
        async with life(mirrors) as old:
            old.write("kept")
            await old.commit()
            async with life(mirrors) as new:
                old.write("too late")

                with pytest.raises(StorageFenced):
                    await old.commit()
                assert new.notes() == ["kept"]

    async def test_fenced_owner_changes_nothing(self, mirrors: Mirrors) -> None:
        async with life(mirrors) as old:
            old.write("kept")
            await old.commit()
            async with life(mirrors) as new:
                for note in ("first", "second"):
                    old.write(f"too late, {note}")
                    with pytest.raises(StorageFenced):
                        await old.commit()
                    new.write(note)
                    await new.commit()

        async with life(mirrors) as opened:
            assert opened.notes() == ["kept", "first", "second"]

    async def test_owner_is_fenced_before_the_new_one_has_written(self, mirrors: Mirrors) -> None:
        async with life(mirrors) as old, life(mirrors):
            old.write("too late")

            with pytest.raises(StorageFenced):
                await old.commit("strict")

    async def test_new_owner_sees_what_the_old_one_committed_last(self, mirrors: Mirrors) -> None:
        async with life(mirrors) as old:
            for note in "abc":
                old.write(note)
                await old.commit()
            async with life(mirrors) as new:
                assert new.notes() == ["a", "b", "c"]

    async def test_damaged_storage_is_refused_and_left_as_it_is(self, mirrors: Mirrors) -> None:
        async with life(mirrors) as opened:
            opened.write("kept")
            await opened.commit()
        await mirrors.damage()
        before = await mirrors.stored()
        mirror = mirrors.make()

        with pytest.raises(DamagedDatabase):
            await mirror.take_over()
        await mirror.close()
        assert await mirrors.stored() == before


class FaultContract:
    """What a mirror does whose storage can be full or lost."""

    @pytest.mark.parametrize(("fault", "error"), [("full", StorageFull), ("lost", StorageLost)])
    async def test_failed_commit_tells_what_went_wrong(
        self, mirrors: Mirrors, fault: Literal["full", "lost"], error: type[StorageError]
    ) -> None:
        async with life(mirrors) as opened:
            opened.write("kept")
            await opened.commit()
            await mirrors.fail_next(fault)
            opened.write("not stored")

            with pytest.raises(error):
                await opened.commit()

    async def test_changes_of_a_failed_commit_are_part_of_the_next(self, mirrors: Mirrors) -> None:
        async with life(mirrors) as opened:
            opened.write("before")
            await opened.commit()
            await mirrors.fail_next("full")
            opened.write("in the failed commit")
            with pytest.raises(StorageFull):
                await opened.commit()
            opened.write("after")
            await opened.commit()

        async with life(mirrors) as opened:
            assert opened.notes() == ["before", "in the failed commit", "after"]
