"""What a person would otherwise pick on CPython.

Each is used as its documentation says, but for what stands at its class; where that makes a
difference, it makes the peer faster.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from dbos import DBOS
from huey import SqliteHuey
from unhinged import Unhinged

from bench.contenders import FINISHED_RUNS, STEPS_EACH, Amount, Contender, Safety


class OnUnhinged(Contender):
    """Its worker is run until idle on this thread, so that its polling costs nothing."""

    name = "unhinged"
    settings: Mapping[Safety, str] = {
        "killed process": "WAL, synchronous=normal, an option of it",
        "power cut": "WAL, synchronous=full, as it comes",
    }

    async def rates(self, path: Path, safety: Safety, amount: Amount) -> dict[str, float]:
        synchronous = "normal" if safety == "killed process" else "full"
        with closing(Unhinged(str(path), synchronous=synchronous)) as app:
            app.register_task("steps")(self._steps)
            app.register_task("one_step")(lambda number, ctx: ctx.step("step", lambda: int(number)))
            task = app.spawn("steps", amount.steps)
            app.run_until_idle()
            taken: float = app.fetch_task_result(task["task_id"]).result
            started = time.perf_counter()
            tasks = [app.spawn("one_step", number) for number in range(amount.runs)]
            app.run_until_idle()
            results = [app.fetch_task_result(task["task_id"]).result for task in tasks]
            runs_taken = time.perf_counter() - started
        assert results == list(range(amount.runs))
        return {"steps": amount.steps / taken, "runs": amount.runs / runs_taken}

    async def fill(self, path: Path) -> None:
        await self.rates(path, "killed process", Amount(STEPS_EACH, 0))
        ids = {
            "t_default": {"task_id", "last_attempt_run"},
            "r_default": {"run_id", "task_id"},
            "c_default": {"task_id", "owner_run_id"},
        }
        multiply(path, ids)

    def _steps(self, count: int, ctx: Any) -> float:
        started = time.perf_counter()
        for number in range(count):
            ctx.step("step", lambda number=number: int(number))
        return time.perf_counter() - started


class OnDbos(Contender):
    """Its workflows are called on this thread: threads of its own, or a queue, are slower.

    It knows nothing of the modes of SQLite, which therefore has the oldest one, and no WAL. Against
    a killed process it gets those that the others have, in SQLAlchemy's way.
    """

    name = "dbos"
    settings: Mapping[Safety, str] = {
        "killed process": "WAL, synchronous=normal, set for it here",
        "power cut": "a rollback journal, synchronous=full, as it comes",
    }
    slowness = 20

    async def rates(self, path: Path, safety: Safety, amount: Amount) -> dict[str, float]:
        modes = ["journal_mode = wal", "synchronous = normal"] if safety == "killed process" else []
        with modes_set(modes):
            url = f"sqlite:///{path}"
            DBOS(config={"name": "bench", "system_database_url": url, "log_level": "WARNING"})
            DBOS.launch()
            try:
                taken: float = dbos_steps(amount.steps)
                started = time.perf_counter()
                results = [dbos_one_step(number) for number in range(amount.runs)]
                runs_taken = time.perf_counter() - started
            finally:
                DBOS.destroy()
        assert results == list(range(amount.runs))
        return {"steps": amount.steps / taken, "runs": amount.runs / runs_taken}

    async def fill(self, path: Path) -> None:
        await self.rates(path, "killed process", Amount(STEPS_EACH, 0))
        tables = ["workflow_status", "workflow_input", "workflow_output", "operation_outputs"]
        multiply(path, {table: {"workflow_uuid"} for table in tables})


def _dbos_steps(count: int) -> float:
    started = time.perf_counter()
    for number in range(count):
        dbos_step(number)
    return time.perf_counter() - started


# Not as decorators: where it is not installed, a type checker would know nothing of what is below.
dbos_step = DBOS.step(name="step")(lambda number: int(number))
dbos_steps = DBOS.workflow(name="steps")(_dbos_steps)
dbos_one_step = DBOS.workflow(name="one_step")(lambda number: dbos_step(number))


class OnHuey(Contender):
    """A queue without steps, and without leases: a task is deleted when it is taken, so that a
    killed process loses the one under way. Its consumer's two calls are made on this thread."""

    name = "huey"
    settings: Mapping[Safety, str] = {
        "killed process": "WAL, synchronous=off, its fsync=False",
        "power cut": "WAL, synchronous=full, as it comes",
    }
    remembers = False

    async def rates(self, path: Path, safety: Safety, amount: Amount) -> dict[str, float]:
        fsync = False if safety == "killed process" else None
        huey = SqliteHuey(filename=str(path), fsync=fsync)
        one_step = huey.task(name="one_step")(lambda number: int(number))
        started = time.perf_counter()
        handles = [one_step(number) for number in range(amount.runs)]
        while (task := huey.dequeue()) is not None:
            huey.execute(task)
        results = [handle.get() for handle in handles]
        taken = time.perf_counter() - started
        huey.storage.close()
        assert results == list(range(amount.runs))
        return {"runs": amount.runs / taken}


PEERS: tuple[Contender, ...] = (OnUnhinged(), OnDbos(), OnHuey())


def multiply(path: Path, ids: Mapping[str, Collection[str]]) -> None:
    """Make of the one finished run in a file ``FINISHED_RUNS``, by copying its rows.

    ``ids`` names, for each table, the columns that say whose row it is.
    """
    with closing(sqlite3.connect(path)) as connection, connection:
        for fast in ("synchronous = off", "journal_mode = off", "cache_size = -500000"):
            connection.execute(f"pragma {fast}")
        for table, own in ids.items():
            columns = [row[1] for row in connection.execute(f"pragma table_info({table})")]
            values = [
                f"printf('%06d-', number) || {column}" if column in own else column
                for column in columns
            ]
            connection.execute(
                f"""
                with recursive numbers (number) as (
                  select 1 union all select number + 1 from numbers where number < :copies
                )
                insert into {table} ({", ".join(columns)})
                select {", ".join(values)}
                from numbers
                cross join {table}
                """,
                {"copies": FINISHED_RUNS - 1},
            )


@contextmanager
def modes_set(modes: Collection[str]) -> Iterator[None]:
    """Connections that SQLAlchemy opens meanwhile have these modes of SQLite."""

    def set_modes(connection: sqlite3.Connection, record: object) -> None:
        for mode in modes:
            connection.execute(f"pragma {mode}")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", set_modes)
    try:
        yield
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "connect", set_modes)
