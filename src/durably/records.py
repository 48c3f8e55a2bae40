"""Frozen, slotted dataclasses whose methods are written once, here, and not generated for each.

Every import delays the first line of a page, and generating the methods of one class takes more
than a millisecond in a tab. Only ``__init__`` is generated, when the first instance is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError, dataclass, replace
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
        return cast("type[T]", _made(kind, kw_only))

    return decorate if kind is None else decorate(kind)


def _made(kind: Any, kw_only: bool) -> Any:
    """The class again, with slots: they cannot be given to one that exists."""
    namespace = dict(vars(kind))
    own = [name for name, hint in kind.__annotations__.items() if "ClassVar" not in hint]
    defaults = getattr(kind, "_defaults", {}) | {name: namespace.pop(name, MISSING) for name in own}
    for name in ("__dict__", "__weakref__"):
        namespace.pop(name, None)
    namespace |= _METHODS
    namespace["__slots__"] = tuple(own)
    namespace["__match_args__"] = () if kw_only else tuple(defaults)
    namespace["__dataclass_fields__"] = _Fields()
    namespace["_defaults"] = defaults
    made = type(kind)(kind.__name__, kind.__bases__, namespace)
    made.__qualname__ = kind.__qualname__
    return made


class _Fields:
    """What the functions of ``dataclasses`` ask a class for, made when it is first asked."""

    def __get__(self, instance: object, kind: Any) -> object:
        hints: dict[str, object] = {}
        for base in reversed(kind.__mro__):
            hints |= getattr(base, "__annotations__", {})
        facts = {name: value for name, value in kind._defaults.items() if value is not MISSING}
        facts["__annotations__"] = {name: hints[name] for name in kind._defaults}
        is_kw_only = not kind.__match_args__
        twin: Any = dataclass(init=False, repr=False, eq=False, kw_only=is_kw_only)(
            type(kind.__name__, (), facts)
        )
        kind.__dataclass_fields__ = twin.__dataclass_fields__
        return kind.__dataclass_fields__


def _init(self: Any, /, *args: object, **facts: object) -> None:
    """Of a class that has no instance yet: makes the one for the others."""
    kind = type(self)
    parameters = [
        name if default is MISSING else f"{name}=_defaults[{name!r}]"
        for name, default in kind._defaults.items()
    ]
    if not kind.__match_args__:
        parameters.insert(0, "*")
    lines = [f"    _set_{name}(self, {name})" for name in kind._defaults]
    space = {f"_set_{name}": getattr(kind, name).__set__ for name in kind._defaults}
    space["_defaults"] = kind._defaults
    exec(f"def __init__(self, {', '.join(parameters)}):\n" + "\n".join(lines), space)
    made: Any = space["__init__"]
    made.__qualname__ = f"{kind.__qualname__}.__init__"
    kind.__init__ = made
    made(self, *args, **facts)


def values_of(self: Any) -> dict[str, object]:
    """What a record was made with, by name."""
    return {name: getattr(self, name) for name in self._defaults}


def _repr(self: Any) -> str:
    facts = ", ".join(f"{name}={value!r}" for name, value in values_of(self).items())
    return f"{type(self).__qualname__}({facts})"


def _eq(self: Any, other: object) -> bool:
    return type(self) is type(other) and values_of(self) == values_of(other)


def _hash(self: Any) -> int:
    return hash((type(self), *values_of(self).values()))


def _refuse(self: Any, name: str, value: object = None) -> None:
    raise FrozenInstanceError(f"cannot change {name!r} of a {type(self).__name__}")


def _reduce(self: Any) -> tuple[Callable[..., object], tuple[object, ...]]:
    return _made_again, (type(self), values_of(self))


def _made_again(kind: type[T], values: dict[str, object]) -> T:
    return kind(**values)


def _replaced(self: Any, /, **changes: object) -> Any:
    return replace(self, **changes)


_METHODS = {
    "__init__": _init,
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__setattr__": _refuse,
    "__delattr__": _refuse,
    "__reduce__": _reduce,
    "__replace__": _replaced,
}
