"""The facts the library hands out: frozen, slotted, free of behaviour.

Every time is an integer, UTC milliseconds. Every field has the name of its column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Literal

from .records import record

Disposition = Literal["created", "idempotent", "coalesced"]
"""What ``trigger`` did: made a run, found the one with the same idempotency key, or joined one with
the same concurrency key."""

Coalesce = Literal["skip", "queue", "active"]
"""Which run a trigger joins instead of adding one under its concurrency key.

``skip`` and ``queue``: the pending one; behind a running one that is one more run, which later
triggers join. ``active``: the pending one, else the running, else the waiting one.
"""

InterruptionReason = Literal["lease-lost", "cancelled", "unknown"]
"""Why a try of a step did not end: the lease went away, or was given back; the run was cancelled,
or the step alone, by the job's own code; its owner ended without a word."""

Role = Literal["leader", "follower"]
"""A program that writes to its database, or one that asks another program to."""

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


def statuses(
    status: RunStatus | str | Iterable[RunStatus | str] | None,
) -> list[RunStatus] | None:
    """One status or many, as a list; None for any. Raises ValueError for an unknown one."""
    if status is None:
        return None
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
class Tabs:
    """How this tab stands to the others of its origin with the same database."""

    role: Literal["leader", "follower"]
    leader: str | None
    """The id of the term that leads, which every tab calls so; None where none was heard of yet."""
    epoch: int | None
    """Of that term; None on CPython, too."""
    is_visible: bool


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

    @property
    def is_first(self) -> bool:
        """True where nobody has claimed the run before: no step and no try is behind it."""
        return self.lease.generation == 1


@record
class Run:
    """One triggered execution of a job, as it was when it was read."""

    id: str
    job: str
    input: object
    """The given arguments by name; or the UnreadableValue that reading them raised."""
    status: RunStatus
    sequence: int
    """The place in the order of triggering."""
    idempotency_key: str | None
    concurrency_key: str | None
    labels: Mapping[str, str]
    """A copy of its own, as every value here; those that are stored never change."""
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

    @property
    def is_waiting(self) -> bool:
        return self.status is RunStatus.WAITING


@record
class StepRecord:
    """A checkpoint: the stored outcome of one step of one run."""

    run_id: str
    name: str
    status: Literal["completed", "failed"]
    attempt: int
    """The number of the try that ended like this."""
    output: object
    """What the step returned; None once the run has ended, unless ``preserve_steps`` keeps it."""
    is_output_kept: bool
    error: ErrorInfo | None
    started_at: int
    completed_at: int


@record
class Attempt:
    """One try of a step. A try that ended within a tenth of a second is known by its checkpoint
    alone; if it was interrupted that early, there is no record of it."""

    run_id: str
    step: str
    number: int
    """1 for the first try."""
    outcome: Literal["running", "completed", "failed", "interrupted"]
    reason: InterruptionReason | None
    """Why it was interrupted."""
    started_at: int
    ended_at: int | None
    error: ErrorInfo | None
    metadata: object
    """What ``set_metadata`` last said, or None."""


@record
class LogLine:
    """A stored line of a run's log."""

    sequence: int
    run_id: str
    at: int
    level: str
    message: str
    data: object
    step: str | None
    """The step whose function logged it; None for the job function itself."""


@record
class Wait:
    """A place where something from outside is awaited, once."""

    id: str
    run_id: str
    name: str
    metadata: object
    created_at: int
    deadline_at: int | None
    """When it times out; fixed when it was first prepared."""
    outcome: Literal["open", "signal", "timeout", "closed"]
    signal_id: str | None
    payload: object
    settled_at: int | None


@record
class WaitResult:
    """How a wait ended: with a signal's ``payload``, or because its time was over."""

    timed_out: bool
    payload: object = None
    signal_id: str | None = None


@record
class Receipt:
    """Says that a signal was accepted, durably. Sending it again gives the same receipt."""

    wait_id: str
    run_id: str
    signal_id: str
    accepted_at: int


@record
class ImportReport:
    """What became of the runs of an export: their ids, in the order of the file."""

    created: tuple[str, ...]
    """Those that are new here."""
    known: tuple[str, ...]
    """Those that are or were here already, and were left as they are."""
    behind: tuple[str, ...]
    """Those of ``known`` that have not ended here and are further on in the file."""
    conflicting: tuple[str, ...]
    """Those that were not taken: another run has their idempotency key here."""
