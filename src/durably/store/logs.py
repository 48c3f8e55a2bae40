"""The stored lines of the logs of runs."""

from __future__ import annotations

from ..database import Database
from ..model import Lease, LogLine
from .leases import guard
from .rows import log_from


class Logs:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, lease: Lease, level: str, message: str, data: str, step: str | None, now: int
    ) -> bool:
        """Store a line; also of a run that has ended, whose code may have a last word."""
        changed = self._database.write(
            """
            insert into logs (run_id, at, level, message, data, step)
            select id, :now, :level, :message, :data, :step
            from runs
            where id = :run_id
              and lease_generation = :generation
            """,
            {
                **guard(lease),
                "level": _writable(level),
                "message": _writable(message),
                "data": data,
                "step": step,
                "now": now,
            },
        )
        return changed == 1

    def of_run(self, run_id: str, after: int, limit: int) -> list[LogLine]:
        """The lines of a run behind the one with the sequence number ``after``, oldest first."""
        rows = self._database.read(
            """
            select *
            from logs
            where run_id = :run_id
              and sequence > :after
            order by sequence
            limit :limit
            """,
            {"run_id": run_id, "after": after, "limit": limit},
        )
        return [log_from(row) for row in rows]


def _writable(text: str) -> str:
    """SQLite takes no half of a surrogate pair, which the name of a file may have."""
    return text.encode(errors="backslashreplace").decode()
