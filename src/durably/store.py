"""Every SQL statement about runs and steps.

One transition is one guarded statement, and its row count is the answer: False means that the
lease was lost or the run is no longer where the caller thought, and that nothing changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection

from .database import Database
from .model import Claim, Disposition, ErrorInfo, Lease, Progress, Run, RunStatus, StepRecord
from .rows import error_from, error_text, run_from, step_from

LARGE_OUTPUT_CHARS = 4096
"""Step outputs longer than this are read when the step is replayed, not when the run starts."""


class Store:
    """The runs and steps of one open database. Time is always a parameter, in UTC milliseconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Runs, as their users see them

    def create_run(
        self, job: str, arguments: str, idempotency_key: str | None, now: int
    ) -> tuple[Run, Disposition]:
        """A new pending run, or the one this job already has under this idempotency key."""
        rows = self._database.write_returning(
            """
            insert into runs (id, job, input, idempotency_key, created_at)
            values (:id, :job, :input, :idempotency_key, :now)
            on conflict (job, idempotency_key) where idempotency_key is not null
            do nothing
            returning *
            """,
            {
                "id": _new_run_id(now),
                "job": job,
                "input": arguments,
                "idempotency_key": idempotency_key,
                "now": now,
            },
        )
        if rows:
            return run_from(rows[0]), "created"
        (row,) = self._database.read(
            """
            select *
            from runs
            where job = :job
              and idempotency_key = :idempotency_key
            """,
            {"job": job, "idempotency_key": idempotency_key},
        )
        return run_from(row), "idempotent"

    def get_run(self, run_id: str) -> Run | None:
        rows = self._database.read("select * from runs where id = :id", {"id": run_id})
        return run_from(rows[0]) if rows else None

    def list_runs(
        self, statuses: Collection[RunStatus], jobs: Collection[str], limit: int, offset: int
    ) -> list[Run]:
        """Newest first. An empty collection means any."""
        rows = self._database.read(
            """
            select *
            from runs
            where (:any_status or status in (select value from json_each(:statuses)))
              and (:any_job or job in (select value from json_each(:jobs)))
            order by sequence desc
            limit :limit offset :offset
            """,
            {
                "any_status": not statuses,
                "statuses": json.dumps([status.value for status in statuses]),
                "any_job": not jobs,
                "jobs": json.dumps(list(jobs)),
                "limit": limit,
                "offset": offset,
            },
        )
        return [run_from(row) for row in rows]

    def get_steps(self, run_id: str) -> list[StepRecord]:
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

    def cancel(self, run_id: str, now: int) -> bool:
        changed = self._database.write(
            """
            update runs
            set status = 'cancelled',
                completed_at = :now,
                lease_owner = null,
                heartbeat_at = null
            where id = :id
              and status in ('pending', 'running', 'waiting')
            """,
            {"id": run_id, "now": now},
        )
        return changed == 1

    # Claims and leases

    def claim(
        self, jobs: Collection[str], owner: str, now: int, left_out: Collection[str] = ()
    ) -> Claim | None:
        """Give the oldest pending run of these jobs to ``owner``, with a new lease generation.

        The runs whose ids are ``left_out`` are not considered.
        """
        rows = self._database.write_returning(
            """
            update runs
            set status = 'running',
                lease_owner = :owner,
                lease_generation = lease_generation + 1,
                heartbeat_at = :now,
                started_at = coalesce(started_at, :now)
            where sequence = (
                select sequence
                from runs
                where status = 'pending'
                  and job in (select value from json_each(:jobs))
                  and id not in (select value from json_each(:left_out))
                order by sequence
                limit 1
              )
            returning id, job, input, lease_generation
            """,
            {
                "jobs": json.dumps(list(jobs)),
                "left_out": json.dumps(list(left_out)),
                "owner": owner,
                "now": now,
            },
        )
        if not rows:
            return None
        (row,) = rows
        return Claim(Lease(row["id"], row["lease_generation"]), row["job"], row["input"])

    def pending_jobs(self) -> list[str]:
        """The names of all jobs that have a pending run."""
        rows = self._database.read(
            "select distinct job from runs where status = 'pending' order by job", {}
        )
        return [row["job"] for row in rows]

    def renew(self, lease: Lease, now: int) -> bool:
        """Prove the life of a running run. An expired lease that nobody took is still one's own."""
        changed = self._database.write(
            """
            update runs
            set heartbeat_at = :now
            where id = :run_id
              and lease_generation = :generation
              and status = 'running'
            """,
            {**_guard(lease), "now": now},
        )
        return changed == 1

    def release(self, lease: Lease) -> bool:
        """Give a run back unharmed: pending again, and not counted as an interruption."""
        changed = self._database.write(
            """
            update runs
            set status = 'pending',
                lease_owner = null,
                heartbeat_at = null
            where id = :run_id
              and lease_generation = :generation
              and status = 'running'
            """,
            _guard(lease),
        )
        return changed == 1

    def running(self) -> list[Run]:
        rows = self._database.read(
            "select * from runs where status = 'running' order by sequence", {}
        )
        return [run_from(row) for row in rows]

    def requeue(self, lease: Lease, max_interruptions: int) -> bool:
        """Send a run whose owner is gone back to pending, and count the interruption.

        The count begins anew with each checkpoint: a run that gets on is no crash loop. False also
        where the run was interrupted ``max_interruptions`` times without getting on.
        """
        changed = self._database.write(
            """
            update runs
            set status = 'pending',
                lease_owner = null,
                heartbeat_at = null,
                interruptions = iif(steps_now > steps_at_interruption, 0, interruptions) + 1,
                steps_at_interruption = steps_now
            from (select count(*) as steps_now from steps where run_id = :run_id)
            where id = :run_id
              and lease_generation = :generation
              and status = 'running'
              and (steps_now > steps_at_interruption or interruptions < :max_interruptions)
            """,
            {**_guard(lease), "max_interruptions": max_interruptions},
        )
        return changed == 1

    # What the owner of a lease writes

    def stored_steps(self, run_id: str) -> dict[str, tuple[str | None, ErrorInfo | None]]:
        """Every checkpoint of a run by step name: its encoded output, or its failure.

        A large output stands as "" (never a codec's text) and is read with ``step_output``.
        """
        rows = self._database.read(
            """
            select name,
                   error,
                   case when length(output) > :large then '' else output end as output
            from steps
            where run_id = :run_id
            """,
            {"run_id": run_id, "large": LARGE_OUTPUT_CHARS},
        )
        return {row["name"]: (row["output"], error_from(row["error"])) for row in rows}

    def step_output(self, run_id: str, name: str) -> str:
        (row,) = self._database.read(
            "select output from steps where run_id = :run_id and name = :name",
            {"run_id": run_id, "name": name},
        )
        output: str = row["output"]
        return output

    def checkpoint(
        self,
        lease: Lease,
        name: str,
        *,
        position: int,
        output: str | None = None,
        error: ErrorInfo | None = None,
        started_at: int,
        now: int,
    ) -> bool:
        """Store the outcome of a step: its encoded output, or its failure.

        ``position`` is the place among the checkpoints of the run, in the order of storing.
        """
        changed = self._database.write(
            """
            insert into steps
              (run_id, name, position, status, output, error, started_at, completed_at)
            select id, :name, :position, :status, :output, :error, :started_at, :now
            from runs
            where id = :run_id
              and lease_generation = :generation
              and status = 'running'
            """,
            {
                **_guard(lease),
                "name": name,
                "position": position,
                "status": "completed" if error is None else "failed",
                "output": output,
                "error": error_text(error),
                "started_at": started_at,
                "now": now,
            },
        )
        return changed == 1

    def save_progress(self, lease: Lease, progress: Progress) -> bool:
        changed = self._database.write(
            """
            update runs
            set progress = :progress
            where id = :run_id
              and lease_generation = :generation
              and status = 'running'
            """,
            {
                **_guard(lease),
                "progress": json.dumps([progress.current, progress.total, progress.message]),
            },
        )
        return changed == 1

    def complete(self, lease: Lease, output: str, now: int) -> bool:
        return self._end(lease, RunStatus.COMPLETED, output, None, now)

    def fail(self, lease: Lease, error: ErrorInfo, now: int) -> bool:
        return self._end(lease, RunStatus.FAILED, None, error, now)

    def _end(
        self,
        lease: Lease,
        status: RunStatus,
        output: str | None,
        error: ErrorInfo | None,
        now: int,
    ) -> bool:
        changed = self._database.write(
            """
            update runs
            set status = :status,
                output = :output,
                error = :error,
                completed_at = :now,
                lease_owner = null,
                heartbeat_at = null
            where id = :run_id
              and lease_generation = :generation
              and status = 'running'
            """,
            {
                **_guard(lease),
                "status": status.value,
                "output": output,
                "error": error_text(error),
                "now": now,
            },
        )
        return changed == 1


def _new_run_id(now: int) -> str:
    """128 bits in hexadecimal, the time first: ids made later sort later, as in UUID version 7."""
    return f"{now:012x}{os.urandom(10).hex()}"


def _guard(lease: Lease) -> dict[str, object]:
    return {"run_id": lease.run_id, "generation": lease.generation}
