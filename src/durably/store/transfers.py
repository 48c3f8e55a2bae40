"""Runs as they leave for another database, and as they come from one.

What belongs to a run travels with it, without the ids and sequence numbers that are of one database
alone. The rows have the names of the columns, so that the file says what the schema says.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Collection, Mapping
from reprlib import repr as short_repr
from typing import Any

from ..codec import is_text
from ..database import Database
from ..errors import RunNotFound
from ..export_errors import DamagedExport
from ..model import ImportReport, Progress, RunStatus
from ..options import MOST
from ..records import record
from .endings import interrupt_attempts
from .rows import error_from

Row = dict[str, Any]

LOCAL = {"sequence", "run_id", "lease_owner", "heartbeat_at"}
"""Columns that mean nothing elsewhere, or that the place in the file tells."""

PARTS = {
    "steps": "select * from steps where run_id = :run_id order by position",
    "attempts": "select * from attempts where run_id = :run_id order by started_at, step, number",
    "waits": "select * from waits where run_id = :run_id order by position",
    "logs": "select * from logs where run_id = :run_id order by sequence",
}
"""What belongs to a run."""

INSERTS = {
    "run": """
        insert into runs
          (id, job, input, status, idempotency_key, concurrency_key, labels, lease_generation,
           interruptions, steps_at_interruption, progress, output, error, created_at, started_at,
           completed_at, keeps_outputs)
        values
          (:id, :job, :input, :status, :idempotency_key, :concurrency_key, :labels,
           :lease_generation, :interruptions, :steps_at_interruption, :progress, :output, :error,
           :created_at, :started_at, :completed_at, :keeps_outputs)
    """,
    "steps": """
        insert into steps
          (run_id, name, position, attempt, status, output, error, started_at, completed_at)
        values
          (:run_id, :name, :position, :attempt, :status, :output, :error, :started_at,
           :completed_at)
    """,
    "attempts": """
        insert into attempts
          (run_id, step, number, started_at, metadata, interrupted_at, reason)
        values
          (:run_id, :step, :number, :started_at, :metadata, :interrupted_at, :reason)
    """,
    "waits": """
        insert into waits
          (id, run_id, name, position, metadata, created_at, deadline_at, is_awaited, outcome,
           signal_id, payload, settled_at)
        values
          (:id, :run_id, :name, :position, :metadata, :created_at, :deadline_at, :is_awaited,
           :outcome, :signal_id, :payload, :settled_at)
    """,
    "logs": """
        insert into logs (run_id, at, level, message, data, step)
        values (:run_id, :at, :level, :message, :data, :step)
    """,
    "key": """
        insert into idempotency_keys (job, key, run_id, expires_at)
        values (:job, :key, :run_id, :expires_at)
        on conflict (job, key)
        do update set run_id = :run_id, expires_at = :expires_at
    """,
}

FIELDS = {name: set(re.findall(r":(\w+)", sql)) for name, sql in INSERTS.items()}


@record
class Import:
    """What became of a file, as far as others have to be told."""

    report: ImportReport
    runs: tuple[tuple[str, str, RunStatus], ...]
    """The ids of the new runs, with their jobs and where they stand."""


class Transfers:
    def __init__(self, database: Database) -> None:
        self._database = database

    def snapshot(self, run_ids: Collection[str] | None) -> list[Row]:
        """These runs, or all, with what belongs to them, at one moment and in their sequence.

        Behind them come their idempotency keys; with all runs also the keys of those that were
        purged. Raises RunNotFound.
        """
        with self._database.transaction():
            runs = self._runs(run_ids)
            kept = {run["id"] for run in runs}
            for run_id in run_ids or ():
                if run_id not in kept:
                    raise RunNotFound(run_id)
            lines = [self._with_belongings(run) for run in runs]
            keys = self._database.read("select * from idempotency_keys order by job, key", {})
            lines += [
                {"key": dict(key)} for key in keys if run_ids is None or key["run_id"] in kept
            ]
        return lines

    def take(self, lines: list[Row], now: int) -> Import:
        """Store what is not here yet, all of it or nothing.

        A run that was running is pending: its owner is not here, and that is no interruption.
        Raises DamagedExport.
        """
        try:
            with self._database.transaction():
                return self._take(lines, now)
        except sqlite3.IntegrityError as error:
            raise DamagedExport(f"it holds what cannot be ({error})") from error

    def _take(self, lines: list[Row], now: int) -> Import:
        keys = [_checked("key", line["key"]) for line in lines if line.keys() == {"key"}]
        created, known, behind, conflicting = [], [], [], []
        runs = []
        for line in lines:
            if line.keys() == {"key"}:
                continue
            run, belongings = _checked_line(line)
            if self._is_known(run, now):
                known.append(run["id"])
                if self._is_behind(run, len(belongings["steps"])):
                    behind.append(run["id"])
            elif self._is_taken(run, keys, now):
                conflicting.append(run["id"])
            else:
                status = self._insert(run, belongings, now)
                created.append(run["id"])
                runs.append((run["id"], run["job"], status))
        for key in keys:
            if self._holder(key, now) is None:
                self._database.write(INSERTS["key"], key)
        report = ImportReport(tuple(created), tuple(known), tuple(behind), tuple(conflicting))
        return Import(report, tuple(runs))

    def _is_known(self, run: Row, now: int) -> bool:
        """Whether the run is here; or was, and its idempotency key is all that a purge has left."""
        if self._database.read("select id from runs where id = :id", run):
            return True
        key = {"job": run["job"], "key": run["idempotency_key"]}
        holder = self._holder(key, now)
        return holder is not None and holder == str(run["id"])

    def _is_behind(self, run: Row, steps: int) -> bool:
        """Whether the run could go on here, and its copy in the file is further on."""
        rows = self._database.read(
            """
            select (select count(*) from steps where run_id = :id) as steps
            from runs
            where id = :id
              and completed_at is null
            """,
            run,
        )
        if not rows:
            return False
        here: int = rows[0]["steps"]
        return run["completed_at"] is not None or steps > here

    def _is_taken(self, run: Row, keys: list[Row], now: int) -> bool:
        """Whether the run would do once more what another one does here under its key."""
        if run["completed_at"] is not None:
            return False
        for key in keys:
            is_over = key["expires_at"] is not None and key["expires_at"] <= now
            if key["run_id"] == run["id"] and not is_over:
                return self._holder(key, now) is not None
        return False

    def _holder(self, key: Mapping[str, object], now: int) -> str | None:
        """The id of the run that has an idempotency key here."""
        rows = self._database.read(
            """
            select run_id
            from idempotency_keys
            where job = :job
              and key = :key
              and (expires_at is null or expires_at > :now)
            """,
            {"job": key["job"], "key": key["key"], "now": now},
        )
        return rows[0]["run_id"] if rows else None

    def _insert(self, run: Row, belongings: dict[str, list[Row]], now: int) -> RunStatus:
        if run["status"] == "running":
            run = run | {"status": "pending"}
        sequence = self._database.insert(INSERTS["run"], run)
        for key, value in json.loads(run["labels"]).items():
            self._database.write(
                "insert into labels (key, value, run) values (:key, :value, :run)",
                {"key": key, "value": value, "run": sequence},
            )
        for name in PARTS:
            for row in belongings[name]:
                self._database.write(INSERTS[name], row)
        if run["completed_at"] is None:
            interrupt_attempts(self._database, run["id"], "lease-lost", now)
        return RunStatus(run["status"])

    def _runs(self, run_ids: Collection[str] | None) -> list[sqlite3.Row]:
        if run_ids is None:
            return self._database.read("select * from runs order by sequence", {})
        return self._database.read(
            """
            select *
            from runs
            where id in (select value from json_each(:ids))
            order by sequence
            """,
            {"ids": json.dumps(list(run_ids))},
        )

    def _with_belongings(self, run: sqlite3.Row) -> Row:
        line: Row = {"run": _portable(run)}
        for name, statement in PARTS.items():
            rows = self._database.read(statement, {"run_id": run["id"]})
            line[name] = [_portable(row) for row in rows]
        return line


def _portable(row: sqlite3.Row) -> Row:
    return {name: row[name] for name in row.keys() if name not in LOCAL}  # noqa: SIM118


def _checked_line(line: Row) -> tuple[Row, dict[str, list[Row]]]:
    """A run of a file and what belongs to it, as it is stored."""
    if line.keys() != {"run", *PARTS}:
        raise DamagedExport(f"a line of it holds {sorted(line)}")
    run = _checked("run", line["run"])
    belongings = {}
    for name in PARTS:
        if not isinstance(line[name], list):
            raise DamagedExport(f"the {name} of run {run['id']!r} are no list")
        belongings[name] = [_checked(name, row, run_id=run["id"]) for row in line[name]]
    names = [row["name"] for row in belongings["steps"]]
    if len(set(names)) < len(names):
        raise DamagedExport(f"run {run['id']!r} has a step twice")
    try:
        # These are read without a guard: a line that cannot be would hide every other run.
        labels = json.loads(run["labels"])
        assert all(is_text(text) for item in labels.items() for text in item)
        if run["progress"] is not None:
            Progress(*json.loads(run["progress"]))
        for row in (run, *belongings["steps"]):
            error_from(row["error"])
    except (AssertionError, AttributeError, RecursionError, TypeError, ValueError) as error:
        raise DamagedExport(f"run {run['id']!r} cannot be read ({error!r})") from error
    return run, belongings


def _checked(name: str, row: object, **given: object) -> Row:
    """A row that has the fields of its statement, and nothing that SQLite does not take."""
    fields = FIELDS[name] - given.keys()
    if not isinstance(row, dict) or row.keys() != fields:
        raise DamagedExport(f"it has a {name} with other fields than {sorted(fields)}")
    for field, value in row.items():
        is_count = type(value) is int and abs(value) <= MOST
        if not (value is None or is_count or is_text(value)):
            raise DamagedExport(f"the {field} of a {name} is {short_repr(value)}")
    return row | given
