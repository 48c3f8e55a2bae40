"""Claims and leases: who works on a run, and what only its owner may write to it."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import cache

from ..database import Database
from ..model import Claim, ErrorInfo, InterruptionReason, Lease, Progress, RunStatus
from ..records import record
from .endings import interrupt_attempts
from .rows import error_text


@record
class Running:
    """A running run, as recovery looks at it."""

    lease: Lease
    job: str
    owner: str
    heartbeat_at: int
    interruptions: int


class Leases:
    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(
        self, jobs: Collection[str], owner: str, now: int, left_out: Collection[str] = ()
    ) -> Claim | None:
        """Give the oldest pending run of these jobs to ``owner``, with a new lease generation.

        Not considered are runs whose ids are ``left_out``, and those whose concurrency key is busy:
        the key has a running run.
        """
        if not jobs:
            return None
        parameters: dict[str, object] = {"owner": owner, "now": now}
        for number, job in enumerate(jobs):
            parameters[f"job_{number}"] = job
        if left_out:
            parameters["left_out"] = json.dumps(list(left_out))
        statement = _claim_statement(len(jobs), leaves_out=bool(left_out))
        rows = self._database.write_returning(statement, parameters)
        if not rows:
            return None
        (row,) = rows
        return Claim(Lease(row["id"], row["lease_generation"]), row["job"], row["input"])

    def pending_jobs(self) -> list[str]:
        """The names of all jobs that have a pending run."""
        rows = self._database.read(
            """
            select distinct job
            from runs indexed by runs_by_status
            where status = 'pending'
              and status <> 'completed'
            """,
            {},
        )
        return [row["job"] for row in rows]

    def running(self) -> list[Running]:
        """Every running run, oldest first."""
        rows = self._database.read(
            """
            select id, job, lease_owner, lease_generation, heartbeat_at, interruptions
            from runs
            where status = 'running'
              and status <> 'completed'
            order by sequence
            """,
            {},
        )
        return [
            Running(
                lease=Lease(row["id"], row["lease_generation"]),
                job=row["job"],
                owner=row["lease_owner"],
                heartbeat_at=row["heartbeat_at"],
                interruptions=row["interruptions"],
            )
            for row in rows
        ]

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
            {**guard(lease), "now": now},
        )
        return changed == 1

    def release(self, lease: Lease, now: int) -> bool:
        """Give a run back unharmed: pending again, and not counted as an interruption."""
        with self._database.transaction():
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
                guard(lease),
            )
            if changed:
                interrupt_attempts(self._database, lease.run_id, "lease-lost", now)
        return changed == 1

    def requeue(
        self, lease: Lease, max_interruptions: int, reason: InterruptionReason, now: int
    ) -> bool:
        """Send a run whose owner is gone back to pending, and count the interruption.

        The count begins anew with each checkpoint: a run that gets on is no crash loop. False also
        where the run was interrupted ``max_interruptions`` times without getting on.
        """
        with self._database.transaction():
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
                {**guard(lease), "max_interruptions": max_interruptions},
            )
            if changed:
                interrupt_attempts(self._database, lease.run_id, reason, now)
        return changed == 1

    def suspend(self, lease: Lease, waits: Collection[str], now: int) -> RunStatus | None:
        """Let a run wait for these waits: ``waiting``, without an owner, until one of them is
        settled; pending at once where one already is. None where the lease was lost.
        """
        parameters = {**guard(lease), "waits": json.dumps(list(waits))}
        with self._database.transaction():
            rows = self._database.write_returning(
                """
                update runs
                set status = iif(
                      exists (
                        select 1
                        from waits
                        where id in (select value from json_each(:waits))
                          and outcome is not null
                      ),
                      'pending',
                      'waiting'
                    ),
                    lease_owner = null,
                    heartbeat_at = null
                where id = :run_id
                  and lease_generation = :generation
                  and status = 'running'
                returning status
                """,
                parameters,
            )
            if not rows:
                return None
            interrupt_attempts(self._database, lease.run_id, "lease-lost", now)
            self._database.write(
                """
                update waits
                set is_awaited = id in (select value from json_each(:waits))
                where run_id = :run_id
                """,
                parameters,
            )
        return RunStatus(rows[0]["status"])

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
                **guard(lease),
                "progress": json.dumps([progress.current, progress.total, progress.message]),
            },
        )
        return changed == 1

    def complete(self, lease: Lease, output: str, now: int, *, keeps_outputs: bool) -> bool:
        return self._end(lease, RunStatus.COMPLETED, output, None, now, keeps_outputs)

    def fail(
        self,
        lease: Lease,
        error: ErrorInfo,
        now: int,
        *,
        keeps_outputs: bool,
        reason: InterruptionReason = "unknown",
    ) -> bool:
        """``reason``: why the tries under way did not end, if there are any."""
        with self._database.transaction():
            has_failed = self._end(lease, RunStatus.FAILED, None, error, now, keeps_outputs)
            if has_failed:
                interrupt_attempts(self._database, lease.run_id, reason, now)
        return has_failed

    def _end(
        self,
        lease: Lease,
        status: RunStatus,
        output: str | None,
        error: ErrorInfo | None,
        now: int,
        keeps_outputs: bool,
    ) -> bool:
        """What belongs to the run ends with it: the schema has a trigger for that."""
        changed = self._database.write(
            """
            update runs
            set status = :status,
                output = :output,
                error = :error,
                completed_at = :now,
                lease_owner = null,
                heartbeat_at = null,
                keeps_outputs = :keeps_outputs
            where id = :run_id
              and lease_generation = :generation
              and status = 'running'
            """,
            {
                **guard(lease),
                "status": status.value,
                "output": output,
                "error": None if error is None else error_text(error),
                "now": now,
                "keeps_outputs": keeps_outputs,
            },
        )
        return changed == 1


@cache
def _claim_statement(jobs: int, *, leaves_out: bool) -> str:
    names = ", ".join(f":job_{number}" for number in range(jobs))
    exclusion = "and id not in (select value from json_each(:left_out))" if leaves_out else ""
    return f"""
        update runs
        set status = 'running',
            lease_owner = :owner,
            lease_generation = lease_generation + 1,
            heartbeat_at = :now,
            started_at = coalesce(started_at, :now)
        where sequence = (
            select sequence
            from runs as candidate indexed by runs_by_status
            where status = 'pending'
              and status <> 'completed'
              and job in ({names})
              {exclusion}
              and (concurrency_key is null or not exists (
                select 1
                from runs as busy
                where busy.job = candidate.job
                  and busy.concurrency_key = candidate.concurrency_key
                  and busy.status = 'running'
                  and busy.status in ('pending', 'running', 'waiting')
              ))
            order by sequence
            limit 1
          )
        returning id, job, input, lease_generation
        """


def guard(lease: Lease) -> dict[str, object]:
    return {"run_id": lease.run_id, "generation": lease.generation}
