"""Typed JSON: what a step returns comes back equal and of the same type. Never pickle.

Plain JSON values are stored as they are. Everything else becomes an object with a tag:

    {"$type": "datetime", "value": "2026-11-22T10:00:00+01:00"}
    {"$type": "shop.models:Order", "value": {"id": 7, "lines": {"$type": "tuple", "value": []}}}

A tag is the name of one of Python's own types (``standard``) or, with a colon, the path of a class
of the user's (``objects``). A dict that cannot be a JSON object as it is becomes tagged pairs. Both
modules are imported when the first value needs them: most programs store plain JSON.
"""

from __future__ import annotations

import json
from collections.abc import Coroutine, Iterable
from reprlib import repr as short_repr
from typing import Any, TypeGuard

from .errors import UnreadableValue, UnstorableValue

MAX_DEPTH = 100
"""How deep values may nest. One level takes up to five Python calls, of a thousand that there are,
and three levels of JSON. In Pyodide, JSON that is some thousands of levels deep overflows the stack
of the page, which is no RecursionError but the end of that Python."""

TAG = "$type"
_QUOTED_TAG = f'"{TAG}"'
Kinds = frozenset[type[object]]

ATOMS: Kinds = frozenset({str, int, float, bool, type(None)})
CAREFUL_ATOMS: Kinds = frozenset({bool, type(None)})
# Text stays as it is, not \u escapes: in most of the world's scripts that is half the size.
# Circular references never get here, so the encoder need not look for them again.
_WRITER = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
)
SET_MEMBER = object()
"""The key of every member of a set, in a path: ``$.tags[*]``."""


def encode(value: object, *, root: str = "$") -> str:
    """Return ``value`` as JSON text that ``decode`` turns into an equal value of the same type.

    Takes None, bool, int, float, str, list, dict, tuple, set, frozenset, bytes, bytearray,
    datetime, date, time, timedelta, Decimal, UUID, and instances of enums, dataclasses, pydantic
    models and msgspec structs whose class can be found again by its name; in any combination. The
    text is valid UTF-8, and equal values nested in the same order give equal text. Two references
    to one object come back as two objects.

    Raises UnstorableValue for anything else; its path begins with ``root``.
    """
    try:
        if type(value) is int:
            return int.__repr__(value)
        return "null" if value is None else _write(value, root, ATOMS)
    except ValueError:
        # NaN, an infinity, a very long int or half a surrogate pair: so rare that JSON and UTF-8
        # themselves are left to find them, which saves looking at every number and every text.
        return _write(value, root, CAREFUL_ATOMS)


def round_trip(value: object) -> tuple[str, object]:
    """``encode(value)``, and what ``decode`` makes of that."""
    text = encode(value)
    return text, value if type(value) in ATOMS else decode(text)


def decode(text: str) -> object:
    """Return the value that ``encode`` made ``text`` from.

    Classes are imported if they are not yet, and their instances are put together without running
    their own code where that is possible (``objects.put_together``).

    Raises UnreadableValue if the text is not JSON, or if a class is gone or no longer fits.
    """
    try:
        reader = _TAGGED_READER if _QUOTED_TAG in text else _PLAIN_READER
        # Not `decode`, which takes longer to look for white space around a small value than to
        # read it: ``encode`` writes none.
        value, end = reader.raw_decode(text)
        if end < len(text):
            raise ValueError(f"it goes on behind its end, at {end}")
    except (ValueError, RecursionError) as error:
        raise UnreadableValue("text", f"it is not JSON ({error})") from error
    return value


def is_text(value: object) -> TypeGuard[str]:
    """True for a str that can be stored; half a surrogate pair is no UTF-8."""
    if not isinstance(value, str):
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def path_to(parent: str, key: object) -> str:
    """The path of what ``key`` leads to: ``$.items``, ``$.items[3]``, ``$['odd key']``."""
    if type(key) is str and key.isidentifier():
        return f"{parent}.{key}"
    return f"{parent}[{'*' if key is SET_MEMBER else short_repr(key)}]"


def _write(value: object, root: str, atoms: Kinds) -> str:
    encoder = _Encoder(atoms)
    try:
        text = _WRITER.encode(encoder.visit(root, value))
    except UnstorableValue as refused:
        # Whoever refused the value did not know where it is.
        found, advice = refused.found, refused.advice
        raise UnstorableValue(encoder.path(), found, advice) from refused.__cause__
    if not text.isascii():
        text.encode()  # Raises UnicodeEncodeError, a ValueError, for half a surrogate pair.
    return text


class _Encoder:
    """Turns one value into what ``json`` writes: the value itself where nothing needs a tag."""

    def __init__(self, atoms: Kinds) -> None:
        self._atoms = atoms
        """The types that are taken without a look at the value."""
        self._trail: list[tuple[object, object]] = []
        """The keys that lead to the value under way, each with the value there."""
        self._class_tags: dict[type, str] = {}

    def visit(self, key: object, value: object) -> object:
        kind = type(value)
        if kind in self._atoms:
            return value
        self._trail.append((key, value))
        if len(self._trail) > MAX_DEPTH:
            raise self._too_deep()
        part = self._convert(kind, value)
        self._trail.pop()
        return part

    def path(self) -> str:
        (root, _), *trail = self._trail
        path = str(root)
        for key, _ in trail:
            path = path_to(path, key)
        return path

    def _convert(self, kind: type, value: Any) -> object:
        if kind is dict:
            return self._object(value)
        if kind is list:
            return self._array(value)
        if kind in self._atoms:
            return value
        return self._tagged(kind, value)

    def _object(self, value: dict[Any, object]) -> object:
        atoms = self._atoms
        # In the first pass every str will do as a key; in the careful one it is looked at.
        careful = str not in atoms
        if TAG in value:
            return self._pairs(value)
        changed = None
        for key, item in value.items():
            if type(key) is not str or (careful and _is_no_text(key)):
                return self._pairs(value)
            if type(item) in atoms:
                continue
            part = self.visit(key, item)
            if part is not item:
                if changed is None:
                    changed = value.copy()
                changed[key] = part
        return value if changed is None else changed

    def _array(self, value: list[object]) -> object:
        atoms = self._atoms
        changed = None
        for index, item in enumerate(value):
            if type(item) in atoms:
                continue
            part = self.visit(index, item)
            if part is not item:
                if changed is None:
                    changed = value.copy()
                changed[index] = part
        return value if changed is None else changed

    def _pairs(self, value: dict[object, object]) -> object:
        pairs = [[self.visit(key, key), self.visit(key, item)] for key, item in value.items()]
        return {TAG: "dict", "value": pairs}

    def _members(self, kind: type, value: Iterable[object]) -> object:
        # A set's own order differs from one process to the next, even for equal sets.
        members = [self.visit(SET_MEMBER, member) for member in value]
        return {TAG: kind.__name__, "value": sorted(members, key=_WRITER.encode)}

    def _tagged(self, kind: type, value: Any) -> object:
        if kind is set or kind is frozenset:
            return self._members(kind, value)
        from .objects import take_apart
        from .standard import PARTS

        # By name, because a value that is no Decimal has to pass without importing decimal.
        write = PARTS.get((kind.__module__, kind.__name__))
        parts = write(value) if write else take_apart(value)
        if parts is None and write is None:
            raise UnstorableValue("", kind.__qualname__, _advice(value))
        if parts is None:
            return value
        tagged: dict[str, object] = {TAG: kind.__name__ if write else self._class_tag(kind)}
        for name, part in parts.items():
            tagged[name] = self._convert(type(part), part)
        return tagged

    def _class_tag(self, kind: type) -> str:
        from .objects import class_tag

        tag = self._class_tags.get(kind)
        if tag is None:
            tag = self._class_tags[kind] = class_tag(kind)
        return tag

    def _too_deep(self) -> UnstorableValue:
        """What is wrong; cuts the trail to where it is wrong."""
        seen = set()
        for depth, (_, value) in enumerate(self._trail):
            if id(value) in seen:
                del self._trail[depth + 1 :]
                advice = "Store the other object's id instead."
                return UnstorableValue("", "a circular reference", advice)
            seen.add(id(value))
        del self._trail[5:]
        found = f"a value nested more than {MAX_DEPTH} deep"
        return UnstorableValue("", found, "Store it as a flat list.")


def _restore(found: dict[str, Any]) -> object:
    """The value that a JSON object stands for; called by ``json``, innermost object first."""
    if TAG not in found:
        return found
    from .objects import find_class, put_together
    from .standard import RESTORE

    tag = found.pop(TAG)
    try:
        value = found.pop("value")
        read = RESTORE.get(tag)
        return read(value, **found) if read else put_together(find_class(tag), value, **found)
    except UnreadableValue:
        raise
    except Exception as error:
        # Whatever a damaged value or a changed class makes a constructor raise.
        raise UnreadableValue(str(tag), f"{type(error).__name__}: {error}") from error


def _is_no_text(key: str) -> bool:
    from .standard import escaped

    return escaped(key) is not None


_PLAIN_READER = json.JSONDecoder()
_TAGGED_READER = json.JSONDecoder(object_hook=_restore)


def _advice(value: object) -> str:
    for base in (dict, list, tuple, set, frozenset, str, int, float, bytes, bytearray):
        if isinstance(value, base):
            return f"Convert it with {base.__name__}(...)."
    if isinstance(value, Coroutine):
        return "Await it first."
    if hasattr(type(value), "to_py"):  # A JsProxy, which is iterable too.
        return "Convert it with to_py()."
    if isinstance(value, Iterable):
        return "Convert it with list(...)."
    return "Store plain values that describe it, or a dataclass."
