"""The stored lines of the logs of runs."""

from __future__ import annotations

from ..database import Database
from ..model import LogLine
from .rows import log_from


class Logs:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, run_id: str, level: str, message: str, data: str, step: str | None, now: int
    ) -> None:
        """Store a line, unless the run is gone: code may go on that was told to stop long ago."""
        self._database.write(
            """
            insert into logs (run_id, at, level, message, data, step)
            select id, :now, :level, :message, :data, :step
            from runs
            where id = :run_id
            """,
            {
                "run_id": run_id,
                "level": level,
                "message": message,
                "data": data,
                "step": step,
                "now": now,
            },
        )

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
