"""Triggers: what a run is asked for with, checked before anything is stored."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Literal, get_args, get_origin, get_type_hints, is_typeddict

from .clock import seconds
from .codec import is_text
from .errors import InvalidOption, JobNotRegistered
from .events import RunCoalesced, RunTrigger
from .jobs import AnyJob, Call, Trigger
from .model import Coalesce
from .store.rows import readable
from .store.runs import Creation, NewRun
from .term import Term

LABEL_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")


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
    labels = check_labels(trigger.labels, label_schema)
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
    if labels is None:
        labels = {}
    if not isinstance(labels, Mapping):
        raise InvalidOption("labels", labels, "a dict of texts")
    checked: dict[str, str] = {}
    for key, value in labels.items():
        if not isinstance(key, str) or not LABEL_KEY.fullmatch(key):
            wanted = "1 to 100 letters, digits, '.', '_', '/' or '-', beginning with no sign"
            raise InvalidOption("a label's key", key, wanted)
        if not is_text(value):
            raise InvalidOption(f"label {key!r}", value, "a text")
        checked[key] = value
    if schema is None:
        return checked
    from .matching import Matcher

    known, matcher = get_type_hints(schema), Matcher()
    for key, value in checked.items():
        if key not in known:
            raise InvalidOption("a label's key", key, f"one of {sorted(known)}")
        problem = matcher.mismatch(value, known[key], f"labels.{key}")
        if problem is not None:
            raise InvalidOption("labels", checked, f"as {schema.__name__} has them ({problem})")
    problem = matcher.mismatch(checked, schema, "labels") if complete else None
    if problem is not None:
        raise InvalidOption("labels", checked, f"as {schema.__name__} has them ({problem})")
    return checked


def check_label_schema(schema: object) -> None:
    """Raise InvalidOption unless ``schema`` is a TypedDict whose every value is a text."""
    wanted = "a TypedDict whose values are str, or a Literal of them"
    if not is_typeddict(schema):
        raise InvalidOption("labels", schema, wanted)
    try:
        hints = get_type_hints(schema)
    except Exception as error:
        # A name in it that cannot be resolved: one that is local to a function, say.
        raise InvalidOption("labels", schema, f"{wanted} ({error})") from error
    for key, hint in hints.items():
        choices = get_args(hint) if get_origin(hint) is Literal else ()
        if hint is not str and not (choices and all(isinstance(one, str) for one in choices)):
            raise InvalidOption("labels", schema, f"{wanted} ({key!r} is not)")


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
            term.tell(RunTrigger(run_id=creation.run_id, job=new.job))
        elif creation.disposition == "coalesced":
            assert new.coalesce is not None, "only what is asked to be joined is"
            term.tell(
                RunCoalesced(
                    run_id=creation.run_id,
                    job=new.job,
                    coalesce=new.coalesce,
                    skipped_input=readable(new.input),
                    skipped_labels=json.loads(new.labels),
                )
            )
    return creations


def _check_key(option: str, key: object) -> None:
    if key is not None and (not is_text(key) or not key):
        raise InvalidOption(option, key, "a text that is not empty")
