"""Labels: texts that runs are found by, checked before anything is stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args, get_origin, get_type_hints, is_typeddict

from .codec import is_text
from .errors import InvalidOption

LABEL_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")


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
