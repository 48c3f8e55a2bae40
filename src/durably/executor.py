"""Run one claimed run to its end: its job function, and what its ending means."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from .checkpointing import Checkpointing
from .codec import decode, encode
from .errors import StepFailed, StorageError, UnreadableValue
from .events import RunComplete, RunFail
from .execution import Execution, is_cancelled
from .failure import describe_error
from .jobs import AnyJob
from .model import ErrorInfo
from .records import record
from .step import Step


@record
class Output:
    """What a job function returned, as it is stored and as it is read again."""

    text: str
    value: object


async def execute(execution: Execution, jobs: Mapping[str, AnyJob]) -> None:
    """Call the job function and store how it ended, unless the run stops being this worker's.

    On return the end of the run is durable and told; or the run was cancelled, its lease was lost,
    or it is pending again. Where the host cancels this task, the lease is released at once.
    """
    try:
        await _carry_out(execution, jobs)
        if execution.is_ended:
            return  # Nothing is left to store: whoever ended the run has stored that.
        if execution.signal is not None:
            execution.give_back()
        await execution.term.database.flush(execution.term.options.durability)
    except StorageError as error:
        # The term ends, and the run goes on in the next one from its last checkpoint.
        logging.getLogger("durably").warning("Run %s stops: %s", execution.run_id, error)
    finally:
        execution.close()


async def _carry_out(execution: Execution, jobs: Mapping[str, AnyJob]) -> None:
    try:
        # A claim is durable before its first effect, so that a crash loop counts its crashes.
        await execution.term.database.flush()
        ending = await _ending(execution, jobs[execution.claim.job])
        await execution.end_steps()
        if execution.signal is None:
            execution.progress.save()
        if ending is not None and execution.signal is None:
            await execution.term.database.when_there_is_room(lambda: _store(execution, ending))
    except StorageError:
        raise
    except Exception as error:
        # Given back, such a run would be claimed again at once, and for ever.
        if execution.signal is None:
            _store(execution, _failure(error))
    except BaseException:
        if execution.signal is None:
            execution.give_back()
            raise


async def _ending(execution: Execution, job: AnyJob) -> Output | ErrorInfo | None:
    """The output of the job function, or its failure; None where a signal ended it."""
    try:
        arguments = decode(execution.claim.input)
    except UnreadableValue as error:
        execution.parked(error)
        return None
    assert isinstance(arguments, dict), "a stored input is arguments by name"
    try:
        text = encode(await job.function(Step(execution, Checkpointing(execution)), **arguments))
        # What is checked is what ``result()`` will give.
        output = Output(text, decode(text))
        job.check_output(output.value)
        return output
    except BaseException as error:
        if execution.signal is not None:
            return None  # A stop signal, a cancellation that carries it, a group, or what followed.
        if is_cancelled(error) or isinstance(error, KeyboardInterrupt | GeneratorExit):
            raise  # It is the host that shuts down.
        # Also SystemExit and the like: given back, such a run would be claimed for ever.
        return _failure(error)


def _store(execution: Execution, ending: Output | ErrorInfo) -> None:
    """End the run, and let the next one take its place, in one transaction."""
    term, lease = execution.term, execution.lease
    run_id, job, now = execution.run_id, execution.claim.job, term.clock.now()
    keeps_outputs = term.options.preserve_steps
    with term.database.transaction():
        if isinstance(ending, ErrorInfo):
            has_ended = term.store.leases.fail(lease, ending, now, keeps_outputs=keeps_outputs)
        else:
            has_ended = term.store.leases.complete(
                lease, ending.text, now, keeps_outputs=keeps_outputs
            )
        successor = execution.claim_successor() if has_ended else None
    if not has_ended:
        execution.refused()
        return
    execution.successor = successor
    if isinstance(ending, ErrorInfo):
        term.tell(RunFail, run_id=run_id, job=job, error=ending)
    else:
        term.tell(RunComplete, run_id=run_id, job=job, output=ending.value)


def _failure(error: BaseException) -> ErrorInfo:
    """What the run failed with, naming the step whose failure really propagated."""
    failed = _step_behind(error)
    if failed is None:
        return describe_error(error)
    if failed is error:
        return replace(failed.error, step=failed.step)
    return describe_error(error, failed.step)


def _step_behind(error: BaseException | None) -> StepFailed | None:
    """The step failure that an exception is, was raised from, or carries in a group."""
    seen = set()
    while error is not None and not isinstance(error, StepFailed):
        if id(error) in seen:
            return None  # User code may raise an exception from itself.
        seen.add(id(error))
        if isinstance(error, BaseExceptionGroup):
            found = (_step_behind(part) for part in error.exceptions)
            return next((failed for failed in found if failed is not None), None)
        error = error.__cause__
    return error
