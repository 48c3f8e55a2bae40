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
          and (step, number) not in (select name, attempt from steps where run_id = :run_id)
        """,
        {"run_id": run_id, "reason": reason, "now": now},
    )
