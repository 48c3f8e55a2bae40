"""Waiting for the end of a run: told by its event, or found by looking again."""

from __future__ import annotations

from collections.abc import Callable

from .clock import Bell
from .codec import is_text
from .emitter import Emitter
from .errors import RunNotFound, StorageLost, WaitTimeout
from .events import (
    Event,
    LogWrite,
    RunCancel,
    RunClaimed,
    RunComplete,
    RunDelete,
    RunFail,
    RunProgress,
    RunTrigger,
    RunWaiting,
)
from .leader import Leader
from .model import ErrorInfo, Progress, Run, RunStatus, Wait
from .store.runs import Ending

ENDINGS = (RunComplete, RunFail, RunCancel, RunDelete)


async def wait_until_terminal(
    leader: Leader,
    events: Emitter,
    run_id: str,
    *,
    timeout: float | None = None,
    on_progress: Callable[[Progress], object] | None = None,
    on_log: Callable[[LogWrite], object] | None = None,
) -> Ending:
    """Return how the run has ended, once it is terminal and its end is durable.

    Where other processes may execute the run, the store is looked at every ``poll_interval``. Where
    a term ends, the next one is asked; NotOpen, or what its opening raised, where there is none.

    Raises RunNotFound, also where the run is deleted meanwhile, and WaitTimeout.
    """
    ended = Bell()
    told: Progress | None = None

    def tell(progress: Progress | None) -> None:
        nonlocal told
        if on_progress is not None and progress is not None and progress != told:
            told = progress
            on_progress(progress)

    def listen(event: Event) -> None:
        if isinstance(event, ENDINGS):
            ended.set()
        elif isinstance(event, RunProgress):
            tell(event.progress)
        elif isinstance(event, LogWrite) and on_log is not None:
            on_log(event)

    if not is_text(run_id):
        raise RunNotFound(run_id)
    await leader.asking.whom()
    clock, poll_interval = leader.environment.clock, leader.environment.poll_interval
    started = clock.monotonic()
    # Of its steps nothing is wanted, and telling of those costs each of them.
    followed = [
        *([] if on_progress is None else [RunProgress]),
        *([] if on_log is None else [LogWrite]),
    ]
    unsubscribe = events.on_run(run_id, listen, *ENDINGS, *followed)
    unwatch = leader.asking.on_change(ended.set)
    try:
        while True:
            try:
                ending: Ending | None = await leader.asking.ask("ending", run_id)
            except StorageLost:
                ending = None  # The term is over, and the end perhaps not stored: the next knows.
            if ending is not None:
                return ending
            if poll_interval is not None and on_progress is not None:
                # No event tells of what another process does.
                tell(await leader.asking.ask("progress", run_id))
            pause = poll_interval
            if timeout is not None:
                left = timeout - (clock.monotonic() - started)
                if left <= 0:
                    raise WaitTimeout(run_id, timeout)
                pause = left if pause is None else min(pause, left)
            await ended.wait(clock, pause)
            ended.clear()
    finally:
        unsubscribe()
        unwatch()


def standing_of(run: Run, progress: Progress | None, waits: list[Wait]) -> list[Event]:
    """Where a run stands, as the events that a reader who was there would have had last."""
    run_id, job = run.id, run.job
    if run.status is RunStatus.COMPLETED:
        return [RunComplete(run_id=run_id, job=job, output=run.output)]
    if run.status is RunStatus.FAILED:
        error = run.error or ErrorInfo("Unknown", "no error was stored")
        return [RunFail(run_id=run_id, job=job, error=error)]
    if run.status is RunStatus.CANCELLED:
        return [RunCancel(run_id=run_id, job=job)]
    standing: Event = RunTrigger(run_id=run_id, job=job)
    if run.status is RunStatus.RUNNING:
        standing = RunClaimed(run_id=run_id, job=job, lease_generation=run.lease_generation)
    elif run.status is RunStatus.WAITING:
        wait_ids = tuple(wait.id for wait in waits if wait.outcome == "open")
        standing = RunWaiting(run_id=run_id, job=job, wait_ids=wait_ids)
    latest = progress or run.progress
    if latest is None:
        return [standing]
    return [standing, RunProgress(run_id=run_id, job=job, progress=latest)]
