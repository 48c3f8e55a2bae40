"""What becomes of the tries of a run when its owner goes."""

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
