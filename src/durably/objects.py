"""Instances of the user's own classes: taken apart to be stored, put together when read.

Enum members, dataclass instances, pydantic models and msgspec structs; nothing else, so that stored
text cannot name just any class and have it called. pydantic and msgspec are never imported from
here: who has an instance, or a class found by its path, has them imported already.
"""

from __future__ import annotations

import sys
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum, Flag
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import UnreadableValue, UnstorableValue

if TYPE_CHECKING:
    from collections.abc import Iterable

SUPPORTED = "an Enum, a dataclass, a pydantic model or a msgspec Struct"


def class_tag(kind: type) -> str:
    """``module:qualname``. Raises UnstorableValue unless it leads back to ``kind`` later on."""
    tag = f"{kind.__module__}:{kind.__qualname__}"
    try:
        is_found = find_class(tag) is kind
    except UnreadableValue:
        is_found = False
    if not is_found:
        raise UnstorableValue(
            "",
            f"{kind.__qualname__} (not to be found as {tag})",
            "Define the class at module level, under its own name.",
        )
    return tag


def find_class(tag: str) -> type:
    """The class that ``tag`` leads to. Raises UnreadableValue if there is none."""
    module_name, colon, qualname = tag.partition(":")
    if not colon:
        raise UnreadableValue(tag, "this version of durably does not know the type")
    try:
        found: object = sys.modules.get(module_name) or import_module(module_name)
        for name in qualname.split("."):
            found = getattr(found, name)
    except Exception as error:
        # Not only ImportError: importing runs the module, which may raise anything.
        raise UnreadableValue(tag, f"{type(error).__name__}: {error}") from error
    if not isinstance(found, type):
        raise UnreadableValue(tag, "it is not a class")
    return found


def take_apart(value: object) -> dict[str, object] | None:
    """The parts of ``value`` under the names that ``put_together`` takes; None if unsupported."""
    kind: Any = type(value)
    try:
        if isinstance(value, Enum):
            return {"value": _member_key(value)}
        if is_dataclass(kind):
            return {"value": _dataclass_fields(value)}
        if _is_model(kind):
            return _model_parts(value)
        if _is_struct(kind):
            return {"value": _set_attributes(value, kind.__struct_fields__)}
    except UnstorableValue:
        raise
    except Exception as error:
        # A property or a descriptor of the user's that raises.
        raise UnstorableValue(
            "", kind.__qualname__, f"Reading its fields raised {error!r}."
        ) from error
    return None


def put_together(kind: type, value: Any, **parts: Any) -> object:
    """The instance that ``take_apart`` gave these parts of.

    Dataclasses and pydantic models come back without ``__init__``, ``__post_init__`` or
    validators: what a constructor derives, counts or checks was done when the value was made, and
    doing it again need not give the same. Fields that were added to the class since get their
    default.

    Raises UnreadableValue if the class no longer fits; anything else comes from the class.
    """
    if issubclass(kind, Enum):
        return _member(kind, value)
    if is_dataclass(kind):
        return _restore_dataclass(kind, value)
    if _is_model(kind):
        return _restore_model(kind, value, **parts)
    if _is_struct(kind):
        return _restore_struct(kind, value)
    raise UnreadableValue(_name(kind), f"it is not {SUPPORTED}")


def _member_key(member: Enum) -> str | int:
    # The name, because a value may be anything. Only a combination of flags has none of its own.
    kind, key = type(member), member._name_
    if kind.__members__.get(key) is member:
        return key
    if isinstance(member, Flag):
        return int(member._value_)
    raise UnstorableValue("", repr(member), "It is not a member of its own Enum.")


def _member(kind: type[Enum], key: str | int) -> Enum:
    if isinstance(key, str):
        if key not in kind.__members__:
            raise UnreadableValue(_name(kind), f"it has no member {key!r}")
        return kind.__members__[key]
    if not issubclass(kind, Flag):
        raise UnreadableValue(_name(kind), "it is not a Flag any more")
    return kind(key)


def _dataclass_fields(value: Any) -> dict[str, object]:
    kind = type(value)
    names = [field.name for field in fields(value)]
    for name in getattr(value, "__dict__", {}).keys() - set(names):
        # Both come back by themselves: typing sets __orig_class__, the other is computed anew.
        if name != "__orig_class__" and not isinstance(getattr(kind, name, None), cached_property):
            raise UnstorableValue(
                "",
                f"the attribute {name!r} of {kind.__qualname__}",
                "Declare it: field(init=False, repr=False, compare=False).",
            )
    try:
        object.__new__(kind)
    except TypeError as error:
        # A dataclass that is also a dict, an exception and so on: more than its fields.
        raise UnstorableValue("", kind.__qualname__, "Derive it from no built-in class.") from error
    return _set_attributes(value, names)


def _restore_dataclass(kind: Any, stored: dict[str, object]) -> object:
    known = {field.name: field for field in fields(kind)}
    _refuse_unknown(kind, stored, known)
    instance = object.__new__(kind)
    for name, field in known.items():
        if name in stored:
            value = stored[name]
        elif field.default is not MISSING:
            value = field.default
        elif field.default_factory is not MISSING:
            value = field.default_factory()
        elif field.init:
            raise _missing(kind, name)
        else:
            continue  # A field outside __init__ may never have been set.
        object.__setattr__(instance, name, value)  # The class's own refuses if it is frozen.
    return instance


def _is_model(kind: type) -> bool:
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(kind, pydantic.BaseModel)


def _model_parts(model: Any) -> dict[str, object]:
    """What pydantic's own ``__getstate__`` gives, without what is empty or as usual."""
    state = sys.modules["pydantic"].BaseModel.__getstate__(model)
    names = type(model).model_fields
    values = {name: value for name, value in state["__dict__"].items() if name in names}
    parts: dict[str, object] = {"value": values}
    if state["__pydantic_extra__"]:
        parts["extra"] = state["__pydantic_extra__"]
    if state["__pydantic_private__"]:
        parts["private"] = state["__pydantic_private__"]
    if state["__pydantic_fields_set__"] != names.keys():
        parts["fields_set"] = sorted(state["__pydantic_fields_set__"])
    return parts


def _restore_model(
    kind: Any,
    stored: dict[str, object],
    extra: dict[str, object] | None = None,
    private: dict[str, object] | None = None,
    fields_set: list[str] | None = None,
) -> object:
    _refuse_unknown(kind, stored, kind.model_fields)
    values = {}
    for name, field in kind.model_fields.items():
        if name in stored:
            values[name] = stored[name]
        elif field.is_required():
            raise _missing(kind, name)
        else:
            values[name] = field.get_default(call_default_factory=True)
    # pydantic tells an empty dict, where something may be set, from None, where nothing may.
    state = {
        "__dict__": values,
        "__pydantic_extra__": extra or ({} if kind.model_config.get("extra") == "allow" else None),
        "__pydantic_private__": private or ({} if kind.__private_attributes__ else None),
        "__pydantic_fields_set__": set(stored if fields_set is None else fields_set),
    }
    model = kind.__new__(kind)
    sys.modules["pydantic"].BaseModel.__setstate__(model, state)
    return model


def _is_struct(kind: Any) -> bool:
    msgspec = sys.modules.get("msgspec")
    return msgspec is not None and issubclass(kind, msgspec.Struct)


def _restore_struct(kind: Any, stored: dict[str, object]) -> object:
    # msgspec offers no way around __post_init__, so what it changes is put right afterwards.
    struct = kind(**stored)
    for name, value in stored.items():
        sys.modules["msgspec"].structs.force_setattr(struct, name, value)
    return struct


def _set_attributes(value: object, names: Iterable[str]) -> dict[str, object]:
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _refuse_unknown(kind: type, stored: dict[str, object], known: Iterable[str]) -> None:
    unknown = sorted(stored.keys() - set(known))
    if unknown:
        raise UnreadableValue(_name(kind), f"it has no field {', '.join(unknown)} any more")


def _missing(kind: type, name: str) -> UnreadableValue:
    return UnreadableValue(_name(kind), f"its field {name} was not stored and has no default")


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"
