"""What happened, as frozen dataclasses: one for each type of event.

Each is named like its ``type``: ``StepComplete`` is ``step:complete``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from .errors import StorageError, StorageFull, StorageLost
from .model import Coalesce, ErrorInfo, InterruptionReason, Progress, RunStatus
from .records import record


@record(kw_only=True)
class Event:
    """``sequence`` counts the events of one Durably; ``at`` is UTC milliseconds."""

    type: ClassVar[str]
    is_operational: ClassVar[bool] = False
    """True where it is about the machinery; False where it is about the work itself."""
    sequence: int = 0
    at: int = 0


@record(kw_only=True)
class RunEvent(Event):
    """Something about one run."""

    run_id: str
    job: str


class RunTrigger(RunEvent):
    """A run was created, and is pending."""

    __slots__ = ()
    type = "run:trigger"


@record(kw_only=True)
class RunCoalesced(RunEvent):
    """A trigger joined this run and made none of its own; what it brought was not stored."""

    type = "run:coalesced"
    coalesce: Coalesce
    skipped_input: object
    """Its arguments by name, as ``Run.input`` has them."""
    skipped_labels: Mapping[str, str]


@record(kw_only=True)
class RunClaimed(RunEvent):
    """A worker has taken the run, under a new lease generation."""

    type = "run:claimed"
    is_operational = True
    lease_generation: int


@record(kw_only=True)
class RunHeartbeat(RunEvent):
    """A lease was renewed; the renewal rides with the next commit."""

    type = "run:heartbeat"
    is_operational = True
    heartbeat_at: int


@record(kw_only=True)
class RunProgress(RunEvent):
    """The job function said how far it is; this rides with the next commit."""

    type = "run:progress"
    progress: Progress


@record(kw_only=True)
class RunRequeued(RunEvent):
    """A run that was running or waiting is pending again; ``reason`` says why."""

    type = "run:requeued"
    is_operational = True
    reason: str


@record(kw_only=True)
class RunWaiting(RunEvent):
    """The run waits for something from outside, and holds no slot and no key meanwhile."""

    type = "run:waiting"
    wait_ids: tuple[str, ...]


@record(kw_only=True)
class RunComplete(RunEvent):
    """The job function has returned, and its output is durable."""

    type = "run:complete"
    output: object


@record(kw_only=True)
class RunFail(RunEvent):
    """The run has failed, durably."""

    type = "run:fail"
    error: ErrorInfo


class RunCancel(RunEvent):
    """The run was cancelled, durably."""

    __slots__ = ()
    type = "run:cancel"


class RunDelete(RunEvent):
    """The run is gone, with everything that belonged to it."""

    __slots__ = ()
    type = "run:delete"


@record(kw_only=True)
class RunImport(RunEvent):
    """The run came with an import, durably; ``status`` is where it stands."""

    type = "run:import"
    status: RunStatus


@record(kw_only=True)
class StepEvent(RunEvent):
    """Something about one step of a run."""

    step: str


class StepStart(StepEvent):
    """The step's function is about to be called."""

    __slots__ = ()
    type = "step:start"


class StepComplete(StepEvent):
    """The step's result is durable."""

    __slots__ = ()
    type = "step:complete"


class StepReplay(StepEvent):
    """The step was answered from its checkpoint; its function was not called."""

    __slots__ = ()
    type = "step:replay"


@record(kw_only=True)
class StepFail(StepEvent):
    """The step's failure is durable."""

    type = "step:fail"
    error: ErrorInfo


@record(kw_only=True)
class StepCancel(StepEvent):
    """The step's function was stopped; whatever it did is not stored."""

    type = "step:cancel"
    reason: InterruptionReason


@record(kw_only=True)
class LogWrite(RunEvent):
    """A line the job function logged. ``step`` is None outside a step."""

    type = "log:write"
    level: str
    message: str
    data: object
    step: str | None


@record(kw_only=True)
class WorkerError(Event):
    """The library itself could not do something; the run, if any, stays as it was stored."""

    type = "worker:error"
    is_operational = True
    message: str
    run_id: str | None = None


@record(kw_only=True)
class StorageMemory(Event):
    """Storage was refused and memory is used as asked: nothing will survive the tab."""

    type = "storage:memory"
    is_operational = True
    reason: str


@record(kw_only=True)
class StorageFullEvent(Event):
    """The quota is used up. Nothing new is claimed until a commit succeeds again.

    The figures are the browser's estimate for the whole origin, which may say too much; None where
    there is none.
    """

    type = "storage:full"
    is_operational = True
    usage_bytes: int | None = None
    quota_bytes: int | None = None


@record(kw_only=True)
class StorageLostEvent(Event):
    """The storage went away. What was acknowledged is there after a reload."""

    type = "storage:lost"
    is_operational = True
    reason: str


@record(kw_only=True)
class StorageRefusedEvent(Event):
    """The database could not be opened, and is left as it is; ``error`` names what is raised."""

    type = "storage:refused"
    is_operational = True
    error: str
    reason: str


def storage_event(error: StorageError) -> Event:
    """What tells the listeners of it."""
    if isinstance(error, StorageFull):
        return StorageFullEvent(usage_bytes=error.usage_bytes, quota_bytes=error.quota_bytes)
    if isinstance(error, StorageLost):
        return StorageLostEvent(reason=str(error))
    return StorageRefusedEvent(error=type(error).__name__, reason=str(error))


class TabFollower(Event):
    """Another tab leads; this one waits for its turn."""

    __slots__ = ()
    type = "tab:follower"
    is_operational = True


class TabLeader(Event):
    """This tab leads now: its database is open and its worker claims runs."""

    __slots__ = ()
    type = "tab:leader"
    is_operational = True


EVENT_TYPES = frozenset(
    kind.type
    for kind in list(globals().values())
    if isinstance(kind, type) and issubclass(kind, Event) and "type" in vars(kind)
)
