"""Checkpoints and attempts: what a run's steps came to."""

from __future__ import annotations

from ..database import Database
from ..model import Attempt, ErrorInfo, InterruptionReason, Lease, StepRecord
from .leases import guard
from .rows import attempt_from, error_from, error_text, step_from

LARGE_OUTPUT_CHARS = 4096
"""Step outputs longer than this are read when the step is replayed, not when the run starts."""

_CHECKPOINT = """
    insert into steps
      (run_id, name, position, attempt, status, {outcome}, started_at, completed_at)
    select id, ?, ?, ?, '{status}', ?, ?, ?
    from runs
    where id = ?
      and lease_generation = ?
      and status = 'running'
    """
# One for each, and not a None for what is missing: Python's sqlite3 asks, at length and each time,
# whether None has another way to be stored.
COMPLETE = _CHECKPOINT.format(outcome="output", status="completed")
FAIL = _CHECKPOINT.format(outcome="error", status="failed")


class Steps:
    def __init__(self, database: Database) -> None:
        self._database = database

    def of_run(self, run_id: str) -> list[StepRecord]:
        """The checkpoints of a run, in the order in which they were written."""
        rows = self._database.read(
            """
            select *
            from steps
            where run_id = :run_id
            order by position
            """,
            {"run_id": run_id},
        )
        return [step_from(row) for row in rows]

    def stored(self, run_id: str) -> dict[str, tuple[int, str | None, ErrorInfo | None]]:
        """Every checkpoint of a run by step name: its position, its encoded output, or its failure.

        A large output stands as "" (never a codec's text) and is read with ``output``.
        """
        rows = self._database.read(
            """
            select name,
                   position,
                   error,
                   case when length(output) > :large then '' else output end as output
            from steps
            where run_id = :run_id
            """,
            {"run_id": run_id, "large": LARGE_OUTPUT_CHARS},
        )
        return {
            name: (position, output, error_from(error)) for name, position, error, output in rows
        }

    def output(self, run_id: str, position: int) -> str:
        (row,) = self._database.read(
            "select output from steps where run_id = :run_id and position = :position",
            {"run_id": run_id, "position": position},
        )
        output: str = row["output"]
        return output

    def checkpoint(
        self,
        lease: Lease,
        name: str,
        *,
        position: int,
        attempt: int,
        output: str | None = None,
        error: ErrorInfo | None = None,
        started_at: int,
        now: int,
    ) -> bool:
        """Store the outcome of a step: its encoded output, or its failure.

        ``position`` is the place among the checkpoints of the run, in the order of storing.
        """
        statement, outcome = (COMPLETE, output) if error is None else (FAIL, error_text(error))
        changed = self._database.write(
            statement,
            # By their places: to look up the names takes as long as a third of all the rest.
            (
                name,
                position,
                attempt,
                outcome,
                started_at,
                now,
                lease.run_id,
                lease.generation,
            ),
        )
        return changed == 1

    # Attempts

    def attempts(self, run_id: str) -> list[Attempt]:
        """Every try of every step that is known of, in the order in which they began."""
        rows = self._database.read(
            """
            select steps.name as step,
                   steps.attempt as number,
                   steps.status as outcome,
                   null as reason,
                   steps.started_at,
                   steps.completed_at as ended_at,
                   steps.error,
                   attempts.metadata,
                   steps.position
            from steps
            left join attempts
              on attempts.run_id = steps.run_id
             and attempts.step = steps.name
             and attempts.number = steps.attempt
            where steps.run_id = :run_id
            union all
            select step,
                   number,
                   iif(reason is null, 'running', 'interrupted'),
                   reason,
                   started_at,
                   interrupted_at,
                   null,
                   metadata,
                   null
            from attempts
            where run_id = :run_id
              and (step, number) not in (select name, attempt from steps where run_id = :run_id)
            order by started_at, number, position nulls last
            """,
            {"run_id": run_id},
        )
        return [attempt_from(run_id, row) for row in rows]

    def last_attempts(self, run_id: str) -> dict[str, int]:
        """The number of the last try that has a row, for each step."""
        rows = self._database.read(
            """
            select step, max(number) as number
            from attempts
            where run_id = :run_id
            group by step
            """,
            {"run_id": run_id},
        )
        return {row["step"]: row["number"] for row in rows}

    def save_attempt(
        self,
        lease: Lease,
        step: str,
        number: int,
        *,
        started_at: int,
        metadata: str | None,
        interrupted_at: int | None = None,
        reason: InterruptionReason | None = None,
    ) -> bool:
        """Store that a try is under way, with the metadata it has now; or that it was cut off."""
        changed = self._database.write(
            """
            insert into attempts
              (run_id, step, number, started_at, metadata, interrupted_at, reason)
            select id, :step, :number, :started_at, :metadata, :interrupted_at, :reason
            from runs
            where id = :run_id
              and lease_generation = :generation
              and status = 'running'
            on conflict (run_id, step, number)
            do update set metadata = excluded.metadata,
                          interrupted_at = excluded.interrupted_at,
                          reason = excluded.reason
            """,
            {
                **guard(lease),
                "step": step,
                "number": number,
                "started_at": started_at,
                "metadata": metadata,
                "interrupted_at": interrupted_at,
                "reason": reason,
            },
        )
        return changed == 1
