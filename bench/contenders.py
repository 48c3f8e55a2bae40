"""What is measured on CPython: the work that everybody does, and this library at it.

Each contender has a file of its own, which is opened for its turn alone: its threads and its caches
are gone when the next one is measured.
"""

from __future__ import annotations

import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench import engine
from durably import Durably
from durably.clock import SystemClock
from durably.database import Database
from durably.local import FileMirror
from durably.store import Store
from durably.store.runs import NewRun

Safety = Literal["killed process", "power cut"]
"""What takes nothing away that was acknowledged: SQLite waits for the disk at each commit against a
power cut, and now and then against a killed process."""

FINISHED_RUNS, STEPS_EACH = 1000, 1000


@dataclass(frozen=True)
class Amount:
    """How much of each is done for one rate."""

    steps: int
    runs: int

    def __floordiv__(self, slowness: int) -> Amount:
        return Amount(self.steps // slowness, self.runs // slowness)


class Contender(ABC):
    name: str
    settings: Mapping[Safety, str]
    """How its SQLite is set, in words."""
    slowness = 1
    """By how much the amounts are divided, so that it takes no longer than the others."""

    remembers = True
    """Whether what is finished stays in its file."""
    is_peer = True

    @abstractmethod
    async def rates(self, path: Path, safety: Safety, amount: Amount) -> dict[str, float]:
        """``steps`` and ``runs`` a second on this file, of those that it has."""

    async def fill(self, path: Path) -> None:
        """Put ``FINISHED_RUNS`` of ``STEPS_EACH`` steps into a new file."""
        raise NotImplementedError


class Bare(Contender):
    """What nobody can be faster than: for each step one insert of a row, and its commit."""

    name = "SQLite alone"
    settings: Mapping[Safety, str] = {
        "killed process": "WAL, synchronous=normal",
        "power cut": "WAL, synchronous=full",
    }
    remembers = False
    is_peer = False

    async def rates(self, path: Path, safety: Safety, amount: Amount) -> dict[str, float]:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("pragma journal_mode = wal")
            synchronous = "normal" if safety == "killed process" else "full"
            connection.execute(f"pragma synchronous = {synchronous}")
            connection.execute("create table if not exists steps (name text, output text)")
            started = time.perf_counter()
            for number in range(amount.steps):
                connection.execute("insert into steps values (?, ?)", (f"step[{number}]", "1"))
            return {"steps": amount.steps / (time.perf_counter() - started)}


class Ours(Contender):
    name = "durably"
    is_peer = False
    settings: Mapping[Safety, str] = {
        "killed process": "WAL, synchronous=normal",
        "power cut": "the same, and durability='strict': fsync at each step, trigger and end",
    }

    async def rates(self, path: Path, safety: Safety, amount: Amount) -> dict[str, float]:
        async with Durably(
            path.stem,
            jobs=[engine.steps, engine.one_step],
            directory=path.parent,
            durability="relaxed" if safety == "killed process" else "strict",
        ) as durably:
            found = await engine.rates(durably, amount.steps, amount.runs)
        return {"steps": found["checkpoints"], "runs": found["runs"]}

    async def fill(self, path: Path) -> None:
        """Past the engine, which would take ten times as long."""
        database = Database(path.stem, FileMirror(path.stem, path), SystemClock())
        await database.open()
        store = Store(database)
        for _ in range(FINISHED_RUNS):
            with database.transaction():
                store.runs.create(NewRun("one_step", '{"number":1}'), 1)
                claim = store.leases.claim(["one_step"], "filler", 1)
                assert claim is not None
                for position in range(STEPS_EACH):
                    store.steps.checkpoint(
                        claim.lease,
                        f"step[{position}]",
                        position=position,
                        attempt=1,
                        output="1",
                        started_at=1,
                        now=1,
                    )
                store.leases.complete(claim.lease, "1", 1, keeps_outputs=False)
        await database.close()
