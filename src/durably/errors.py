"""What can go wrong, as a tree.

DurablyError
├── ValidationError           what was asked for cannot be right; nothing was changed
│   ├── InvalidOption         an option that cannot be what it is
│   └── InvalidArguments      a job called with arguments it does not take
├── OutputMismatch            a job returned something else than its annotation says
├── UnstorableValue           a value that the codec cannot store; names the path
├── UnreadableValue           a stored value that today's code cannot read
├── JobNotRegistered          a job this Durably was not given
├── RunNotFound               no such run
├── RunConflict               the run's status does not allow what was asked
├── ConcurrencyConflict       its concurrency key has a pending run already
├── WaitNotFound              no such wait
├── WaitIsOver                a signal for a wait that is settled
├── SignalConflict            a signal id that was used with another payload
├── WaitTimeout               the run did not end in time; it goes on
├── RunDidNotComplete         what ``result()`` raises
│   ├── RunFailed
│   └── RunWasCancelled
├── StepFailed                what ``step.run`` raises, at first and on replay
│   └── StepOutputError       the step ran, but its result cannot be stored
├── StepMisuse                a step used in a way that would break replay
│   ├── DuplicateStep
│   ├── NestedStep
│   ├── WaitInsideStep
│   └── NotInsideStep
├── NoAnswer                  the tab that leads did not answer in time
├── EventsOverflow            a reader of events that fell too far behind
├── ExportError               a file that is not taken; nothing was changed
│   ├── DamagedExport         no export, or not whole
│   ├── NewerExport           made by a newer version of this library
│   └── WrongPassphrase       it does not fit, is missing, or is not needed
├── EncryptionUnavailable     nothing here can encrypt
├── NotOpen                   used before ``async with`` or after it
└── StorageError
    ├── StorageRefused        no storage to be had
    ├── StorageFull           the quota is used up
    ├── StorageLost           the storage went away and could not be reopened
    ├── StorageFenced         another tab has taken the database over
    ├── NothingStored         no database of this name
    ├── DamagedDatabase       what is stored cannot be read; it is left as it is
    └── NewerSchema           stored by a newer version of this library

StopSignal (a BaseException: not for ``except Exception``)
├── RunCancelled
├── LeaseLost
└── RunSuspended
"""

from __future__ import annotations

from reprlib import repr as short_repr
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from .model import ErrorInfo, RunStatus, Wait


class DurablyError(Exception):
    """Whatever a caller of this library may want to handle."""

    facts: tuple[object, ...]
    """What it was made from, so that it can be made again in another tab."""

    def __new__(cls, *facts: object) -> Self:
        error = super().__new__(cls)
        error.facts = facts
        return error

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.args = (message,)  # An OSError, as TimeoutError is one, takes none after `__new__`.


class ValidationError(DurablyError):
    """What was asked for cannot be right. Nothing was changed."""


class InvalidOption(ValidationError, ValueError):
    """An option has a value that it cannot have. Nothing was changed."""

    def __init__(self, option: str, value: object, wanted: str) -> None:
        super().__init__(f"{option} is {short_repr(value)}; it has to be {wanted}.")
        self.option = option


class InvalidArguments(ValidationError, TypeError):
    """A job was called with arguments that it does not take. Nothing was stored."""

    def __init__(self, job: str, problem: str) -> None:
        super().__init__(f"Job {job!r} cannot be called like this: {problem}. Nothing was stored.")
        self.job = job


class OutputMismatch(DurablyError, TypeError):
    """A job's function returned something else than its annotation says. The run failed."""

    def __init__(self, job: str, problem: str) -> None:
        super().__init__(
            f"Job {job!r} returned something else than its annotation says: {problem}. Return "
            "that, or correct the annotation."
        )
        self.job = job
        self.problem = problem


class UnstorableValue(DurablyError, TypeError):
    """A value, or a part of it, that the codec does not store."""

    def __init__(self, path: str, found: str, advice: str) -> None:
        super().__init__(f"{path}: {found} cannot be stored. {advice}")
        self.path = path
        self.found = found
        self.advice = advice


class UnreadableValue(DurablyError):
    """A stored value that cannot be read: its class is gone, or is no longer what it was."""

    def __init__(self, stored: str, problem: str) -> None:
        super().__init__(
            f"A stored {stored} cannot be read: {problem}. It is left as it is: bring back the "
            "class that it was stored from, or start a new run."
        )
        self.stored = stored
        self.problem = problem


class JobNotRegistered(DurablyError, LookupError):
    """A run of a job was asked for that this Durably was not given."""

    def __init__(self, job: str) -> None:
        super().__init__(f"Job {job!r} is not registered; pass it in Durably(..., jobs=[...]).")
        self.job = job


class RunNotFound(DurablyError, LookupError):
    """There is no run with this id."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"There is no run {run_id!r}.")
        self.run_id = run_id


class RunConflict(DurablyError):
    """The run is in a status that does not allow what was asked. Nothing was changed."""

    def __init__(self, run_id: str, status: RunStatus, verb: str) -> None:
        super().__init__(f"Run {run_id!r} is already {status.value} and cannot {verb}.")
        self.run_id = run_id
        self.status = status


class ConcurrencyConflict(DurablyError):
    """The concurrency key of a trigger has a pending run already. Nothing was stored."""

    def __init__(self, job: str, key: str, run_id: str) -> None:
        super().__init__(
            f"Run {run_id!r} of job {job!r} is pending under the concurrency key {key!r} already. "
            'Pass coalesce="skip" to join it.'
        )
        self.job = job
        self.key = key
        self.run_id = run_id


class WaitNotFound(DurablyError, LookupError):
    """There is no wait with this id; or its run was deleted."""

    def __init__(self, wait_id: str) -> None:
        super().__init__(f"There is no wait {wait_id!r}.")
        self.wait_id = wait_id


class WaitIsOver(DurablyError):
    """The signal came too late, or another one came first. Nothing was changed."""

    def __init__(self, wait: Wait) -> None:
        ending = {
            "signal": f"signal {wait.signal_id!r} came first",
            "timeout": "its time was over",
            "closed": "its run has ended",
        }[wait.outcome]
        super().__init__(f"Wait {wait.name!r} of run {wait.run_id!r} takes no signal: {ending}.")
        self.wait = wait


class SignalConflict(DurablyError):
    """A signal id was used again with another payload. The first payload stays."""

    def __init__(self, wait_id: str, signal_id: str) -> None:
        super().__init__(
            f"Signal {signal_id!r} was sent to wait {wait_id!r} before, with another payload. "
            "Give each signal an id of its own."
        )
        self.wait_id = wait_id
        self.signal_id = signal_id


class WaitTimeout(DurablyError, TimeoutError):
    """A run had not ended when the time was over. The run itself goes on."""

    def __init__(self, run_id: str, timeout: float) -> None:
        super().__init__(f"Run {run_id!r} has not ended within {timeout} s; it goes on.")
        self.run_id = run_id


class RunDidNotComplete(DurablyError):
    """``result()`` has nothing to return: the run failed or was cancelled."""

    def __init__(self, run_id: str, message: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class RunFailed(RunDidNotComplete):
    """The run failed; ``error`` says how, and in which step."""

    def __init__(self, run_id: str, error: ErrorInfo) -> None:
        super().__init__(run_id, f"Run {run_id!r} failed: {error}")
        self.error = error


class RunWasCancelled(RunDidNotComplete):
    """The run was cancelled before it could complete."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id, f"Run {run_id!r} was cancelled.")


class StepFailed(DurablyError):
    """A step's function raised. The failure is checkpointed and raised again on replay.

    It is this class both times, so that ``try``/``except`` around a step takes the same branch in
    the first execution and in every replay. ``error.type`` names the original class; in the first
    execution the original exception is also ``__cause__``.
    """

    def __init__(self, step: str, error: ErrorInfo) -> None:
        super().__init__(f"Step {step!r} failed: {error.type}: {error.message}")
        self.step = step
        self.error = error


class StepOutputError(StepFailed):
    """A step ran, but its result cannot be stored. It is not run again."""


class StepMisuse(DurablyError):
    """A step was used in a way that would make replay ambiguous. The run fails."""


class DuplicateStep(StepMisuse):
    """Two steps of one execution have the same name."""

    def __init__(self, step: str, first: str, second: str) -> None:
        super().__init__(
            f"Step {step!r} is used twice in one run: first at {first}, again at {second}. "
            "A name identifies one checkpoint: use another name, or key=... in a loop."
        )
        self.step = step


class NestedStep(StepMisuse):
    """A step was started inside the function of another step."""

    def __init__(self, outer: str, inner: str) -> None:
        super().__init__(
            f"Step {inner!r} was started inside step {outer!r}. A step is one unit of work: "
            "start steps from the job function, or call the function without step.run."
        )


class WaitInsideStep(StepMisuse):
    """A wait was used inside the function of a step."""

    def __init__(self, step: str, wait: str) -> None:
        super().__init__(
            f"Wait {wait!r} was used inside step {step!r}. A step is done again if it is "
            "interrupted: prepare waits and wait for them in the job function itself."
        )


class NotInsideStep(StepMisuse):
    """Something that belongs to the try of a step was used outside any step's function."""

    def __init__(self, verb: str) -> None:
        super().__init__(f"step.{verb} works inside the function of a step only.")


class EventsOverflow(DurablyError):
    """A reader of ``events()`` fell behind by more events than are kept for it."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"More than {limit} events were waiting to be read; the rest is lost.")


class NotOpen(DurablyError, RuntimeError):
    """A Durably was used outside its ``async with`` block."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Durably({name!r}) is not open: use it inside `async with Durably(...)`.")


class StorageError(DurablyError):
    """The database or its copy in the browser cannot do what is needed."""


class StorageRefused(StorageError):
    """There is no storage to be had here: private mode, blocked site data, a disk that is full."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"The storage for {name!r} was refused: {reason}. Allow site data for this page, or "
            'pass when_refused="memory" to run without keeping anything.'
        )


class StorageFull(StorageError):
    """The quota is used up. What was acknowledged is safe; what was not is still in memory."""

    def __init__(
        self, name: str, usage_bytes: int | None = None, quota_bytes: int | None = None
    ) -> None:
        super().__init__(
            f"The storage for {name!r} is full. Free some space: nothing that was acknowledged "
            "is lost, and the waiting changes are written when there is room."
        )
        self.usage_bytes = usage_bytes
        self.quota_bytes = quota_bytes


class StorageLost(StorageError):
    """The storage cannot be reached any more, or what it held is gone (``is_erased``)."""

    def __init__(self, name: str, reason: str, is_erased: bool = False) -> None:
        advice = "every run goes on from its last checkpoint"
        if is_erased:
            advice = "it begins with an empty database, into which a copy can be imported"
        super().__init__(f"The storage for {name!r} was lost: {reason}. Reload the page: {advice}.")
        self.is_erased = is_erased


class StorageFenced(StorageError):
    """Another tab has taken the database over; nothing more can be written from here."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Another tab has taken {name!r} over; this one writes no more.")


class NothingStored(StorageError, LookupError):
    """There is no database of this name here."""

    def __init__(self, name: str, place: str) -> None:
        super().__init__(f"Nothing is stored under the name {name!r} in {place}.")


class DamagedDatabase(StorageError):
    """What is stored cannot be read as one whole. It is left exactly as it is."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(
            f"The stored database {name!r} is damaged: {problem}. Nothing was overwritten. "
            "Use another name to start afresh, or restore a copy of it."
        )


class NewerSchema(StorageError):
    """The database was written by a newer version of this library. It is left as it is.

    ``what`` is of a newer kind: the ``schema`` of its tables, or the ``format`` in which its pages
    are stored.
    """

    def __init__(self, name: str, found: int, known: int, what: str = "schema") -> None:
        super().__init__(
            f"The stored database {name!r} has {what} {found}; this version of durably knows "
            f"{what}s up to {known}. Nothing was overwritten: update durably."
        )
        self.found = found
        self.known = known


class StopSignal(BaseException):
    """Ends the local execution of a run. User code is not meant to catch it; if it does, no
    further step starts and the run cannot complete."""


class RunCancelled(StopSignal):
    """The run was cancelled."""


class LeaseLost(StopSignal):
    """Another worker owns the run now."""


class RunSuspended(StopSignal):
    """The run stops here for now and goes on later from its last checkpoint."""
