"""Which values fit which annotations, and how a mismatch is told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from datetime import date, datetime
from enum import Enum, IntEnum
from typing import (  # noqa: UP035 - the old spellings are tested too
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Final,
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

from durably.matching import Matcher
from tests.core.kit import shown

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]

mismatch = Matcher().mismatch

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


@dataclass(frozen=True, slots=True)
class Line:
    ends: tuple[Point, Point]
    label: Final[str] = ""


@dataclass
class Tree:
    value: int
    children: list[Tree] = field(default_factory=list)


@dataclass
class Box(Generic[T]):
    content: T
    more: list[T] = field(default_factory=list)


@dataclass
class Lists(Box[list[T]], Generic[T]):
    """In which the same T stands for something else than in its base."""


@dataclass
class Labelled(Point):
    label: str


class Twice:
    """A descriptor: what is read is not what it annotates."""

    def __get__(self, instance: object, owner: object) -> int:
        return 2

    def __set__(self, instance: object, value: object) -> None: ...


@dataclass
class Odd:
    known: int
    unknown: Unknown
    twice: Twice = Twice()
    implicit: int = None  # type: ignore[assignment]
    unset: int = field(init=False, repr=False)
    shared: ClassVar[int] = "not a field"  # type: ignore[assignment]


class Pair(TypedDict, Generic[T]):
    left: T
    right: T


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
    (1, Box[int], "$: expected test_matching.Box[int], got int (1)"),
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


@pytest.mark.parametrize(("value", "annotation"), FITS, ids=shown)
def test_a_value_that_fits_or_cannot_be_judged_is_accepted(
    value: object, annotation: object
) -> None:
    assert mismatch(value, annotation) is None


@pytest.mark.parametrize(("value", "annotation", "problem"), MISMATCHES, ids=shown)
def test_a_mismatch_says_where_and_what(value: object, annotation: object, problem: str) -> None:
    found = mismatch(value, annotation)

    assert found is not None
    assert found.replace(f"{__name__}.", "test_matching.").startswith(problem)


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


DATACLASSES: list[tuple[object, object, str | None]] = [
    (Point("a"), Point, "$.x: expected int, got str ('a')"),  # type: ignore[arg-type]
    (Point(True), Point, "$.x: expected int, got bool (True)"),
    (Point("a"), Point | None, "$.x: expected int, got str ('a')"),  # type: ignore[arg-type]
    ([Point(1), Point("a")], list[Point], "$[1].x: expected int, got str ('a')"),  # type: ignore[arg-type]
    ({"a": Point(None)}, dict[str, Point], "$.a.x: expected int, got None"),  # type: ignore[arg-type]
    (Point("a"), object, None),  # type: ignore[arg-type]
    (Labelled(1, 2), Point, "$.label: expected str, got int (2)"),  # type: ignore[arg-type]
    (Line((Point(1), Point("a"))), Line, "$.ends[1].x: expected int, got str ('a')"),  # type: ignore[arg-type]
    (Line((Point(1), Point(2)), 5), Line, "$.label: expected str, got int (5)"),  # type: ignore[arg-type]
    (Line((Point(1), Point(2)), "a"), Line, None),
    (Tree(1, [Tree(2), Tree(3)]), Tree, None),
    (Tree(1, [Tree(2, [Tree("a")])]), Tree, "$.children[0].children[0].value: expected int, "),  # type: ignore[arg-type]
    (Box(1, ["a"]), Box, None),  # type: ignore[list-item]
    (Box(1, [2]), Box[int], None),
    (Box("a"), Box[int], "$.content: expected int, got str ('a')"),
    (Box(1, ["a"]), Box[int], "$.more[0]: expected int, got str ('a')"),  # type: ignore[list-item]
    (Box(Box("a")), Box[Box[int]], "$.content.content: expected int, got str ('a')"),
    (Box("a"), Box[T], None),
    (Box("a"), Box[Bounded], "$.content: expected int, got str ('a')"),  # type: ignore[type-var]
    (Lists([1]), Lists[int], None),
    (Lists([1]), Box[list[int]], None),
    (Odd(1, 2), Odd, None),
    (Odd("a", 2), Odd, "$.known: expected int, got str ('a')"),  # type: ignore[arg-type]
    (Odd(1, 2, implicit="a"), Odd, "$.implicit: expected int, got str ('a')"),  # type: ignore[arg-type]
    ({"left": 1, "right": 2}, Pair[int], None),
    ({"left": 1, "right": "a"}, Pair[int], "$.right: expected int, got str ('a')"),
    ({"left": 1, "right": "a"}, Pair, None),
    ({}, Row | None, "$: the key 'id' is missing"),
]


@pytest.mark.parametrize(("value", "annotation", "problem"), DATACLASSES, ids=shown)
def test_fields_are_looked_into(value: object, annotation: object, problem: str | None) -> None:
    found = mismatch(value, annotation)

    assert (found or "").startswith(problem or "")
    assert (found is None) == (problem is None)


def test_a_field_whose_name_hides_its_type_is_accepted() -> None:
    """`date: date = None` means None, because the class already has its default."""
    names = {"dataclass": dataclass, "date": date}
    source = "@dataclass\nclass Event:\n    date: date = None"
    exec(compile(source, "event.py", "exec", dont_inherit=True), names)
    event: Any = names["Event"]

    assert mismatch(event(date(2026, 1, 1)), event) is None


def test_a_class_that_was_defined_again_is_the_same_class() -> None:
    """As in a notebook, where a cell runs twice and the job's own cell does not."""
    first, second = (make_dataclass("Point", [("x", int)]) for _ in range(2))

    assert mismatch(second(1), first) is None
    assert mismatch([second("a")], list[first]) == "$[0].x: expected int, got str ('a')"  # type: ignore[valid-type]


def test_values_that_contain_each_other_are_accepted() -> None:
    tree = Tree(1)
    tree.children.append(tree)

    assert mismatch(tree, Tree) is None


def test_what_was_learned_of_a_class_judges_the_next_value_too() -> None:
    matcher = Matcher()

    assert matcher.mismatch(Box(1), Box[int]) is None
    assert matcher.mismatch(Box(1), Box[str]) == "$.content: expected str, got int (1)"
    assert matcher.mismatch(Box("a"), Box[int]) == "$.content: expected int, got str ('a')"
