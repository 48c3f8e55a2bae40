"""Runs that are kept no longer, with everything that belongs to them."""

from __future__ import annotations

import json

from ..database import Database
from ..model import Run
from .rows import run_from

INDEX = """
    create index if not exists runs_by_end on runs (completed_at)
    where completed_at is not null
"""
"""Made when the first program asks for the runs that ended first: for all others it would make
each end of a run write one page more."""


class Retention:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._is_indexed = False

    def delete(self, run: Run) -> bool:
        """Remove a terminal run and free its idempotency key."""
        with self._database.transaction():
            deleted = self._remove([run])
            if deleted:
                self._database.write(
                    """
                    delete from idempotency_keys
                    where job = :job
                      and key = :key
                      and run_id = :run_id
                    """,
                    {"job": run.job, "key": run.idempotency_key, "run_id": run.id},
                )
        return deleted

    def purge(self, ended_before: int, limit: int, now: int) -> list[Run]:
        """Remove the runs that ended first, and keep their idempotency keys until those expire.

        The answer is the runs that are gone.
        """
        self._need_index()
        with self._database.transaction():
            self._database.write(
                "delete from idempotency_keys where expires_at <= :now", {"now": now}
            )
            rows = self._database.read(
                """
                select *
                from runs
                where completed_at < :ended_before
                order by completed_at
                limit :limit
                """,
                {"ended_before": ended_before, "limit": limit},
            )
            runs = [run_from(row) for row in rows]
            self._remove(runs)
        return runs

    def first_end(self) -> int | None:
        """When the terminal run that ended first did so."""
        self._need_index()
        (row,) = self._database.read(
            """
            select min(completed_at) as completed_at
            from runs
            where completed_at is not null
            """,
            {},
        )
        completed_at: int | None = row["completed_at"]
        return completed_at

    def _need_index(self) -> None:
        if not self._is_indexed:
            self._database.write(INDEX, {})
            self._is_indexed = True

    def _remove(self, runs: list[Run]) -> bool:
        parameters = {"ids": json.dumps([run.id for run in runs])}
        deleted = self._database.write(
            """
            delete from runs
            where id in (select value from json_each(:ids))
              and completed_at is not null
            """,
            parameters,
        )
        if not deleted:
            return False
        for statement in (
            "delete from steps where run_id in (select value from json_each(:ids))",
            "delete from attempts where run_id in (select value from json_each(:ids))",
            "delete from waits where run_id in (select value from json_each(:ids))",
            "delete from logs where run_id in (select value from json_each(:ids))",
        ):
            self._database.write(statement, parameters)
        for run in runs:
            for key, value in run.labels.items():
                self._database.write(
                    "delete from labels where key = :key and value = :value and run = :run",
                    {"key": key, "value": value, "run": run.sequence},
                )
        return True
