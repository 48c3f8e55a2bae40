"""Annotations evaluated, those of functions and those of the fields of classes.

One in which a name cannot be found, such as one that is imported for a type checker alone, is Any.
The others still count.
"""

from __future__ import annotations

import sys
import typing
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

Field = tuple[object, object]
"""The annotation of a field and its default, MISSING if there is none."""


def evaluated(annotation: object, names: dict[str, object]) -> object:
    """``annotation`` with the strings in it evaluated; Any where there is none to be had."""

    def holder() -> None: ...

    # One by one, because get_type_hints gives nothing at all if one name cannot be resolved.
    holder.__annotations__ = {"hint": annotation}
    try:
        return typing.get_type_hints(holder, names, include_extras=True)["hint"]
    except Exception:
        return Any


def has_fields(kind: object) -> bool:
    """Whether it is a class whose constructor takes any value for a field that it annotates."""
    if hasattr(kind, "__struct_fields__"):
        return True
    # pydantic's dataclasses have checked, and may have converted, what their fields hold.
    return is_dataclass(kind) and not hasattr(kind, "__pydantic_validator__")


def fields_of(kind: Any, args: tuple[Any, ...]) -> dict[str, Field]:
    """The fields of a dataclass, a msgspec struct or a TypedDict with these type arguments."""
    hints = _class_hints(kind)
    arguments = _type_arguments(kind, args)
    found = {}
    for name, default in _defaults(kind, hints).items():
        hint = _substituted(hints.get(name, Any), arguments)
        # `date: date = None` in a class means None, once the class has its default. And what a
        # field with a descriptor holds is the descriptor's own affair.
        is_known = not (hint is type(None) and default is None) and not hasattr(hint, "__get__")
        found[name] = (hint if is_known else Any, default)
    return found


def _defaults(kind: Any, hints: dict[str, object]) -> dict[str, object]:
    if is_dataclass(kind):
        return {field.name: field.default for field in fields(kind)}
    if not hasattr(kind, "__struct_fields__"):
        return dict.fromkeys(hints, MISSING)
    names, defaults = kind.__struct_fields__, kind.__struct_defaults__
    without = [MISSING] * (len(names) - len(defaults))
    return dict(zip(names, [*without, *defaults], strict=True))


def _class_hints(kind: type) -> dict[str, object]:
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except Exception:
        hints: dict[str, object] = {}
    for base in reversed(kind.__mro__):
        names = getattr(sys.modules.get(base.__module__), "__dict__", {})
        own = _own_annotations(base)
        hints |= {name: evaluated(annotation, names) for name, annotation in own.items()}
    return hints


def _own_annotations(kind: type) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        from annotationlib import Format, get_annotations

        return get_annotations(kind, format=Format.FORWARDREF)
    import inspect

    return inspect.get_annotations(kind)


def _type_arguments(kind: Any, args: tuple[Any, ...]) -> dict[object, object]:
    """What the type variables of ``kind`` stand for; nothing where that is not certain."""
    parameters = getattr(kind, "__parameters__", ())
    bases = getattr(kind, "__orig_bases__", ())
    # In a base of the user's own, the same variable may stand for something else.
    is_first = all(base.__module__ in ("typing", "msgspec") for base in bases)
    if not is_first or len(parameters) != len(args):
        return {}
    if not all(isinstance(parameter, typing.TypeVar) for parameter in parameters):
        return {}
    return dict(zip(parameters, args, strict=True))


def _substituted(hint: Any, arguments: dict[object, object]) -> Any:
    if isinstance(hint, typing.TypeVar):
        return arguments.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ())
    if not arguments or not parameters or typing.get_origin(hint) is None:
        return hint
    return hint[tuple(arguments.get(parameter, parameter) for parameter in parameters)]
