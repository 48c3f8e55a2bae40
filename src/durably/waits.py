"""What a run waits for from outside: prepared, awaited, and settled by a signal or by time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta

from .checkpointing import step_of
from .clock import seconds
from .codec import encode
from .errors import (
    InvalidOption,
    SignalConflict,
    UnreadableValue,
    WaitInsideStep,
    WaitIsOver,
    WaitNotFound,
)
from .events import RunRequeued
from .execution import CallSite, Execution
from .model import Receipt, Wait, WaitResult
from .options import check_text, metadata_text
from .store.runs import new_id
from .store.waits import Settled
from .term import Term


async def prepare_wait(
    execution: Execution,
    name: str,
    timeout: float | timedelta | None,
    metadata: Mapping[str, object] | None,
    call_site: CallSite,
) -> Wait:
    """The wait of this name: made at the first call in the life of the run, and then found."""
    _check_outside_steps(execution, name)
    await execution.check_at_rest()
    check_text("a wait's name", name)
    limit = None if timeout is None else seconds(timeout, "timeout")
    text = encode(None) if metadata is None else metadata_text(metadata)
    execution.reserve_wait(name, call_site)
    term, run_id = execution.term, execution.run_id
    wait = term.store.waits.named(run_id, name)
    if wait is not None:
        return wait
    now = term.clock.now()
    wait_id = new_id(now)
    deadline_at = None if limit is None else _now_for_a_deadline(term) + round(limit * 1000)

    def prepare() -> None:
        if not term.store.waits.prepare(
            execution.lease, wait_id, name, metadata=text, deadline_at=deadline_at, now=now
        ):
            raise execution.refused()

    # Whoever is given the id may signal at once, from anywhere.
    await execution.make_durable(prepare)
    await execution.check_at_rest()
    made = term.store.waits.get(wait_id)
    assert made is not None, "it was stored just now"
    return made


async def wait_for(execution: Execution, wait: Wait) -> WaitResult:
    """How the wait ended. Where it has not, the run stops here and goes on when it has."""
    if not isinstance(wait, Wait):
        raise InvalidOption("wait", wait, "what step.prepare_wait returned")
    _check_outside_steps(execution, wait.name)
    await execution.check_at_rest()
    term = execution.term
    if _is_one_due(term):  # The deadline may have passed while nothing looked.
        await execution.make_durable(lambda: expire(term))
        await execution.check_at_rest()
    execution.refuse_if_over()
    found = term.store.waits.get(wait.id)
    if found is None or found.run_id != execution.run_id:
        raise InvalidOption("wait", wait, "a wait that this run has prepared")
    if found.outcome == "open":
        await execution.wait_for(found.id)
    if isinstance(found.payload, UnreadableValue):
        raise execution.parked(found.payload) from found.payload
    return WaitResult(found.outcome == "timeout", found.payload, found.signal_id)


def _check_outside_steps(execution: Execution, name: str) -> None:
    step = step_of(execution)
    if step is not None:
        raise WaitInsideStep(step, name)


def _now_for_a_deadline(term: Term) -> int:
    """From when a timeout counts: never from too early, in this life or in the next one.

    The next life believes the wall clock. So does this one from now on, where that ends no other
    wait early.
    """
    if term.store.waits.next_deadline() is None:
        term.steady.anchor()
    return max(term.steady.now(), term.clock.now())


def _is_one_due(term: Term) -> bool:
    deadline = term.store.waits.next_deadline()
    return deadline is not None and deadline <= term.steady.now()


def expire(term: Term) -> None:
    """Settle the waits whose time is over, and tell of the runs that go on."""
    if _is_one_due(term):
        settled = term.store.waits.expire(term.steady.now(), term.clock.now())
        _tell_resumed(term, settled, "its wait timed out")


def _tell_resumed(term: Term, settled: Settled | None, reason: str) -> None:
    for run_id, job in settled.resumed if settled is not None else ():
        term.tell(RunRequeued, run_id=run_id, job=job, reason=reason)


async def signal(term: Term, wait_id: str, text: str, given_id: str) -> Receipt:
    """Settle a wait with an encoded payload; on return that is durable.

    Raises WaitNotFound, WaitIsOver and SignalConflict.
    """
    # A wait whose time is over takes no signal, also where nothing has looked yet.
    expire(term)
    settled = term.store.waits.signal(wait_id, given_id, text, term.clock.now())
    _tell_resumed(term, settled, "its wait was signalled")
    wait, stored = term.store.waits.get(wait_id), term.store.waits.payload(wait_id)
    await term.database.flush(term.options.durability)
    if wait is None:
        raise WaitNotFound(wait_id)
    if wait.signal_id != given_id:
        raise WaitIsOver(wait)
    assert stored is not None, "a signalled wait has a payload"
    if _canonical(stored) != _canonical(text):
        raise SignalConflict(wait_id, given_id)
    assert wait.settled_at is not None, "a signalled wait is settled"
    return Receipt(wait_id, wait.run_id, given_id, wait.settled_at)


def _canonical(payload: str) -> str:
    """The same for payloads that differ in the order of their keys alone."""
    return json.dumps(json.loads(payload), sort_keys=True)
