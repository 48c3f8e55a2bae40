"""Rows of the database as the facts that are handed out; errors as the text of a column."""

from __future__ import annotations

import json
import sqlite3

from .codec import decode
from .errors import UnreadableValue
from .model import ErrorInfo, Progress, Run, RunStatus, StepRecord


def run_from(row: sqlite3.Row) -> Run:
    progress = row["progress"]
    return Run(
        id=row["id"],
        job=row["job"],
        input=readable(row["input"]),
        status=RunStatus(row["status"]),
        idempotency_key=row["idempotency_key"],
        lease_owner=row["lease_owner"],
        lease_generation=row["lease_generation"],
        heartbeat_at=row["heartbeat_at"],
        interruptions=row["interruptions"],
        progress=None if progress is None else Progress(*json.loads(progress)),
        output=readable(row["output"]),
        error=error_from(row["error"]),
        created_at=row["created_at"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
    )


def step_from(row: sqlite3.Row) -> StepRecord:
    return StepRecord(
        run_id=row["run_id"],
        name=row["name"],
        status=row["status"],
        output=readable(row["output"]),
        error=error_from(row["error"]),
        started_at=row["started_at"],
        completed_at=row["completed_at"],
    )


def readable(text: str | None) -> object:
    """The stored value, or the error that reading it gives: one bad value hides no other run."""
    try:
        return None if text is None else decode(text)
    except UnreadableValue as error:
        return error


def error_from(text: str | None) -> ErrorInfo | None:
    return None if text is None else ErrorInfo(**json.loads(text))


def error_text(error: ErrorInfo | None) -> str | None:
    if error is None:
        return None
    return json.dumps(
        {
            "type": error.type,
            "message": error.message,
            "traceback": error.traceback,
            "step": error.step,
        }
    )
