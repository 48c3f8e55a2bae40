"""Triggers: what a run is asked for with, checked before anything is stored."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Generic, TypeVar, get_args, get_type_hints

from .annotations import mismatch
from .clock import seconds
from .errors import InvalidOption, JobNotRegistered
from .events import RunCoalesced, RunTrigger
from .jobs import AnyJob, Call
from .model import Coalesce
from .records import record
from .store.runs import Creation, NewRun
from .term import Term

R_co = TypeVar("R_co", covariant=True)

LABEL_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")


@record
class Trigger(Generic[R_co]):
    """A call of a job, with what is to be said about its run; one item of ``trigger_many``."""

    call: Call[R_co]
    idempotency_key: str | None = None
    idempotency_ttl: float | timedelta | None = None
    concurrency_key: str | None = None
    coalesce: Coalesce | None = None
    labels: Mapping[str, object] | None = None


def check_trigger(
    trigger: Trigger[object], jobs: Mapping[str, AnyJob], label_schema: type | None, now: int
) -> NewRun:
    """What will be stored of a trigger. Raises JobNotRegistered and InvalidOption."""
    call, key, ttl = trigger.call, trigger.idempotency_key, trigger.idempotency_ttl
    if not isinstance(call, Call):
        raise InvalidOption("call", call, "a job called with its arguments: trigger(job(...))")
    if call.job not in jobs:
        raise JobNotRegistered(call.job)
    _check_key("idempotency_key", key)
    _check_key("concurrency_key", trigger.concurrency_key)
    if ttl is not None and key is None:
        raise InvalidOption("idempotency_ttl", ttl, "given together with an idempotency_key")
    if trigger.coalesce is not None:
        if trigger.coalesce not in get_args(Coalesce):
            raise InvalidOption("coalesce", trigger.coalesce, '"skip", "queue" or "active"')
        if trigger.concurrency_key is None:
            wanted = "given together with a concurrency_key"
            raise InvalidOption("coalesce", trigger.coalesce, wanted)
    lifetime = None if ttl is None else seconds(ttl, "idempotency_ttl")
    labels = check_labels(trigger.labels or {}, label_schema)
    return NewRun(
        job=call.job,
        input=call.input,
        idempotency_key=key,
        idempotency_expires_at=None if lifetime is None else now + round(lifetime * 1000),
        concurrency_key=trigger.concurrency_key,
        coalesce=trigger.coalesce,
        labels=json.dumps(labels, ensure_ascii=False) if labels else "{}",
    )


def check_labels(
    labels: Mapping[str, object] | None, schema: type | None, *, complete: bool = True
) -> dict[str, str]:
    """The labels, if they are texts by well-formed keys and fit the schema.

    ``complete``: no key that the schema requires may be missing.
    """
    if not isinstance(labels, Mapping):
        raise InvalidOption("labels", labels, "a dict of texts")
    if labels is None:
        labels = {}
    checked: dict[str, str] = {}
    for key, value in labels.items():
        if not isinstance(key, str) or not LABEL_KEY.fullmatch(key):
            wanted = "1 to 100 letters, digits, '.', '_', '/' or '-', beginning with no sign"
            raise InvalidOption("a label's key", key, wanted)
        if not isinstance(value, str):
            raise InvalidOption(f"label {key!r}", value, "a text")
        checked[key] = value
    if schema is None:
        return checked
    known = get_type_hints(schema)
    for key in checked:
        if key not in known:
            raise InvalidOption("a label's key", key, f"one of {sorted(known)}")
    problem = mismatch(checked, schema, "labels")
    if problem is not None and (complete or "is missing" not in problem):
        raise InvalidOption("labels", checked, f"as {schema.__name__} has them ({problem})")
    return checked


def create_runs(
    term: Term, news: Sequence[NewRun], triggers: Sequence[Trigger[object]]
) -> list[Creation]:
    """Store all of them or none, in this order, and stage their events.

    Raises ConcurrencyConflict.
    """
    now = term.clock.now()
    if len(news) == 1:
        creations = [term.store.runs.create(news[0], now)]
    else:
        with term.database.transaction():
            creations = [term.store.runs.create(new, now) for new in news]
    for creation, trigger in zip(creations, triggers, strict=True):
        if creation.disposition == "created":
            term.tell(RunTrigger(run_id=creation.run_id, job=trigger.call.job))
        elif creation.disposition == "coalesced":
            assert trigger.coalesce is not None, "only what is asked to be joined is"
            term.tell(
                RunCoalesced(
                    run_id=creation.run_id,
                    job=trigger.call.job,
                    coalesce=trigger.coalesce,
                    skipped_input=trigger.call.arguments,
                    skipped_labels=check_labels(trigger.labels or {}, None),
                )
            )
    return creations


def _check_key(option: str, key: object) -> None:
    if key is not None and (not isinstance(key, str) or not key):
        raise InvalidOption(option, key, "a text that is not empty")
