"""Waits and signals: what a run waits for from outside, and when that came."""

from __future__ import annotations

import json
import sqlite3

from ..database import Database
from ..model import Lease, Wait
from ..records import record
from .leases import guard
from .rows import wait_from


@record
class Settled:
    """One or more waits were settled."""

    resumed: tuple[tuple[str, str], ...]
    """The runs that waited for them, and are pending again: their ids and jobs."""


class Waits:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, wait_id: str) -> Wait | None:
        rows = self._database.read("select * from waits where id = :id", {"id": wait_id})
        return wait_from(rows[0]) if rows else None

    def of_run(self, run_id: str) -> list[Wait]:
        """The waits of a run, in the order in which they were prepared."""
        rows = self._database.read(
            "select * from waits where run_id = :run_id order by sequence",
            {"run_id": run_id},
        )
        return [wait_from(row) for row in rows]

    def named(self, run_id: str, name: str) -> Wait | None:
        rows = self._database.read(
            "select * from waits where run_id = :run_id and name = :name",
            {"run_id": run_id, "name": name},
        )
        return wait_from(rows[0]) if rows else None

    def prepare(
        self,
        lease: Lease,
        wait_id: str,
        name: str,
        *,
        metadata: str,
        deadline_at: int | None,
        now: int,
    ) -> bool:
        changed = self._database.write(
            """
            insert into waits (id, run_id, name, metadata, created_at, deadline_at)
            select :id, id, :name, :metadata, :now, :deadline_at
            from runs
            where id = :run_id
              and lease_generation = :generation
              and status = 'running'
            """,
            {
                **guard(lease),
                "id": wait_id,
                "name": name,
                "metadata": metadata,
                "deadline_at": deadline_at,
                "now": now,
            },
        )
        return changed == 1

    def signal(self, wait_id: str, signal_id: str, payload: str, now: int) -> Settled | None:
        """Settle a wait; the run that waits for it is pending again. None if it is settled."""
        with self._database.transaction():
            rows = self._database.write_returning(
                """
                update waits
                set outcome = 'signal',
                    signal_id = :signal_id,
                    payload = :payload,
                    settled_at = :now
                where id = :id
                  and outcome is null
                returning run_id, is_awaited
                """,
                {"id": wait_id, "signal_id": signal_id, "payload": payload, "now": now},
            )
            return Settled(self._resume(rows)) if rows else None

    def expire(self, moment: int, now: int) -> Settled | None:
        """Settle every open wait whose deadline is not after ``moment``; None if there is none."""
        with self._database.transaction():
            rows = self._database.write_returning(
                """
                update waits
                set outcome = 'timeout',
                    settled_at = :now
                where outcome is null
                  and deadline_at <= :moment
                returning run_id, is_awaited
                """,
                {"moment": moment, "now": now},
            )
            return Settled(self._resume(rows)) if rows else None

    def next_deadline(self) -> int | None:
        """When the next open wait times out."""
        (row,) = self._database.read(
            """
            select min(deadline_at) as deadline_at
            from waits
            where outcome is null
              and deadline_at is not null
            """,
            {},
        )
        deadline: int | None = row["deadline_at"]
        return deadline

    def _resume(self, settled: list[sqlite3.Row]) -> tuple[tuple[str, str], ...]:
        """The runs that wait for one of these waits are pending again."""
        rows = self._database.write_returning(
            """
            update runs
            set status = 'pending'
            where status = 'waiting'
              and id in (select value from json_each(:runs))
            returning id, job
            """,
            {"runs": json.dumps([row["run_id"] for row in settled if row["is_awaited"]])},
        )
        return tuple((row["id"], row["job"]) for row in rows)
