"""The promises of annotations, for whatever annotation Hypothesis can think of.

Hypothesis is imported inside the tests: Pyodide collects this file too, without having it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    Literal,
    NewType,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
    Union,
    get_args,
)
from uuid import UUID

import pytest

from durably.codec import decode, encode
from durably.matching import Matcher

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

pytestmark = pytest.mark.cpython_only

T = TypeVar("T")
UserId = NewType("UserId", int)


class Suit(Enum):
    HEARTS = 1
    SPADES = "two"


@dataclass
class Point:
    x: int
    y: float = 0
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Card:
    suit: Suit
    at: Point | None = None
    more: tuple[Literal["a", 1], ...] = ()


@dataclass
class Box(Generic[T]):
    content: T
    more: list[T] = field(default_factory=list)


class Row(TypedDict):
    id: UserId
    card: NotRequired[Card]


class Partial(TypedDict, total=False):
    rows: list[Row]


class Unfit:
    """What no annotation here is met by."""


def test_a_value_made_from_an_annotation_is_never_refused() -> None:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as some

    @settings(deadline=None, suppress_health_check=list(HealthCheck))
    @given(some.data())
    def check(data: some.DataObject) -> None:
        annotation = data.draw(annotations())
        value = data.draw(some.from_type(annotation))

        assert Matcher().mismatch(value, annotation) is None
        assert Matcher().mismatch(decode(encode(value)), annotation) is None

    check()


def test_a_wrong_part_is_found_wherever_it_is() -> None:
    from hypothesis import HealthCheck, given, settings

    @settings(deadline=None, suppress_health_check=list(HealthCheck))
    @given(spoiled_values())
    def check(spoiled: tuple[Any, object, object, str]) -> None:
        annotation, right, wrong, path = spoiled

        assert Matcher().mismatch(right, annotation) is None
        problem = Matcher().mismatch(wrong, annotation)
        assert problem is not None
        assert problem.startswith(f"{path}: expected int")

    check()


def annotations() -> SearchStrategy[Any]:
    """Annotations of what the codec can store."""
    from hypothesis import strategies as some

    some.register_type_strategy(Box, boxes)
    plain = [int, float, str, bool, bytes, type(None), date, datetime, Decimal, UUID, Suit, UserId]
    made = [Point, Card, Row, Partial, Literal["a", 1, None], Annotated[int, "note"], set[int]]
    generic = [Box[int], Box[Point | None], frozenset[tuple[str, int]], dict[tuple[int, str], str]]
    leaves = some.sampled_from([*plain, *made, *generic])
    return some.recursive(
        leaves,
        lambda inner: some.one_of(
            inner.map(lambda item: list[item]),
            inner.map(lambda item: tuple[item, ...]),
            inner.map(lambda item: dict[str, item]),
            inner.map(lambda item: Optional[item]),  # noqa: UP045 - made from a value
            inner.map(lambda item: Box[item]),
            inner.map(lambda item: Annotated[item, "note"]),
            some.tuples(inner, inner).map(lambda items: tuple[items]),
            some.tuples(inner, inner).map(lambda items: Union[items]),  # noqa: UP007
        ),
        max_leaves=4,
    )


def boxes(kind: Any) -> SearchStrategy[Box[Any]]:
    from hypothesis import strategies as some

    contents = some.from_type(get_args(kind)[0])
    return some.builds(Box, contents, some.lists(contents, max_size=3))


def spoiled_values() -> SearchStrategy[tuple[Any, object, object, str]]:
    """An annotation, a value that fits, the same with a wrong part, and where that is."""
    from hypothesis import strategies as some

    start: tuple[Any, object, object, str] = (int, 1, Unfit(), "")
    wraps = [
        lambda kind, right, wrong, path: (list[kind], [right], [right, wrong], f"[1]{path}"),
        lambda kind, right, wrong, path: (Sequence[kind], (), (wrong,), f"[0]{path}"),
        lambda kind, right, wrong, path: (
            Mapping[str, kind], {"a": right}, {"a": right, "b": wrong}, f".b{path}",
        ),
        lambda kind, right, wrong, path: (
            tuple[str, kind], ("a", right), ("a", wrong), f"[1]{path}",
        ),
        lambda kind, right, wrong, path: (Box[kind], Box(right), Box(wrong), f".content{path}"),
        lambda kind, right, wrong, path: (
            Box[kind], Box(right), Box(right, [wrong]), f".more[0]{path}",
        ),
        lambda kind, right, wrong, path: (Annotated[kind, "note"], right, wrong, path),
    ]  # fmt: skip

    def wrap(chosen: list[Any]) -> tuple[Any, object, object, str]:
        spoiled = start
        for one in chosen:
            spoiled = one(*spoiled)
        annotation, right, wrong, path = spoiled
        return annotation, right, wrong, f"${path}"

    return some.lists(some.sampled_from(wraps), max_size=12).map(wrap)
