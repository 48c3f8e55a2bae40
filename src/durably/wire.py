"""Values as JSON that tabs send each other: facts and errors of this library by name, and whatever
belongs to the user as the codec's text.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from . import model
from .codec import decode, encode
from .errors import DurablyError, UnreadableValue

PLAIN = frozenset({bool, int, float, str, type(None)})
MODULES = frozenset({"model", "events", "store.runs", "desk", "health", "doctor"})
"""Whose facts a message may hold."""


def pack(value: object) -> Any:
    """``value`` as JSON has it."""
    kind = type(value)
    if kind in PLAIN:
        return value
    if isinstance(value, list):
        return [pack(part) for part in value]
    if isinstance(value, tuple):
        return {"tuple": [pack(part) for part in value]}
    if isinstance(value, model.RunStatus):
        return {"status": value.value}
    module = kind.__module__.partition(".")[2]
    if module in MODULES and hasattr(kind, "_defaults"):
        facts = {name: pack(getattr(value, name)) for name in kind._defaults}
        return {"record": f"{module}.{kind.__name__}", **facts}
    if isinstance(value, DurablyError):
        return {"error": kind.__name__, "facts": pack(value.facts)}
    return {"value": encode(value)}


def unpack(packed: Any) -> Any:
    """What ``pack`` made it from. A value that today's code cannot read is the UnreadableValue.

    Raises KeyError, TypeError or ValueError for what ``pack`` did not make.
    """
    if isinstance(packed, list):
        return [unpack(part) for part in packed]
    if not isinstance(packed, dict):
        return packed
    if "record" in packed:
        module, _, name = packed["record"].rpartition(".")
        if module not in MODULES:
            raise ValueError(f"no fact of this library: {packed['record']}")
        kind = getattr(import_module(f".{module}", __package__), name)
        # A newer version may know more of it.
        return kind(**{name: unpack(packed[name]) for name in kind._defaults if name in packed})
    if "value" in packed:
        try:
            return decode(packed["value"])
        except UnreadableValue as error:
            return error
    if "tuple" in packed:
        return tuple(unpack(part) for part in packed["tuple"])
    if "status" in packed:
        return model.RunStatus(packed["status"])
    return _error(packed)


def _error(packed: Any) -> DurablyError:
    kind = _errors(DurablyError).get(packed["error"])
    if kind is None:
        return DurablyError(f"{packed['error']}: {packed['facts']}")
    return kind(*unpack(packed["facts"]))


def _errors(root: type[DurablyError]) -> dict[str, type[DurablyError]]:
    """The errors there are, by their names."""
    found = {root.__name__: root}
    for kind in root.__subclasses__():
        found |= _errors(kind)
    return found
