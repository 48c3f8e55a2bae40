"""Constraints in ``Annotated``, judged by the library that they come from.

pydantic and msgspec are never imported from here: who has an annotation of theirs has imported
them already. They are asked about the constraints alone, for a value of the value's own class:
whether the class is right was answered before, and in other ways than theirs.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import GenericAlias
from typing import Any

Check = Callable[[object], str | None]

ENFORCED = frozenset(
    {
        "AfterValidator",
        "AllowInfNan",
        "Strict",
        "StringConstraints",
        "UuidVersion",
        "_PydanticGeneralMetadata",  # What Field(max_digits=...) and the like become.
    }
)
"""What is enforced of pydantic's own. The rest is about input that is still to be converted."""
KNOWN_MODULES = frozenset({"builtins", "datetime", "decimal", "uuid"})
"""Where the classes are from whose constraints the libraries know."""
OTHER_COMPLAINTS = frozenset({"datetime_object_invalid", "string_unicode"})
"""pydantic's complaints that are about no constraint, but about what it can work with."""


class Constraints:
    """Asks pydantic and msgspec, and keeps what was built for that."""

    def __init__(self) -> None:
        # By identity, because metadata need not be hashable; it is kept, so that it stays unique.
        self._checks: dict[tuple[int, object], tuple[object, list[Check]]] = {}

    def broken(self, value: object, annotation: Any) -> str | None:
        """What is said against ``value``, which fits otherwise; None if nothing is.

        ``annotation`` is an ``Annotated``, or a class of pydantic that stands for one.
        """
        metadata = getattr(annotation, "__metadata__", ())
        kind = _kind(value, annotation) if metadata else annotation
        key = (id(metadata), kind)
        if key not in self._checks:
            self._checks[key] = (metadata, _checks(kind, metadata))
        said = (_asked(check, value) for check in self._checks[key][1])
        return next((words for words in said if words), None)


def _kind(value: object, annotation: Any) -> object:
    kind = type(value)
    if kind is int and typing.get_args(annotation)[0] is float:
        return float  # Whose limits need not be whole.
    return kind if kind.__module__ in KNOWN_MODULES else Any


def _checks(kind: object, metadata: tuple[object, ...]) -> list[Check]:
    checks: list[Check] = []
    of_pydantic = tuple(_of_pydantic(metadata))
    of_msgspec = tuple(item for item in metadata if type(item).__module__ == "msgspec")
    # What cannot be built is a constraint that values of this class cannot have.
    if of_pydantic or not metadata:
        with suppress(Exception):
            checks.append(_pydantic_check(kind, of_pydantic))
    if of_msgspec:
        with suppress(Exception):
            checks.append(_msgspec_check(kind, of_msgspec))
    return checks


def _of_pydantic(metadata: Iterable[Any]) -> Iterator[object]:
    for item in metadata:
        name, package = type(item).__name__, type(item).__module__.partition(".")[0]
        if package == "pydantic" and name == "FieldInfo":
            # Without its alias and its default, which have no meaning here.
            yield from _of_pydantic(item.metadata)
        elif package == "annotated_types" or (package == "pydantic" and name in ENFORCED):
            yield item


def _pydantic_check(kind: object, constraints: tuple[object, ...]) -> Check:
    pydantic, annotated = sys.modules["pydantic"], _annotated(kind, constraints)
    adapter = pydantic.TypeAdapter(annotated)

    def check(value: object) -> str | None:
        try:
            adapter.validate_python(value, strict=True)
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            return None if first["type"] in OTHER_COMPLAINTS else str(first["msg"])
        return None

    return check


def _msgspec_check(kind: object, constraints: tuple[object, ...]) -> Check:
    msgspec, annotated = sys.modules["msgspec"], _annotated(kind, constraints)
    # Raises TypeError if there is no such constraint.
    msgspec.convert([], GenericAlias(list, (annotated,)))

    def check(value: object) -> str | None:
        try:
            msgspec.convert(value, annotated)
        except msgspec.ValidationError as error:
            # "Number out of range" is about no constraint.
            return str(error) if str(error).startswith("Expected") else None
        return None

    return check


def _annotated(kind: object, constraints: tuple[object, ...]) -> Any:
    annotated: Any = typing.Annotated
    return annotated[(kind, *constraints)] if constraints else kind


def _asked(check: Check, value: object) -> str | None:
    try:
        said = check(value)
    except Exception:
        return None  # A validator that breaks, or a value that the library does not know.
    is_sentence = said is not None and said[1:2].islower()
    return said[0].lower() + said[1:] if said and is_sentence else said
