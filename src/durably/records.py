"""Frozen, slotted dataclasses whose methods are written once, here, and not generated for each.

Every import delays the first line of a page, and generating the methods of one class takes more
than a millisecond in a tab.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError, dataclass, fields
from typing import Any, TypeVar, cast, dataclass_transform, overload

T = TypeVar("T")


@overload
def record(kind: type[T], /) -> type[T]: ...


@overload
def record(*, kw_only: bool) -> Callable[[type[T]], type[T]]: ...


@dataclass_transform(frozen_default=True)
def record(
    kind: type[T] | None = None, /, *, kw_only: bool = False
) -> type[T] | Callable[[type[T]], type[T]]:
    """Make a frozen, slotted dataclass of a class. Two are equal if all their values are.

    A default is one value, which all instances share.
    """

    def decorate(kind: type[T]) -> type[T]:
        made: Any = dataclass(init=False, repr=False, eq=False, slots=True, kw_only=kw_only)(kind)
        made._defaults = {field.name: field.default for field in fields(made)}
        made._setters = [(name, getattr(made, name).__set__) for name in made._defaults]
        for name, method in _METHODS.items():
            setattr(made, name, method)
        return cast("type[T]", made)

    return decorate if kind is None else decorate(kind)


def _init(self: Any, /, *args: object, **facts: object) -> None:
    kind = type(self)
    if args:
        given = dict(zip(kind.__match_args__, args, strict=False))
        if len(given) < len(args) or not given.keys().isdisjoint(facts):
            raise TypeError(f"{kind.__name__} takes each of {', '.join(kind._defaults)} once")
        facts |= given
    if facts.keys() != kind._defaults.keys():
        facts = kind._defaults | facts
    for name, set_value in kind._setters:
        value = facts[name]
        if value is MISSING:
            raise TypeError(f"{kind.__name__} needs {name}")
        set_value(self, value)
    if len(facts) > len(kind._setters):
        unknown = ", ".join(facts.keys() - kind._defaults.keys())
        raise TypeError(f"{kind.__name__} has no {unknown}")


def _values(self: Any) -> dict[str, object]:
    return {name: getattr(self, name) for name in self._defaults}


def _repr(self: Any) -> str:
    facts = ", ".join(f"{name}={value!r}" for name, value in _values(self).items())
    return f"{type(self).__qualname__}({facts})"


def _eq(self: Any, other: object) -> bool:
    return type(self) is type(other) and _values(self) == _values(other)


def _hash(self: Any) -> int:
    return hash((type(self), *_values(self).values()))


def _refuse(self: Any, name: str, value: object = None) -> None:
    raise FrozenInstanceError(f"cannot change {name!r} of a {type(self).__name__}")


def _reduce(self: Any) -> tuple[Callable[..., object], tuple[object, ...]]:
    return _made_again, (type(self), _values(self))


def _made_again(kind: type[T], values: dict[str, object]) -> T:
    return kind(**values)


_METHODS = {
    "__init__": _init,
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__setattr__": _refuse,
    "__delattr__": _refuse,
    "__reduce__": _reduce,
}
