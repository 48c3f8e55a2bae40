"""What a job function has to look like, and which arguments it takes."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import (
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum, IntEnum
from typing import (  # noqa: UP035 - the old spellings are tested too
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    List,
    Literal,
    NewType,
    NotRequired,
    Optional,
    Protocol,
    TypedDict,
    TypeVar,
    Union,
)

import pytest

from durably.annotations import bind, check_job_function, mismatch
from durably.errors import InvalidArguments, InvalidOption

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]

T = TypeVar("T")
Bounded = TypeVar("Bounded", bound=int)
UserId = NewType("UserId", int)


class Color(Enum):
    RED = 1


class Size(IntEnum):
    SMALL = 1


@dataclass
class Point:
    x: int


@dataclass
class Box(Generic[T]):
    content: T


class Row(TypedDict):
    id: int
    note: NotRequired[str]


class Partial(TypedDict, total=False):
    id: int


class Named(Protocol):
    name: str


class Strict(type):
    def __instancecheck__(cls, instance: object) -> bool:
        raise RuntimeError("not to be asked")


class Unaskable(metaclass=Strict):
    pass


FITS: list[tuple[object, object]] = [
    (object(), Any), (object(), object), (None, None), (None, type(None)), (1, int),
    (Size.SMALL, int), (1, float), (1.5, float), (1, complex), ("a", str), (True, bool),
    (Color.RED, Color), (Point(1), Point), (Box(1), Box[int]), (datetime(2026, 1, 1), date),
    (1, int | None), (None, int | None), (None, Optional[int]), ("a", Union[int, str]),  # noqa: UP007, UP045
    ([1, 2], list[int]), ([], list[int]), ([1], list), ([1], List[int]), ([1], List),  # noqa: UP006
    ((1, "a"), tuple[int, str]), ((1, 2, 3), tuple[int, ...]), ((), tuple[()]), ((1,), tuple),
    ((1, "a"), tuple[int, *tuple[str, ...]]), ({1}, set[int]), (frozenset("a"), frozenset[str]),
    ({"a": 1}, dict[str, int]), ({"a": [1]}, Mapping[str, Sequence[int]]), ({}, dict),
    ([1], Sequence[int]), ((1,), Iterable[int]), ("abc", Sequence[str]), (iter([1]), Iterable[str]),
    ("a", Literal["a", 1]), (1, Annotated[int, "positive"]), (1, UserId), ("a", T), (1, Bounded),
    ({"id": 1}, Row), ({"id": 1, "note": "a", "more": 1}, Row), ({}, Partial), (1, Annotated[T, 1]),
    ([{"a": (1, None)}], list[dict[str, tuple[int, int | None]]]), (print, Callable[[int], None]),
    (1, "Unknown"), (1, list["Unknown"] | int), (["a"], list["Unknown"]), (1, Named), (1, 5),
    (Unaskable, Unaskable), (int, type[str]), ([1, "a"], list[int | str]), ([1], List["int"]),  # noqa: UP006
]  # fmt: skip

MISMATCHES: list[tuple[object, object, str]] = [
    ("ten", int, "$: expected int, got str ('ten')"),
    (True, int, "$: expected int, got bool (True)"),
    (True, float, "$: expected float, got bool (True)"),
    (1.0, int, "$: expected int, got float (1.0)"),
    (None, int, "$: expected int, got None"),
    (1, None, "$: expected None, got int (1)"),
    ("red", Color, "$: expected Color, got str ('red')"),
    ({"x": 1}, Point, "$: expected Point, got dict ({'x': 1})"),
    (1, Box[int], "$: expected test_annotations.Box[int], got int (1)"),
    (1.5, int | None, "$: expected int | None, got float (1.5)"),
    (1.5, Union[int, str], "$: expected int | str, got float (1.5)"),  # noqa: UP007
    ([1, "a"], list[int] | None, "$[1]: expected int, got str ('a')"),
    ([1, "a"], list[int], "$[1]: expected int, got str ('a')"),
    ((1,), list[int], "$: expected list[int], got tuple ((1,))"),
    ({"a"}, set[int], "$[*]: expected int, got str ('a')"),
    ({"a": "b"}, dict[str, int], "$.a: expected int, got str ('b')"),
    ({1: 2}, dict[str, int], "$[1]: expected str, got int (1)"),
    ({"odd key": {"a": 1.5}}, Mapping[str, Mapping[str, int]], "$['odd key'].a: expected int, "),
    ([[1], ["a"]], Sequence[Sequence[int]], "$[1][0]: expected int, got str ('a')"),
    ((1, 2), tuple[int, str], "$[1]: expected str, got int (2)"),
    ((1,), tuple[int, str], "$: expected tuple[int, str], got tuple ((1,))"),
    ((1, "a"), tuple[int, ...], "$[1]: expected int, got str ('a')"),
    ((1,), tuple[()], "$: expected tuple[()], got tuple ((1,))"),
    ("b", Literal["a", 1], "$: expected Literal['a', 1], got str ('b')"),
    (True, Literal[1], "$: expected Literal[1], got bool (True)"),
    ("a", Annotated[int, "positive"], "$: expected int, got str ('a')"),
    ("a", UserId, "$: expected int, got str ('a')"),
    ("a", Bounded, "$: expected int, got str ('a')"),
    ({}, Row, "$: the key 'id' is missing"),
    ({"id": "a"}, Row, "$.id: expected int, got str ('a')"),
    ({"id": 1, "note": 2}, Row, "$.note: expected str, got int (2)"),
    ([], Row, "$: expected Row, got list ([])"),
    ("x" * 1000, int, "$: expected int, got str ('xxxxxxxxxxxx...xxxxxxxxxxxxx')"),
]


@pytest.mark.parametrize(("value", "annotation"), FITS, ids=ascii)
def test_a_value_that_fits_or_cannot_be_judged_is_accepted(
    value: object, annotation: object
) -> None:
    assert mismatch(value, annotation) is None


@pytest.mark.parametrize(("value", "annotation", "problem"), MISMATCHES, ids=ascii)
def test_a_mismatch_says_where_and_what(value: object, annotation: object, problem: str) -> None:
    found = mismatch(value, annotation)

    assert found is not None
    assert found.replace(f"{__name__}.", "test_annotations.").startswith(problem)


def test_the_path_begins_where_it_is_told_to() -> None:
    assert mismatch(["a"], list[int], "$.sizes") == "$.sizes[0]: expected int, got str ('a')"


def test_an_iterator_is_not_used_up() -> None:
    numbers = iter([1])

    mismatch(numbers, Iterable[str])

    assert list(numbers) == [1]


def test_a_value_that_contains_itself_is_accepted() -> None:
    circular: list[object] = []
    circular.append(circular)

    assert mismatch(circular, _alias("list[Alias]")) is None


def test_an_alias_means_what_it_stands_for() -> None:
    alias = _alias("list[int]")

    assert mismatch([1], alias) is None
    assert mismatch(["a"], alias) == "$[0]: expected int, got str ('a')"


def test_an_alias_that_cannot_be_resolved_is_accepted() -> None:
    assert mismatch([1], _alias("list[Unknown]")) is None


def _alias(text: str) -> object:
    """`type Alias = ...`, or before Python 3.12 something with the same look."""
    names: dict[str, object] = {}
    if sys.version_info >= (3, 12):
        exec(f"type Alias = {text}", names)
        return names["Alias"]

    class TypeAliasType:
        @property
        def __value__(self) -> object:
            return eval(text, names)

    names["Alias"] = TypeAliasType()
    return names["Alias"]


async def import_orders(step: object, url: str, batch_size: int = 100, *, dry: bool = False) -> int:
    return batch_size


def bound(*args: object, **kwargs: object) -> dict[str, object]:
    return bind(import_orders, args, kwargs, job="import_orders")


def test_arguments_are_bound_by_name_and_defaults_are_left_out() -> None:
    assert bound("a.csv", dry=True) == {"url": "a.csv", "dry": True}


@pytest.mark.parametrize(
    ("args", "kwargs", "problem"),
    [
        ((), {}, "missing a required"),
        (("a", 1, True), {}, "too many positional arguments"),
        (("a",), {"batchsize": 1}, "unexpected keyword argument 'batchsize'"),
        (("a",), {"url": "b"}, "multiple values for argument 'url'"),
        (("a",), {"step": 1}, "unexpected keyword argument 'step'"),
        (("a", "ten"), {}, "$.batch_size: expected int, got str ('ten')"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    args: tuple[object, ...], kwargs: dict[str, object], problem: str
) -> None:
    with pytest.raises(InvalidArguments) as raised:
        bound(*args, **kwargs)

    assert raised.value.job == "import_orders"
    assert problem in str(raised.value)


async def half_known(step: object, a: Unknown, b: int, c: list[Unknown], d) -> None:  # type: ignore[no-untyped-def]
    """Names that exist only while types are checked, and a parameter without an annotation."""


def test_an_annotation_that_cannot_be_resolved_accepts_anything() -> None:
    values = {"a": 1, "b": 2, "c": 3, "d": 4}

    assert bind(half_known, (), values, job="half_known") == values


def test_the_other_annotations_still_count() -> None:
    with pytest.raises(InvalidArguments, match="expected int"):
        bind(half_known, (1, "2", 3, 4), {}, job="half_known")


def test_an_annotation_that_is_evaluated_late_counts_too() -> None:
    """As `half_known`, in a module without the import of annotations from the future."""
    module = types.ModuleType("late")
    unknown = "'Unknown'" if sys.version_info < (3, 14) else "Unknown"
    source = f"async def late(step, a: {unknown}, b: int): ..."
    exec(compile(source, "late.py", "exec", dont_inherit=True), vars(module))

    with pytest.raises(InvalidArguments, match="expected int"):
        bind(module.late, (1, "2"), {}, job="late")


def test_a_wrapped_function_is_judged_by_its_own_signature() -> None:
    @functools.wraps(import_orders)
    async def wrapped(*args: Any, **kwargs: Any) -> int:
        return await import_orders(*args, **kwargs)

    check_job_function(wrapped)

    with pytest.raises(InvalidArguments, match="expected str"):
        bind(wrapped, (1,), {}, job="wrapped")


async def only_the_step(step: object, /) -> None: ...


@pytest.mark.parametrize("function", [import_orders, half_known, only_the_step])
def test_an_async_function_that_takes_a_step_can_be_a_job(function: object) -> None:
    check_job_function(function)


def not_async(step: object) -> None: ...


def returns_an_awaitable(step: object) -> Awaitable[None]: ...  # type: ignore[empty-body]


def generator(step: object) -> Generator[int]:  # type: ignore[type-arg, unused-ignore]
    yield 1


async def async_generator(step: object):  # type: ignore[no-untyped-def]
    yield 1


async def no_step() -> None: ...


async def step_by_name(*, step: object) -> None: ...


async def steps(*step: object) -> None: ...


async def any_number(step: object, *urls: str) -> None: ...


async def any_names(step: object, **urls: str) -> None: ...


async def no_name(step: object, url: str, /) -> None: ...


class AsyncCallable:
    async def __call__(self, step: object) -> None: ...


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (not_async, "defined with `async def`"),
        (returns_an_awaitable, "defined with `async def`"),
        (generator, "defined with `async def`"),
        (async_generator, "defined with `async def`"),
        (functools.partial(import_orders, url="a"), "defined with `async def`"),
        (AsyncCallable(), "defined with `async def`"),
        (5, "defined with `async def`"),
        (no_step, "first parameter is the step"),
        (step_by_name, "first parameter is the step"),
        (steps, "first parameter is the step"),
        (any_number, "one without `*urls: "),
        (any_names, "one without `**urls: "),
        (no_name, "one without `url: "),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_cannot_be_a_job_is_refused(function: object, wanted: str) -> None:
    with pytest.raises(InvalidOption) as raised:
        check_job_function(function)

    assert wanted in str(raised.value)
