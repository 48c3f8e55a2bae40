"""Runs as their users see them: created, found, listed, cancelled."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection, Mapping
from typing import Any

from ..codec import is_text
from ..database import Database, Parameters
from ..errors import ConcurrencyConflict, RunNotFound
from ..model import Coalesce, Disposition, ErrorInfo, Run, RunStatus
from ..records import record
from .endings import interrupt_attempts
from .rows import error_from, readable, run_from

UNCLAIMED = {
    "status": "pending",
    "lease_owner": None,
    "lease_generation": 0,
    "heartbeat_at": None,
    "interruptions": 0,
    "progress": None,
    "output": None,
    "error": None,
    "started_at": None,
    "completed_at": None,
}
"""What a run begins with, as the schema has it."""


@record
class NewRun:
    """What is to be stored of a trigger, encoded and checked."""

    job: str
    input: str
    idempotency_key: str | None = None
    idempotency_expires_at: int | None = None
    concurrency_key: str | None = None
    coalesce: Coalesce | None = None
    labels: str = "{}"
    id: str = ""
    """Chosen by who triggers, so that to store it twice makes one run; else it is made here."""


@record
class Creation:
    """What became of a trigger."""

    disposition: Disposition
    run_id: str
    row: dict[str, Any] | None
    """None where the run behind the idempotency key was purged."""

    @property
    def run(self) -> Run | None:
        """Read from the row when it is asked for, which most programs never do."""
        return None if self.row is None else run_from(self.row)


@record
class Ending:
    """How a terminal run has ended."""

    status: RunStatus
    output: object
    """As in Run."""
    error: ErrorInfo | None


class Runs:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, new: NewRun, now: int) -> Creation:
        """A new pending run, or the one that a key of this job leads to.

        The idempotency key goes first: where it is known, nothing else matters. Raises
        ConcurrencyConflict where the concurrency key has a pending run that is not to be joined.
        """
        if new.idempotency_key is None and new.concurrency_key is None and new.labels == "{}":
            try:
                row = self._insert(new, now)
            except sqlite3.IntegrityError:
                # The same trigger again, because nobody heard the answer to the first one.
                stored = self._row(new.id)
                if stored is None:
                    raise
                row = dict(stored)
            return Creation("created", row["id"], row)
        with self._database.transaction():
            stored = self._row(new.id)
            if stored is not None:
                return Creation("created", new.id, dict(stored))
            known = self._known_by_key(new, now)
            if known is not None:
                stored = self._row(known)
                return Creation("idempotent", known, None if stored is None else dict(stored))
            joined = self._to_join(new)
            if joined is not None:
                return Creation("coalesced", joined["id"], dict(joined))
            inserted = self._insert(new, now)
            self._keep_key(new, inserted["id"])
            self._index_labels(json.loads(new.labels), inserted["sequence"])
            return Creation("created", inserted["id"], inserted)

    def get(self, run_id: str) -> Run | None:
        row = self._row(run_id) if is_text(run_id) else None
        return None if row is None else run_from(row)

    def ending(self, run_id: str) -> Ending | None:
        """How the run has ended, None while it is not terminal. Raises RunNotFound."""
        rows = self._database.read(
            "select status, output, error from runs where id = :id", {"id": run_id}
        )
        if not rows:
            raise RunNotFound(run_id)
        (row,) = rows
        status = RunStatus(row["status"])
        if not status.is_terminal:
            return None
        return Ending(status, readable(row["output"]), error_from(row["error"]))

    def find(
        self,
        *,
        statuses: Collection[RunStatus] | None,
        jobs: Collection[str] | None,
        labels: Mapping[str, str],
        before: int | None,
        limit: int,
        offset: int,
    ) -> list[Run]:
        """Newest first. None for statuses or jobs means any; labels have to fit all of them."""
        clauses = ["true"]
        parameters: dict[str, object] = {"limit": limit, "offset": offset, "before": before}
        if statuses is not None:
            # Not as one JSON value, as the jobs are: the planner sees how few they are.
            names = {f"status_{number}": status.value for number, status in enumerate(statuses)}
            clauses.append(f"status in ({', '.join(f':{name}' for name in names)})")
            parameters |= names
            if RunStatus.COMPLETED not in statuses:
                clauses.append("status <> 'completed'")
        if jobs is not None:
            clauses.append("job in (select value from json_each(:jobs))")
            parameters["jobs"] = json.dumps(list(jobs))
        for number, (key, value) in enumerate(labels.items()):
            name, text = f"label_{number}", f"text_{number}"
            clauses.append(
                f"sequence in (select run from labels where key = :{name} and value = :{text})"
            )
            parameters |= {name: key, text: value}
        if before is not None:
            clauses.append("sequence < :before")
        rows = self._database.read(
            f"""
            select *
            from runs
            where {" and ".join(clauses)}
            order by sequence desc
            limit :limit offset :offset
            """,
            parameters,
        )
        return [run_from(row) for row in rows]

    def cancel(self, run_id: str, now: int, *, keeps_outputs: bool) -> bool:
        with self._database.transaction():
            changed = self._database.write(
                """
                update runs
                set status = 'cancelled',
                    completed_at = :now,
                    lease_owner = null,
                    heartbeat_at = null,
                    keeps_outputs = :keeps_outputs
                where id = :id
                  and status in ('pending', 'running', 'waiting')
                """,
                {"id": run_id, "now": now, "keeps_outputs": keeps_outputs},
            )
            if changed:
                interrupt_attempts(self._database, run_id, "cancelled", now)
        return changed == 1

    def _row(self, run_id: str) -> sqlite3.Row | None:
        rows = self._database.read("select * from runs where id = :id", {"id": run_id})
        return rows[0] if rows else None

    def _insert(self, new: NewRun, now: int) -> dict[str, Any]:
        """The row as it is stored, put together here: SQLite takes long to return all of it."""
        row: dict[str, object] = {
            "id": new.id or new_id(now),
            "job": new.job,
            "input": new.input,
            "idempotency_key": new.idempotency_key,
            "concurrency_key": new.concurrency_key,
            "labels": new.labels,
            "created_at": now,
        }
        sequence = self._database.insert(
            """
            insert into runs
              (id, job, input, idempotency_key, concurrency_key, labels, created_at)
            values
              (:id, :job, :input, :idempotency_key, :concurrency_key, :labels, :created_at)
            """,
            row,
        )
        return UNCLAIMED | row | {"sequence": sequence}

    def _known_by_key(self, new: NewRun, now: int) -> str | None:
        """The id of the run that has the idempotency key, or had it before it was purged."""
        if new.idempotency_key is None:
            return None
        rows = self._database.read(
            """
            select run_id
            from idempotency_keys
            where job = :job
              and key = :key
              and (expires_at is null or expires_at > :now)
            """,
            {"job": new.job, "key": new.idempotency_key, "now": now},
        )
        return rows[0]["run_id"] if rows else None

    def _to_join(self, new: NewRun) -> sqlite3.Row | None:
        if new.concurrency_key is None:
            return None
        pending = self._with_key(new.job, new.concurrency_key, RunStatus.PENDING)
        if pending is not None:
            if new.coalesce is None:
                raise ConcurrencyConflict(new.job, new.concurrency_key, pending["id"])
            return pending
        if new.coalesce != "active":
            return None
        return self._with_key(new.job, new.concurrency_key, RunStatus.RUNNING) or self._with_key(
            new.job, new.concurrency_key, RunStatus.WAITING
        )

    def _with_key(self, job: str, key: str, status: RunStatus) -> sqlite3.Row | None:
        """The newest run of this status under the key.

        There may be two: one that has not begun, and an older one that was interrupted. Who joins
        the one that has not begun misses nothing of it.
        """
        rows = self._database.read(
            """
            select *
            from runs
            where job = :job
              and concurrency_key = :concurrency_key
              and status = :status
              and status in ('pending', 'running', 'waiting')
            order by sequence desc
            limit 1
            """,
            {"job": job, "concurrency_key": key, "status": status.value},
        )
        return rows[0] if rows else None

    def _keep_key(self, new: NewRun, run_id: str) -> None:
        if new.idempotency_key is None:
            return
        parameters: Parameters = {
            "job": new.job,
            "key": new.idempotency_key,
            "run_id": run_id,
            "expires_at": new.idempotency_expires_at,
        }
        self._database.write(
            """
            insert into idempotency_keys (job, key, run_id, expires_at)
            values (:job, :key, :run_id, :expires_at)
            on conflict (job, key)
            do update set run_id = :run_id, expires_at = :expires_at
            """,
            parameters,
        )

    def _index_labels(self, labels: Mapping[str, str], run: int) -> None:
        for key, value in labels.items():
            self._database.write(
                "insert into labels (key, value, run) values (:key, :value, :run)",
                {"key": key, "value": value, "run": run},
            )


def new_id(now: int) -> str:
    """128 bits in hexadecimal, the time first: ids made later sort later, as in UUID version 7."""
    return f"{now:012x}{os.urandom(10).hex()}"
