"""Rows of the database as the facts that are handed out; errors as the text of a column."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from ..codec import decode
from ..errors import UnreadableValue
from ..model import Attempt, ErrorInfo, LogLine, Progress, Run, RunStatus, StepRecord, Wait

Row = sqlite3.Row | Mapping[str, Any]
"""Columns by name."""


def run_from(row: Row) -> Run:
    progress = row["progress"]
    return Run(
        id=row["id"],
        job=row["job"],
        input=readable(row["input"]),
        status=RunStatus(row["status"]),
        sequence=row["sequence"],
        idempotency_key=row["idempotency_key"],
        concurrency_key=row["concurrency_key"],
        labels=json.loads(row["labels"]),
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
        attempt=row["attempt"],
        output=readable(row["output"]),
        is_output_kept=row["output"] is not None,
        error=error_from(row["error"]),
        started_at=row["started_at"],
        completed_at=row["completed_at"],
    )


def attempt_from(run_id: str, row: sqlite3.Row) -> Attempt:
    return Attempt(
        run_id=run_id,
        step=row["step"],
        number=row["number"],
        outcome=row["outcome"],
        reason=row["reason"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        error=error_from(row["error"]),
        metadata=readable(row["metadata"]),
    )


def wait_from(row: sqlite3.Row) -> Wait:
    return Wait(
        id=row["id"],
        run_id=row["run_id"],
        name=row["name"],
        metadata=readable(row["metadata"]),
        created_at=row["created_at"],
        deadline_at=row["deadline_at"],
        outcome=row["outcome"] or "open",
        signal_id=row["signal_id"],
        payload=readable(row["payload"]),
        settled_at=row["settled_at"],
    )


def log_from(row: sqlite3.Row) -> LogLine:
    return LogLine(
        sequence=row["sequence"],
        run_id=row["run_id"],
        at=row["at"],
        level=row["level"],
        message=row["message"],
        data=readable(row["data"]),
        step=row["step"],
    )


def readable(text: str | None) -> object:
    """The stored value, or the error that reading it gives: one bad value hides no other run."""
    try:
        return None if text is None else decode(text)
    except UnreadableValue as error:
        return error


def error_from(text: str | None) -> ErrorInfo | None:
    return None if text is None else ErrorInfo(**json.loads(text))


def error_text(error: ErrorInfo) -> str:
    return json.dumps(
        {
            "type": error.type,
            "message": error.message,
            "traceback": error.traceback,
            "step": error.step,
        }
    )
