"""Looks at everything and changes nothing: unfinished runs, and the rules of the tables."""

from __future__ import annotations

from ..database import Database
from ..records import record

MOST_PROBLEMS = 20
"""Of one kind that are told."""

RULES = {
    "step {} belongs to no run": """
        select run_id || '/' || name as what
        from steps
        where run_id not in (select id from runs)
        limit :limit
        """,
    "attempt {} belongs to no run": """
        select run_id || '/' || step || '/' || number as what
        from attempts
        where run_id not in (select id from runs)
        limit :limit
        """,
    "wait {} belongs to no run": """
        select id as what
        from waits
        where run_id not in (select id from runs)
        limit :limit
        """,
    "log line {} belongs to no run": """
        select sequence as what
        from logs
        where run_id not in (select id from runs)
        limit :limit
        """,
    "label {} belongs to no run": """
        select key || '=' || value as what
        from labels
        where run not in (select sequence from runs)
        limit :limit
        """,
    "run {} waits for nothing that is open": """
        select id as what
        from runs
        where status = 'waiting'
          and status <> 'completed'
          and not exists (
            select 1
            from waits
            where waits.run_id = runs.id
              and outcome is null
              and is_awaited
          )
        limit :limit
        """,
    "wait {} is open though its run has ended": """
        select waits.id as what
        from waits
        join runs on runs.id = waits.run_id
        where outcome is null
          and completed_at is not null
        limit :limit
        """,
    "step {} is stored twice": """
        select run_id || '/' || name as what
        from steps
        where run_id in (
          select id
          from runs indexed by runs_by_status
          where status in ('pending', 'running', 'waiting')
            and status <> 'completed'
        )
        group by run_id, name
        having count(*) > 1
        limit :limit
        """,
    "concurrency key {} has more than one running run": """
        select job || '/' || concurrency_key as what
        from runs
        where concurrency_key is not null
          and status in ('pending', 'running', 'waiting')
          and status = 'running'
        group by job, concurrency_key
        having count(*) > 1
        limit :limit
        """,
}
"""What the tables promise each other beyond what the schema can say: a sentence, and what breaks
it."""


@record
class Unfinished:
    """A run that has not ended, as far as it says why."""

    run_id: str
    job: str
    status: str
    lease_owner: str | None
    heartbeat_at: int | None
    interruptions: int
    concurrency_key: str | None
    busy_run_id: str | None
    """The running run of its concurrency key."""


@record
class OpenWait:
    """A wait that a waiting run waits for."""

    run_id: str
    wait_id: str
    name: str
    deadline_at: int | None


class Inspection:
    def __init__(self, database: Database) -> None:
        self._database = database

    def count_unfinished(self) -> int:
        (row,) = self._database.read(
            """
            select count(*) as number
            from runs indexed by runs_by_status
            where status in ('pending', 'running', 'waiting')
              and status <> 'completed'
            """,
            {},
        )
        number: int = row["number"]
        return number

    def unfinished(self, limit: int) -> list[Unfinished]:
        """The oldest runs that have not ended."""
        rows = self._database.read(
            """
            select id,
                   job,
                   status,
                   lease_owner,
                   heartbeat_at,
                   interruptions,
                   concurrency_key,
                   (
                     select busy.id
                     from runs as busy
                     where busy.job = runs.job
                       and busy.concurrency_key = runs.concurrency_key
                       and busy.status = 'running'
                       and busy.status in ('pending', 'running', 'waiting')
                       and busy.id <> runs.id
                   ) as busy_run_id
            from runs indexed by runs_by_status
            where status in ('pending', 'running', 'waiting')
              and status <> 'completed'
            order by sequence
            limit :limit
            """,
            {"limit": limit},
        )
        return [Unfinished(*row) for row in rows]

    def awaited(self) -> list[OpenWait]:
        """The open waits that runs wait for."""
        rows = self._database.read(
            """
            select run_id, waits.id, name, deadline_at
            from runs indexed by runs_by_status
            join waits on waits.run_id = runs.id
            where status = 'waiting'
              and status <> 'completed'
              and outcome is null
              and is_awaited
            order by runs.sequence, waits.position
            """,
            {},
        )
        return [OpenWait(*row) for row in rows]

    def problems(self) -> list[str]:
        """What is wrong with the file as SQLite sees it, and with what the tables promise.

        Raises StorageLost where SQLite cannot even look.
        """
        rows = self._database.read(f"pragma integrity_check({MOST_PROBLEMS})", {})
        found = [row[0] for row in rows if row[0] != "ok"]
        for problem, query in RULES.items():
            rows = self._database.read(query, {"limit": MOST_PROBLEMS})
            found += [problem.format(repr(row["what"])) for row in rows]
        return found
