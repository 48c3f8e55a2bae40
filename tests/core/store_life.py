"""The lives of a store: flushed, crashed and opened again, and compared with its model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import fields
from operator import itemgetter
from typing import Any, Self

import pytest

from durably.codec import encode
from durably.database import Database
from durably.errors import StorageFenced
from durably.model import Durability
from durably.ports import Landed
from durably.store import Store
from durably.store.runs import NewRun
from durably.store.steps import LARGE_OUTPUT_CHARS
from durably.testing import FakeClock, MemoryDisk, MemoryMirror
from tests.core.store_model import Entry, Model, Row

TURNS = 5
"""Turns of the event loop in which one commit lands, and one behind it."""
MANY = 1_000
ALLOWED = {
    "pending": {"running", "cancelled"},
    "running": {"pending", "waiting", "completed", "failed", "cancelled"},
    "waiting": {"pending", "cancelled"},
}
"""The changes of a run's status."""
OWN_TABLES = ("steps", "attempts", "waits", "logs")


class HoldingMirror(MemoryMirror):
    """Lets a commit stand between its beginning and its landing while ``holds``."""

    holds = False
    _held: tuple[Landed, bytes] | None = None

    def let_go(self) -> None:
        held, self.holds, self._held = self._held, False, None
        if held is not None:
            self._settle(*held)

    def _settle(self, landed: Landed, image: bytes) -> None:
        if self.holds:
            self._held = (landed, image)
        else:
            super()._settle(landed, image)


class StoreLife:
    """A store in its lives, what it ought to hold, and what of that no crash may take."""

    database: Database
    store: Store

    def __init__(self) -> None:
        self.clock, self.disk = FakeClock(), MemoryDisk()
        self.model = Model()
        self.under_way: Model | None = None
        """What the mirror commit under way is about to store."""
        self.waits_made = 0
        self._acknowledged = Model()
        self._commits_under_way = 0
        self._promised = 0
        self._durable = 0
        self._changes_checked = 0
        self._seen: dict[str, tuple[str, int]] = {}

    @property
    def now(self) -> int:
        return self.clock.now()

    @classmethod
    @asynccontextmanager
    async def opened(cls) -> AsyncIterator[Self]:
        life = cls()
        await life.open()
        try:
            yield life
        finally:
            await life.close()

    async def open(self) -> None:
        """Begin the next life: what was acknowledged is there, and nothing else."""
        self._mirror = HoldingMirror("test", self.disk)
        self.database = Database("test", self._mirror, self.clock)
        await self.database.open()
        self.store = Store(self.database)
        self.database.on_durable = self._landed
        self._durable = self._promised = self.database.commits
        self.under_way, self._seen = None, {}
        self.model = deepcopy(self._acknowledged)
        self._check_file()

    async def close(self) -> None:
        await self.database.close()

    async def flush_all(self, durability: Durability) -> None:
        self._mirror.let_go()
        await self.database.flush(durability)

        assert self._durable == self.database.commits
        self._acknowledged, self.under_way = deepcopy(self.model), None
        self._check_file()

    async def begin_commit(self) -> None:
        """Where anything is not durable yet."""
        self._mirror.holds = True
        self.database.start_flush()
        self._promised = self.database.commits
        if self.under_way is None and self._durable < self._promised:
            self.under_way, self._commits_under_way = deepcopy(self.model), self._promised
        await _turns()

    async def end_commit(self) -> None:
        """The commit under way lands, and then what was promised meanwhile."""
        self._mirror.let_go()
        await _turns()

        assert self.under_way is None
        assert self._durable >= self._promised

    async def die(self, last_commit: str) -> None:
        """The tab goes without a word. A commit under way may still land."""
        if last_commit == "is lost":
            self.disk.is_dead = True
        if last_commit == "lands untold" and self.under_way is not None:
            self.disk.fail(self.disk.writes + 1, "die", lands=True)
            self._acknowledged = self.under_way
        self._mirror.let_go()
        await _turns()
        await self.database.close()
        self.disk.revive()
        await self.open()

    async def be_taken_over(self) -> None:
        """Another tab opens the file. What this one has and had written reaches it no more."""
        old, mirror = self.database, self._mirror
        try:
            await self.open()
            mirror.let_go()
            Store(old).runs.create(NewRun("resize", "{}"), self.now)
            with pytest.raises(StorageFenced):
                await old.flush()
        finally:
            await old.close()

    def _landed(self, commit: int) -> None:
        assert commit >= self._durable
        self._durable = commit
        is_all = commit == self.database.commits
        assert is_all or (self.under_way is not None and commit == self._commits_under_way)
        self._acknowledged = deepcopy(self.model) if is_all else self.under_way or Model()
        self.under_way = None

    # What holds at any time

    def check_changes(self) -> None:
        """Where a rule has changed anything: the store holds what the model does."""
        changes = self.database._open_connection().total_changes
        if changes != self._changes_checked:
            self._changes_checked = changes
            self.check()

    def check(self) -> None:
        entries = list(self.model.entries.values())
        runs = rows(reversed(self._find_all()))
        assert runs == [entry.run for entry in entries]
        for entry in entries:
            self._check_entry(entry)
        self._check_changes(runs)
        self._check_tables(entries)
        self._check_lookups(runs)

    def _find_all(self) -> list[Any]:
        return self.store.runs.find(
            statuses=None, jobs=None, labels={}, before=None, limit=MANY, offset=0
        )

    def _check_entry(self, entry: Entry) -> None:
        run_id, store = entry.run["id"], self.store
        assert rows(store.steps.of_run(run_id)) == list(entry.steps.values())
        assert rows(store.waits.of_run(run_id)) == list(entry.waits.values())
        attempts = rows(store.steps.attempts(run_id))
        assert sorted(attempts, key=_began) == sorted(entry.attempts.values(), key=_began)
        assert store.steps.last_attempts(run_id) == entry.last_saved
        assert rows(store.logs.of_run(run_id, 0, MANY), but="sequence") == entry.logs
        stored = store.steps.stored(run_id)
        assert stored.keys() == entry.steps.keys()
        for position, (name, step) in enumerate(entry.steps.items(), start=1):
            text = encode(step["output"]) if step["is_output_kept"] else None
            is_large = text is not None and len(text) > LARGE_OUTPUT_CHARS
            assert stored[name] == (position, "" if is_large else text, step["error"])
            assert not is_large or store.steps.output(run_id, position) == text

    def _check_changes(self, runs: list[Row]) -> None:
        busy = [(run["job"], run["concurrency_key"]) for run in runs if run["status"] == "running"]
        busy = [place for place in busy if place[1] is not None]
        assert len(busy) == len(set(busy)), "one run at a time under a concurrency key"
        seen = {run["id"]: (run["status"], run["lease_generation"]) for run in runs}
        for run_id, (status, generation) in seen.items():
            before, generation_before = self._seen.get(run_id, (status, generation))
            assert status == before or status in ALLOWED.get(before, ())
            is_claimed = before == "pending" and status == "running"
            assert generation == generation_before + is_claimed
        self._seen = seen

    def _check_tables(self, entries: list[Entry]) -> None:
        """What no verb of the store shows: keys, and rows that belong to nothing."""
        keys = self.database.read("select * from idempotency_keys", {})
        assert {
            (row["job"], row["key"]): (row["run_id"], row["expires_at"]) for row in keys
        } == self.model.keys
        labels = self.database.read("select run, key, value from labels", {})
        assert {tuple(row) for row in labels} == {
            (entry.run["sequence"], *label)
            for entry in entries
            for label in entry.run["labels"].items()
        }
        orphans = " union all ".join(
            f"select '{table}' from {table} where run_id not in (select id from runs)"
            for table in OWN_TABLES
        )
        assert [tuple(row) for row in self.database.read(orphans, {})] == []

    def _check_lookups(self, runs: list[Row]) -> None:
        leases, store = self.store.leases, self.store
        running = [run for run in runs if run["status"] == "running"]
        of_run = itemgetter("id", "lease_generation", "job", "lease_owner", "heartbeat_at")
        assert [
            (one.lease.run_id, one.lease.generation, one.job, one.owner, one.heartbeat_at)
            for one in leases.running()
        ] == list(map(of_run, running))
        pending = {run["job"] for run in runs if run["status"] == "pending"}
        assert sorted(leases.pending_jobs()) == sorted(pending)
        deadlines = [wait["deadline_at"] for wait in self.model.with_deadline()]
        assert store.waits.next_deadline() == min(deadlines, default=None)
        ends = [run["completed_at"] for run in runs if run["completed_at"] is not None]
        assert store.retention.first_end() == min(ends, default=None)

    def _check_file(self) -> None:
        self.check()
        for pragma, answer in (("integrity_check", [("ok",)]), ("foreign_key_check", [])):
            found = self.database.read(f"pragma {pragma}", {})
            assert [tuple(row) for row in found] == answer


def rows(facts: Iterable[Any], *, but: str = "") -> list[Row]:
    """The fields of facts by name, without one of them."""
    return [
        {field.name: getattr(fact, field.name) for field in fields(fact) if field.name != but}
        for fact in facts
    ]


def _began(attempt: Row) -> tuple[int, int, str]:
    return attempt["started_at"], attempt["number"], attempt["step"]


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)
