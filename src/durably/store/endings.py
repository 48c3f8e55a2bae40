"""What becomes of the things that belong to a run when its owner goes, and when it ends."""

from __future__ import annotations

from ..database import Database
from ..model import InterruptionReason


def interrupt_attempts(
    database: Database, run_id: str, reason: InterruptionReason, now: int
) -> None:
    """The tries under way did not end: their owner is gone, or has to stop."""
    database.write(
        """
        update attempts
        set interrupted_at = :now,
            reason = :reason
        where run_id = :run_id
          and reason is null
          and not exists (
            select 1
            from steps
            where steps.run_id = attempts.run_id
              and steps.name = attempts.step
              and steps.attempt = attempts.number
          )
        """,
        {"run_id": run_id, "reason": reason, "now": now},
    )


def clear_up(database: Database, run_id: str, now: int, *, keeps_outputs: bool) -> None:
    """The run has ended: nothing can be signalled any more, and no output is needed for replay."""
    database.write(
        """
        update waits
        set outcome = 'closed',
            settled_at = :now
        where run_id = :run_id
          and outcome is null
        """,
        {"run_id": run_id, "now": now},
    )
    if not keeps_outputs:
        database.write(
            "update steps set output = null where run_id = :run_id and output is not null",
            {"run_id": run_id},
        )
