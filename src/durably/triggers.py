"""Triggers: what a run is asked for with, checked before anything is stored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import get_args

from .clock import seconds
from .codec import is_text
from .errors import InvalidOption, JobNotRegistered
from .events import RunCoalesced, RunTrigger
from .jobs import AnyJob, Call, Trigger
from .model import Coalesce
from .store.rows import readable
from .store.runs import Creation, NewRun, new_id
from .term import Term


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
    labels: dict[str, str] = {}
    if trigger.labels is not None or label_schema is not None:
        from .labels import check_labels

        labels = check_labels(trigger.labels, label_schema)
    return NewRun(
        job=call.job,
        input=call.input,
        idempotency_key=key,
        idempotency_expires_at=None if lifetime is None else now + round(lifetime * 1000),
        concurrency_key=trigger.concurrency_key,
        coalesce=trigger.coalesce,
        labels=json.dumps(labels, ensure_ascii=False) if labels else "{}",
        id=new_id(now),
    )


def create_runs(term: Term, news: Sequence[NewRun]) -> list[Creation]:
    """Store all of them or none, in this order, and stage their events.

    Raises ConcurrencyConflict.
    """
    now = term.clock.now()
    if len(news) == 1:
        creations = [term.store.runs.create(news[0], now)]
    else:
        with term.database.transaction():
            creations = [term.store.runs.create(new, now) for new in news]
    for creation, new in zip(creations, news, strict=True):
        if creation.disposition == "created":
            term.tell(RunTrigger, run_id=creation.run_id, job=new.job)
        elif creation.disposition == "coalesced":
            assert new.coalesce is not None, "only what is asked to be joined is"
            term.tell(
                RunCoalesced,
                run_id=creation.run_id,
                job=new.job,
                coalesce=new.coalesce,
                skipped_input=readable(new.input),
                skipped_labels=json.loads(new.labels),
            )
    return creations


def _check_key(option: str, key: object) -> None:
    if key is not None and (not is_text(key) or not key):
        raise InvalidOption(option, key, "a text that is not empty")
