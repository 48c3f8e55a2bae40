"""Values against annotations.

What is not understood is accepted: a wrong value that gets through fails where it is used, and
shows there; for a right one that is refused there is no way round.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import MISSING
from reprlib import repr as short_repr
from typing import TYPE_CHECKING, Any

from .codec import SET_MEMBER, path_to
from .hints import Field, fields_of, has_fields

if TYPE_CHECKING:
    from .constraints import Constraints

ATOMS = frozenset({str, int, float, bool, bytes, type(None)})
"""What has nothing inside, and is told apart by its class alone."""
CONSTRAINING = frozenset({"annotated_types", "msgspec", "pydantic"})
"""The packages whose metadata in ``Annotated`` says more about the value."""
PYDANTIC_NAMES = frozenset(
    ("AwareDatetime", "NaiveDatetime", "PastDatetime", "FutureDatetime", "PastDate", "FutureDate")
) | {"EmailStr"}
"""Classes of pydantic that have no instances: they stand for another class and a constraint."""


class Matcher:
    """Judges values, and keeps what it found out about classes and constraints for the next."""

    def __init__(self) -> None:
        self._fields: dict[tuple[type, tuple[Any, ...]], dict[str, Field]] = {}
        self._constraints: Constraints | None = None

    def mismatch(self, value: object, annotation: object, path: str = "$") -> str | None:
        """Why ``value`` does not fit, in one line that names the place; None if it fits.

        Values are looked at all the way down, as a strict type checker would: True is no int, but
        an int is a float. Fields of dataclasses and msgspec structs count as items do, because
        their constructors check nothing. A str, an iterator or an instance of another class is not
        looked into.
        """
        try:
            problem = self._judge(value, annotation)
            return None if problem is None else problem.describe(path)
        except Exception:
            # A value that contains itself, which the codec refuses; code of the value's class.
            return None

    def _judge(self, value: object, annotation: Any) -> _Problem | None:
        if annotation is Any or (type(value) is annotation and annotation in ATOMS):
            return None
        annotation = _resolved(annotation)
        origin, args = typing.get_origin(annotation), typing.get_args(annotation)
        kind = origin or annotation
        if origin is typing.Annotated:
            return self._judge(value, args[0]) or self._constrained(value, annotation)
        if origin is typing.Union or origin is types.UnionType:
            return self._union(value, annotation, args)
        if origin is typing.Literal:
            fits = any(type(value) is type(choice) and value == choice for choice in args)
            return None if fits else _Problem(value, annotation)
        if typing.is_typeddict(kind):
            return self._typed_dict(value, annotation, kind, args)
        if getattr(kind, "__name__", None) in PYDANTIC_NAMES and _package(kind) == "pydantic":
            return self._constrained(value, annotation)
        if not _is_instance(value, kind):
            return _Problem(value, annotation)
        if isinstance(value, tuple) and origin is tuple:
            return self._tuple(value, annotation, args)
        if has_fields(kind) and has_fields(type(value)):
            return self._instance(value, args if type(value) is kind else ())
        return self._items(value, origin, args)

    def _union(self, value: object, annotation: Any, choices: Any) -> _Problem | None:
        if type(value) in ATOMS and type(value) in choices:
            return None
        problems: list[_Problem] = []
        for choice in choices:
            problem = self._judge(value, choice)
            if problem is None:
                return None
            problems.append(problem)
        # If the value is of the kind of exactly one choice, what is wrong inside says more.
        inner = [problem for problem in problems if problem.keys or problem.said]
        return inner[0] if len(inner) == 1 else _Problem(value, annotation)

    def _typed_dict(self, value: object, annotation: Any, kind: Any, args: Any) -> _Problem | None:
        if not isinstance(value, dict):
            return _Problem(value, annotation)
        for key, (hint, _) in self._fields_of(kind, args).items():
            if key in value:
                problem = self._judge(value[key], hint)
                if problem is not None:
                    return problem.inside(key)
            # One that is NotRequired in a string (a `from __future__` import) is in required_keys.
            elif key in kind.__required_keys__ and not _is_not_required(hint):
                return _Problem(value, annotation, f"the key {key!r} is missing")
        return None

    def _tuple(self, value: tuple[object, ...], annotation: Any, args: Any) -> _Problem | None:
        if args[1:] == (...,):
            return self._each(enumerate(value), args[0])
        if any(_is_unpacked(item) for item in args):
            return None
        if len(args) != len(value):
            return _Problem(value, annotation)
        for index, (item, hint) in enumerate(zip(value, args, strict=True)):
            problem = self._judge(item, hint)
            if problem is not None:
                return problem.inside(index)
        return None

    def _items(self, value: object, origin: Any, args: Any) -> _Problem | None:
        # Of another generic class nobody knows what its arguments say about its items.
        if getattr(origin, "__module__", None) not in ("builtins", "collections.abc"):
            return None
        if isinstance(value, dict) and len(args) == 2:
            keys, items = args
            return self._each(((key, key) for key in value), keys) or self._each(
                value.items(), items
            )
        if isinstance(value, list | tuple) and len(args) == 1:
            return self._each(enumerate(value), args[0])
        if isinstance(value, set | frozenset) and len(args) == 1:
            return self._each(((SET_MEMBER, item) for item in value), args[0])
        return None

    def _each(self, items: Iterable[tuple[object, object]], hint: Any) -> _Problem | None:
        if hint is Any:
            return None
        is_atom = isinstance(hint, type) and hint in ATOMS
        for key, item in items:
            if is_atom and type(item) is hint:
                continue
            problem = self._judge(item, hint)
            if problem is not None:
                return problem.inside(key)
        return None

    def _instance(self, value: object, args: Any) -> _Problem | None:
        for name, (hint, default) in self._fields_of(type(value), args).items():
            # A field outside __init__ may never have been set.
            item = getattr(value, name, MISSING)
            if item is MISSING:
                continue
            problem = self._judge(item, hint)
            # A default is right because it stands in the class, as in `size: int = None`.
            if problem is not None and not (type(item) is type(default) and item == default):
                return problem.inside(name)
        return None

    def _fields_of(self, kind: Any, args: tuple[Any, ...]) -> dict[str, Field]:
        known = self._fields.get((kind, args))
        if known is None:
            known = self._fields[kind, args] = fields_of(kind, args)
        return known

    def _constrained(self, value: object, annotation: Any) -> _Problem | None:
        metadata = getattr(annotation, "__metadata__", (annotation,))
        if CONSTRAINING.isdisjoint(map(_package, metadata)):
            return None
        if self._constraints is None:
            from .constraints import Constraints

            self._constraints = Constraints()
        said = self._constraints.broken(value, annotation)
        return _Problem(value, annotation, f"{said}, got {_shown(value)}") if said else None


class _Problem:
    """A value that does not fit, and the keys that lead to it."""

    __slots__ = ("annotation", "keys", "said", "value")

    def __init__(self, value: object, annotation: object, said: str = "") -> None:
        self.value = value
        self.annotation = annotation
        self.said = said
        self.keys: list[object] = []
        """Innermost first."""

    def inside(self, key: object) -> _Problem:
        self.keys.append(key)
        return self

    def describe(self, path: str) -> str:
        for key in reversed(self.keys):
            path = path_to(path, key)
        expected = f"expected {_spelling(self.annotation)}, got {_shown(self.value)}"
        return f"{path}: {self.said or expected}"


def _resolved(annotation: Any) -> Any:
    """What ``annotation`` stands for, where it is only another name or a wrapping."""
    if annotation is None:
        return type(None)
    if isinstance(annotation, typing.NewType):
        return _resolved(annotation.__supertype__)
    if isinstance(annotation, typing.TypeVar):
        # A constrained one has no bound either; which constraint is meant, another argument says.
        return _resolved(annotation.__bound__ or Any)
    if type(annotation).__name__ == "TypeAliasType":  # `type X = ...`, from Python 3.12 on.
        return _resolved(annotation.__value__)
    if typing.get_origin(annotation) in _WRAPPINGS:
        return _resolved(typing.get_args(annotation)[0])
    return annotation


_WRAPPINGS = {typing.Required, typing.NotRequired, typing.Final}
if sys.version_info >= (3, 13):
    _WRAPPINGS.add(typing.ReadOnly)


def _is_instance(value: object, kind: Any) -> bool:
    if kind is Callable:
        return True
    if kind in (int, float, complex) and isinstance(value, bool):
        return False
    if kind is float or kind is complex:
        kind = (int, float, kind)  # The numeric tower of PEP 484.
    try:
        return isinstance(value, kind) or _is_instance_by_name(value, kind)
    except Exception:
        return True  # No class: Any, a string that could not be evaluated, a Protocol.


def _is_instance_by_name(value: object, kind: Any) -> bool:
    # Where a class was defined again, in a notebook or by a reload, an annotation may still mean
    # the one before. And pydantic makes no instance of Model[int] where it is asked for Model(...).
    if kind in ATOMS or isinstance(kind, tuple):
        return False
    origin = getattr(kind, "__pydantic_generic_metadata__", {}).get("origin") or kind
    name = (origin.__module__, origin.__qualname__)
    return any((base.__module__, base.__qualname__) == name for base in type(value).__mro__)


def _is_unpacked(annotation: Any) -> bool:
    unpacked = getattr(annotation, "__unpacked__", False)
    return bool(unpacked) or typing.get_origin(annotation) is typing.Unpack


def _is_not_required(hint: Any) -> bool:
    while typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    return typing.get_origin(hint) is typing.NotRequired


def _package(item: object) -> str:
    """The package of a class, or of the class of anything else."""
    kind = item if isinstance(item, type) else type(item)
    return kind.__module__.partition(".")[0]


def _shown(value: object) -> str:
    return "None" if value is None else f"{type(value).__qualname__} ({short_repr(value)})"


def _spelling(annotation: Any) -> str:
    """``annotation`` as a user would write it, in every version of Python."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_spelling(choice) for choice in args)
    if origin is typing.Annotated:
        return _spelling(args[0])
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, type) and not args:
        return annotation.__qualname__
    return repr(annotation).replace("typing.", "")
