"""What a run waits for from outside: prepared, awaited, and settled by a signal or by time."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta

from .checkpointing import step_of
from .clock import seconds
from .codec import decode, encode
from .errors import (
    InvalidOption,
    SignalConflict,
    UnstorableValue,
    WaitInsideStep,
    WaitIsOver,
    WaitNotFound,
)
from .events import RunRequeued
from .execution import Execution
from .model import Receipt, Wait, WaitResult
from .store.waits import Settled
from .term import Term


async def prepare_wait(
    execution: Execution,
    name: str,
    timeout: float | timedelta | None,
    metadata: Mapping[str, object] | None,
    call_site: str,
) -> Wait:
    """The wait of this name: made at the first call in the life of the run, and then found."""
    _check_outside_steps(execution, name)
    execution.check()
    if not isinstance(name, str) or not name:
        raise InvalidOption("a wait's name", name, "a string that is not empty")
    limit = None if timeout is None else seconds(timeout, "timeout")
    try:
        text = encode(metadata, root="metadata")
    except UnstorableValue as error:
        raise InvalidOption("metadata", metadata, f"storable ({error})") from error
    execution.reserve_wait(name, call_site)
    term, run_id = execution.term, execution.run_id
    wait = term.store.waits.named(run_id, name)
    if wait is not None:
        return wait
    now = term.clock.now()
    deadline_at = None if limit is None else term.steady.now() + round(limit * 1000)
    wait_id = f"{now:012x}{os.urandom(10).hex()}"
    if not term.store.waits.prepare(
        execution.lease, wait_id, name, metadata=text, deadline_at=deadline_at, now=now
    ):
        raise execution.refused()
    # Whoever is given the id may signal at once, from anywhere.
    await term.database.flush(term.options.durability)
    execution.check()
    made = term.store.waits.get(wait_id)
    assert made is not None, "it was stored just now"
    return made


async def wait_for(execution: Execution, wait: Wait) -> WaitResult:
    """How the wait ended. Where it has not, the run stops here and goes on when it has."""
    if not isinstance(wait, Wait):
        raise InvalidOption("wait", wait, "what step.prepare_wait returned")
    _check_outside_steps(execution, wait.name)
    execution.check()
    term = execution.term
    # The deadline may have passed while nothing looked.
    if expire(term):
        await term.database.flush(term.options.durability)
        execution.check()
    found = term.store.waits.get(wait.id)
    if found is None or found.run_id != execution.run_id:
        raise InvalidOption("wait", wait, "a wait that this run has prepared")
    if found.outcome == "open":
        raise execution.wait_for(found.id)
    return WaitResult(found.outcome == "timeout", found.payload, found.signal_id)


def _check_outside_steps(execution: Execution, name: str) -> None:
    step = step_of(execution)
    if step is not None:
        raise WaitInsideStep(step, name)


def expire(term: Term) -> bool:
    """Settle the waits whose time is over, and tell of the runs that go on; True if any."""
    settled = term.store.waits.expire(term.steady.now(), term.clock.now())
    _tell_resumed(term, settled, "its wait timed out")
    return settled is not None


def _tell_resumed(term: Term, settled: Settled | None, reason: str) -> None:
    for run_id, job in settled.resumed if settled is not None else ():
        term.tell(RunRequeued(run_id=run_id, job=job, reason=reason))


async def signal(term: Term, wait_id: str, payload: object, signal_id: str | None) -> Receipt:
    """Settle a wait with a payload; on return that is durable.

    Raises WaitNotFound, WaitIsOver, SignalConflict and UnstorableValue.
    """
    if signal_id is not None and (not isinstance(signal_id, str) or not signal_id):
        raise InvalidOption("signal_id", signal_id, "a string that is not empty")
    text = encode(payload, root="payload")
    given_id = signal_id or os.urandom(16).hex()
    # A wait whose time is over takes no signal, also where nothing has looked yet.
    expire(term)
    settled = term.store.waits.signal(wait_id, given_id, text, term.clock.now())
    _tell_resumed(term, settled, "its wait was signalled")
    wait = term.store.waits.get(wait_id)
    await term.database.flush(term.options.durability)
    if wait is None:
        raise WaitNotFound(wait_id)
    if wait.signal_id != given_id:
        raise WaitIsOver(wait)
    if encode(wait.payload) != text and wait.payload != decode(text):
        raise SignalConflict(wait_id, given_id)
    assert wait.settled_at is not None, "a signalled wait is settled"
    return Receipt(wait_id, wait.run_id, given_id, wait.settled_at)
