"""The facts the library hands out: frozen, slotted, free of behaviour.

Every time is an integer, UTC milliseconds. Every field has the name of its column.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

from .records import record

Disposition = Literal["created", "idempotent"]
"""What ``trigger`` did: made a run, or found the one with the same idempotency key."""

Durability = Literal["none", "relaxed", "strict"]
"""What an acknowledgement means.

``none``: the change rides with the next commit. ``relaxed``: it survives a crash of the tab or the
browser. ``strict``: the browser or the operating system was also asked to reach the disk.
"""


class RunStatus(StrEnum):
    """Where a run is in its life. The last three are terminal."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL


def statuses(status: RunStatus | str | Iterable[RunStatus | str] | None) -> list[RunStatus]:
    """One status, many, or None for any, as a list. Raises ValueError for an unknown one."""
    if status is None:
        return []
    if isinstance(status, str):
        return [RunStatus(status)]
    return [RunStatus(one) for one in status]


TERMINAL = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})


@record
class ErrorInfo:
    """An exception as it is stored: text only, so that storing it can never fail."""

    type: str
    message: str
    traceback: str = ""
    step: str | None = None
    """The step whose failure this is, or None where the job function itself raised."""

    def __str__(self) -> str:
        where = f" in step {self.step!r}" if self.step else ""
        return f"{self.type}: {self.message}{where}"


@record
class Progress:
    """How far a run is, as its job function last said."""

    current: float
    total: float | None = None
    message: str | None = None


@record
class Lease:
    """The right to write to a run: required by every write, refused once a newer claim exists."""

    run_id: str
    generation: int


@record
class Claim:
    """A run that was claimed, as the executor needs it; ``input`` is still encoded."""

    lease: Lease
    job: str
    input: str


@record
class Run:
    """One triggered execution of a job, as it was when it was read."""

    id: str
    job: str
    input: object
    """The given arguments by name; or the UnreadableValue that reading them raised."""
    status: RunStatus
    idempotency_key: str | None
    lease_owner: str | None
    lease_generation: int
    heartbeat_at: int | None
    interruptions: int
    """How often its owner ended without a word since the run's last checkpoint."""
    progress: Progress | None
    output: object
    """What the job function returned; or the UnreadableValue that reading it raised."""
    error: ErrorInfo | None
    created_at: int
    started_at: int | None
    """When the run was first claimed; later claims keep it."""
    completed_at: int | None

    @property
    def is_terminal(self) -> bool:
        return self.status.is_terminal

    @property
    def is_active(self) -> bool:
        return not self.status.is_terminal


@record
class StepRecord:
    """A checkpoint: the stored outcome of one step of one run."""

    run_id: str
    name: str
    status: Literal["completed", "failed"]
    output: object
    error: ErrorInfo | None
    started_at: int
    completed_at: int
