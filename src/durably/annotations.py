"""Arguments against a signature and its annotations.

What is not understood is accepted: a wrong argument that gets through fails in the job, where it
shows; for a right one that is refused there is no way round.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from reprlib import repr as short_repr
from typing import TYPE_CHECKING, Any

from .codec import SET_MEMBER, path_to
from .errors import InvalidArguments, InvalidOption

if TYPE_CHECKING:
    from inspect import Signature


def mismatch(value: object, annotation: object, path: str = "$") -> str | None:
    """Why ``value`` does not fit ``annotation``, in one line that names the place; None if it fits.

    Values are looked at all the way down, as a strict type checker would: True is no int, but an
    int is a float. A str, an iterator or an instance of a class is not looked into.
    """
    try:
        return _mismatch(value, annotation, path)
    except Exception:
        # A name in an alias or a TypedDict that cannot be resolved; a value that contains itself,
        # which the codec refuses.
        return None


def check_job_function(function: object) -> None:
    """Raise InvalidOption unless ``function`` can be a job.

    It has to be an ``async def`` function whose first parameter is the step, and whose other
    parameters all have a name that an argument can be stored under.
    """
    import inspect

    name = getattr(function, "__qualname__", function)
    if not inspect.isfunction(function) or not inspect.iscoroutinefunction(function):
        raise InvalidOption("job function", name, "a function defined with `async def`")
    parameters = list(_signature(function).parameters.values())
    by_position, by_name = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.KEYWORD_ONLY
    by_both = inspect.Parameter.POSITIONAL_OR_KEYWORD
    if not parameters or parameters[0].kind not in (by_position, by_both):
        raise InvalidOption("job function", name, "one whose first parameter is the step")
    for parameter in parameters[1:]:
        if parameter.kind not in (by_both, by_name):
            wanted = f"one without `{parameter}`: arguments are stored by name"
            raise InvalidOption("job function", name, wanted)


def bind(
    function: Callable[..., object],
    args: Sequence[object],
    kwargs: Mapping[str, object],
    *,
    job: str,
) -> dict[str, object]:
    """The arguments by name, as a call of the job function ``function`` would take them.

    ``args`` begins after the step. Defaults are left out: newer code that resumes the run uses its
    own, as any other call of it would.

    Raises InvalidArguments, which names ``job``, for an argument that is missing, not expected,
    given twice or of another type than its annotation says.
    """
    signature = _signature(function)
    _step, *parameters = signature.parameters.values()
    try:
        arguments = signature.replace(parameters=parameters).bind(*args, **kwargs).arguments
    except TypeError as error:
        raise InvalidArguments(job, str(error)) from None
    for name, value in arguments.items():
        hint = _hint(function, signature.parameters[name].annotation)
        problem = mismatch(value, hint, path_to("$", name))
        if problem is not None:
            raise InvalidArguments(job, problem)
    return arguments


def _signature(function: Callable[..., object]) -> Signature:
    import inspect

    if sys.version_info >= (3, 14):
        # Annotations are evaluated only when asked for, and the names in them may not exist then:
        # those imported under TYPE_CHECKING.
        from annotationlib import Format

        return inspect.signature(function, annotation_format=Format.FORWARDREF)
    return inspect.signature(function)


def _hint(function: Callable[..., object], annotation: object) -> object:
    """``annotation`` with the strings in it evaluated; Any where there is none to be had."""
    import inspect

    def holder() -> None: ...

    if annotation is inspect.Parameter.empty:
        return Any
    # One by one, because get_type_hints gives nothing at all if one name cannot be resolved.
    holder.__annotations__ = {"hint": annotation}
    try:
        names = inspect.unwrap(function).__globals__
        return typing.get_type_hints(holder, names)["hint"]
    except Exception:
        return Any


def _mismatch(value: object, annotation: Any, path: str) -> str | None:
    annotation = _resolved(annotation)
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Union or origin is types.UnionType:
        return _union_mismatch(value, annotation, args, path)
    if origin is typing.Literal:
        fits = any(type(value) is type(choice) and value == choice for choice in args)
        return None if fits else _unexpected(value, annotation, path)
    if typing.is_typeddict(annotation):
        return _typed_dict_mismatch(value, annotation, path)
    if not _is_instance(value, origin or annotation):
        return _unexpected(value, annotation, path)
    if isinstance(value, tuple) and origin is tuple:
        return _tuple_mismatch(value, annotation, args, path)
    return _items_mismatch(value, origin, args, path)


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


_WRAPPINGS = (typing.Annotated, typing.Required, typing.NotRequired)


def _is_instance(value: object, kind: Any) -> bool:
    if kind is Callable:
        return True
    if kind in (int, float, complex) and isinstance(value, bool):
        return False
    if kind is float or kind is complex:
        kind = (int, float, kind)  # The numeric tower of PEP 484.
    try:
        return isinstance(value, kind)
    except Exception:
        return True  # No class: Any, a string that could not be evaluated, a Protocol.


def _union_mismatch(value: object, annotation: Any, args: Any, path: str) -> str | None:
    problems = [_mismatch(value, choice, path) for choice in args]
    if None in problems:
        return None
    # If the value is of the kind of exactly one choice, what is wrong inside says more.
    inner = [problem for problem in problems if problem and not problem.startswith(f"{path}: ")]
    return inner[0] if len(inner) == 1 else _unexpected(value, annotation, path)


def _typed_dict_mismatch(value: object, annotation: Any, path: str) -> str | None:
    if not isinstance(value, dict):
        return _unexpected(value, annotation, path)
    hints = typing.get_type_hints(annotation, include_extras=True)
    for key, hint in hints.items():
        if key in value:
            problem = _mismatch(value[key], hint, path_to(path, key))
            if problem is not None:
                return problem
        # NotRequired in a string (`from __future__ import annotations`) is not in required_keys.
        elif key in annotation.__required_keys__ and typing.get_origin(hint) != typing.NotRequired:
            return f"{path}: the key {key!r} is missing"
    return None


def _tuple_mismatch(value: tuple[object, ...], annotation: Any, args: Any, path: str) -> str | None:
    if args[1:] == (...,):
        args = args[:1] * len(value)
    elif any(_is_unpacked(item) for item in args):
        return None
    if len(args) != len(value):
        return _unexpected(value, annotation, path)
    pairs = enumerate(zip(value, args, strict=True))
    return _first(_mismatch(item, hint, path_to(path, index)) for index, (item, hint) in pairs)


def _is_unpacked(annotation: Any) -> bool:
    unpacked = getattr(annotation, "__unpacked__", False)
    return bool(unpacked) or typing.get_origin(annotation) is typing.Unpack


def _items_mismatch(value: object, origin: Any, args: Any, path: str) -> str | None:
    # Of another generic class nobody knows what its arguments say about its items.
    if getattr(origin, "__module__", None) not in ("builtins", "collections.abc"):
        return None
    if isinstance(value, dict) and len(args) == 2:
        return _first(
            _mismatch(part, hint, path_to(path, key))
            for key, item in value.items()
            for part, hint in ((key, args[0]), (item, args[1]))
        )
    if isinstance(value, list | tuple) and len(args) == 1:
        items = enumerate(value)
        return _first(_mismatch(item, args[0], path_to(path, index)) for index, item in items)
    if isinstance(value, set | frozenset) and len(args) == 1:
        return _first(_mismatch(item, args[0], path_to(path, SET_MEMBER)) for item in value)
    return None


def _first(problems: Iterable[str | None]) -> str | None:
    return next((problem for problem in problems if problem is not None), None)


def _unexpected(value: object, annotation: Any, path: str) -> str:
    got = "None" if value is None else f"{type(value).__qualname__} ({short_repr(value)})"
    return f"{path}: expected {_spelling(annotation)}, got {got}"


def _spelling(annotation: Any) -> str:
    """``annotation`` as a user would write it, in every version of Python."""
    args = typing.get_args(annotation)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return " | ".join(_spelling(choice) for choice in args)
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, type) and not args:
        return annotation.__qualname__
    return repr(annotation).replace("typing.", "")
