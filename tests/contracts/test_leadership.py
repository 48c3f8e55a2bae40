"""The leaderships of CPython, and the one of tests, keep the contract of their port."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from durably.ports import Leadership
from durably.testing import EveryoneLeads, FakeLeadership, FakeLock
from tests.contracts.leadership import (
    ExclusiveLeadershipContract,
    LeadershipContract,
    Leaderships,
    new_owner,
    nobody_waits,
)

if sys.platform != "emscripten":  # A tab has no processes, and no such module.
    from durably import owners
    from durably.owners import OwnerFiles


class FakeLeaderships(Leaderships):
    def __init__(self) -> None:
        self._lock = FakeLock()

    def make(self) -> Leadership:
        return FakeLeadership(self._lock)

    async def lose(self, leadership: Leadership) -> None:
        assert isinstance(leadership, FakeLeadership)
        leadership.lose()


class TestFakeLeadership(ExclusiveLeadershipContract):
    @pytest.fixture
    def leaderships(self) -> Leaderships:
        return FakeLeaderships()

    async def test_can_be_one_that_proves_nothing(self) -> None:
        leadership = FakeLeadership(FakeLock(), proves_death=False)
        await leadership.acquire(new_owner(), nobody_waits)

        assert list(leadership.ended({new_owner()})) == []


class TestEveryoneLeads:
    async def test_nobody_waits_and_no_end_is_proven(self) -> None:
        one, two = EveryoneLeads(), EveryoneLeads()
        one.on_lost(nobody_waits)
        await one.acquire(new_owner(), nobody_waits)
        await two.acquire("two", nobody_waits)
        two.release(leaves_runs=True)
        one.release()
        one.release()
        await one.acquire(new_owner(), nobody_waits)

        assert list(one.ended({"two"})) == []


class Processes(Leaderships):
    """Sides that share a file. They are in one process here; tests/crash has them in many."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: list[OwnerFiles] = []

    def make(self) -> OwnerFiles:
        self.made.append(OwnerFiles(self.folder))
        return self.made[-1]

    async def side(self, owner: str) -> OwnerFiles:
        leadership = self.make()
        await leadership.acquire(owner, nobody_waits)
        return leadership

    async def leave_behind(self, owner: str) -> None:
        """What a process leaves that is killed: its file, and nobody holds the lock."""
        (await self.side(owner)).release(leaves_runs=True)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.mark.cpython_only  # The file system of Pyodide has no locks.
@pytest.mark.skipif(find_spec("fcntl") is None, reason="this system has no flock")
class TestOwnerFiles(LeadershipContract):
    @pytest.fixture
    def leaderships(self, tmp_path: Path) -> Iterator[Processes]:
        processes = Processes(tmp_path / "data" / "shop.sqlite3.owners")
        yield processes
        for leadership in processes.made:
            leadership.release()

    async def test_every_side_leads_and_sees_the_others_alive(self, leaderships: Processes) -> None:
        one, two = await leaderships.side("one"), await leaderships.side("two")

        assert list(one.ended({"one", "two"})) == []
        assert list(two.ended({"one", "two"})) == []

    async def test_clean_end_leaves_nothing(self, leaderships: Processes) -> None:
        one, two = await leaderships.side("one"), await leaderships.side("two")
        one.release()
        left_by_one = leaderships.files()
        two.release()

        assert left_by_one == ["two"]
        assert not leaderships.folder.exists()

    async def test_owner_without_a_file_has_not_provably_ended(
        self, leaderships: Processes
    ) -> None:
        await leaderships.leave_behind("one")
        (leaderships.folder / "one").unlink()
        two = await leaderships.side("two")

        assert list(two.ended({"one", "of an older version"})) == []

    async def test_folder_removed_by_hand_proves_nothing_and_harms_nobody(
        self, leaderships: Processes
    ) -> None:
        one = await leaderships.side("one")
        (leaderships.folder / "one").unlink()
        leaderships.folder.rmdir()
        ended = list(one.ended({"two"}))
        one.release()
        two = await leaderships.side("two")

        assert ended == []
        assert list(two.ended({"one"})) == []

    async def test_file_of_an_owner_that_ended_goes_once_its_runs_are_recovered(
        self, leaderships: Processes
    ) -> None:
        await leaderships.leave_behind("one")
        two = await leaderships.side("two")
        while_recovering = [leaderships.files() for _ in two.ended({"one"})]

        assert while_recovering == [["one", "two"]]
        assert leaderships.files() == ["two"]

    async def test_owner_that_died_idle_is_cleaned_up_too(self, leaderships: Processes) -> None:
        await leaderships.leave_behind("idle")
        two = await leaderships.side("two")

        assert list(two.ended(())) == ["idle"]
        assert leaderships.files() == ["two"]

    async def test_proof_outlives_a_recovery_that_fails(self, leaderships: Processes) -> None:
        await leaderships.leave_behind("one")
        two = await leaderships.side("two")
        with pytest.raises(ZeroDivisionError):
            for _ in two.ended({"one"}):
                raise ZeroDivisionError

        assert list(two.ended({"one"})) == ["one"]

    async def test_of_two_that_look_at_the_same_time_one_recovers(
        self, leaderships: Processes
    ) -> None:
        await leaderships.leave_behind("one")
        two, three = await leaderships.side("two"), await leaderships.side("three")
        seen_by_three = [list(three.ended({"one"})) for _ in two.ended({"one"})]

        assert seen_by_three == [[]]
        assert list(three.ended({"one"})) == []

    async def test_lock_of_a_file_that_was_just_removed_proves_nothing(
        self, leaderships: Processes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two find the file; the second opens it before the first removes it, and locks it then."""
        await leaderships.leave_behind("one")
        two, three = await leaderships.side("two"), await leaderships.side("three")
        open_file = os.open
        recovered_by_two: list[str] = []

        def open_slowly(path: Path, flags: int, mode: int = 0o777) -> int:
            descriptor = open_file(path, flags, mode)
            if path.name == "one" and not recovered_by_two:
                monkeypatch.undo()
                recovered_by_two.extend(two.ended({"one"}))
            return descriptor

        monkeypatch.setattr(os, "open", open_slowly)
        recovered_by_three = list(three.ended({"one"}))

        assert (recovered_by_two, recovered_by_three) == (["one"], [])

    @pytest.mark.parametrize("when", ["before it is locked", "once it is locked"])
    async def test_file_that_is_being_made_is_never_taken_for_one_left_behind(
        self, leaderships: Processes, monkeypatch: pytest.MonkeyPatch, when: str
    ) -> None:
        one = await leaderships.side("one")
        flock = owners.fcntl.flock
        looks: list[list[str]] = []

        def look() -> None:
            monkeypatch.undo()
            looks.append(list(one.ended({"two"})))

        def flock_slowly(descriptor: int, operation: int) -> None:
            if when == "before it is locked":
                look()
            flock(descriptor, operation)
            if when == "once it is locked":
                look()

        monkeypatch.setattr(owners.fcntl, "flock", flock_slowly)
        two = await leaderships.side("two")

        assert "two" not in looks[0]
        assert leaderships.files() == ["one", "two"]
        assert list(one.ended({"two"})) == []
        two.release(leaves_runs=True)
        assert list(one.ended({"two"})) == ["two"]

    async def test_look_that_holds_the_file_being_made_only_costs_a_second_try(
        self, leaderships: Processes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = await leaderships.side("one")
        flock, looking = owners.fcntl.flock, one.ended(())

        def flock_slowly(descriptor: int, operation: int) -> None:
            monkeypatch.undo()
            assert next(looking) == "two.0"  # It holds the lock that is asked for now.
            flock(descriptor, operation)

        monkeypatch.setattr(owners.fcntl, "flock", flock_slowly)
        two = await leaderships.side("two")

        assert list(looking) == []
        assert leaderships.files() == ["one", "two"]
        assert list(one.ended({"two"})) == []
        two.release()

    async def test_folder_that_goes_with_its_last_owner_is_made_again(
        self, leaderships: Processes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = await leaderships.side("one")
        open_file = os.open

        def open_slowly(path: Path, flags: int, mode: int = 0o777) -> int:
            monkeypatch.undo()
            one.release()
            return open_file(path, flags, mode)

        monkeypatch.setattr(os, "open", open_slowly)
        await leaderships.side("two")

        assert leaderships.files() == ["two"]

    async def test_place_that_only_pretends_to_lock_proves_nothing(
        self, leaderships: Processes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await leaderships.leave_behind("one")
        monkeypatch.setattr(owners.fcntl, "flock", lambda descriptor, operation: None)
        two = await leaderships.side("two")

        assert list(two.ended({"one"})) == []
        assert leaderships.files() == ["one"]
        two.release()

    @pytest.mark.parametrize("error", [OSError("no locks available"), PermissionError("no")])
    async def test_place_without_locks_proves_nothing(
        self, leaderships: Processes, monkeypatch: pytest.MonkeyPatch, error: OSError
    ) -> None:
        def refuse(descriptor: int, operation: int) -> None:
            raise error

        await leaderships.leave_behind("one")
        monkeypatch.setattr(owners.fcntl, "flock", refuse)
        two = await leaderships.side("two")

        assert list(two.ended({"one"})) == []
        two.release()

    async def test_system_without_flock_proves_nothing(
        self, leaderships: Processes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await leaderships.leave_behind("one")
        monkeypatch.setattr(owners, "fcntl", None)
        two = await leaderships.side("two")

        assert list(two.ended({"one"})) == []
        assert leaderships.files() == ["one"]
        two.release()
