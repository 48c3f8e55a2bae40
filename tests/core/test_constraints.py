"""pydantic's models and msgspec's structs in annotations, and the constraints of both."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pydantic
import pytest
from annotated_types import Gt, Len, Predicate
from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt, StringConstraints

from durably import InvalidArguments, RunFailed, Step, job
from durably.matching import Matcher
from tests.core.kit import Tab, shown

mismatch = Matcher().mismatch

T = TypeVar("T")


class Item(pydantic.BaseModel):
    name: str
    price: PositiveInt = 1


class Special(Item):
    pass


class Page(pydantic.BaseModel, Generic[T]):
    items: list[T]


@pydantic.dataclasses.dataclass
class Converted:
    """Holds something else than it annotates, as validators may have it."""

    text: Annotated[str, AfterValidator(int)]


class Struct(msgspec.Struct):
    size: int
    tags: list[str] = []
    count: Annotated[int, msgspec.Meta(ge=1)] = 1
    note: str | msgspec.UnsetType = msgspec.UNSET
    implicit: int = None  # type: ignore[assignment]


class Ordered(msgspec.Struct, Generic[T], kw_only=True, frozen=True):
    first: T
    second: int = 2


@dataclass
class Order:
    count: PositiveInt
    item: Item


class Row(TypedDict):
    count: Annotated[int, Field(gt=0)]


def even(number: int) -> int:
    if number % 2:
        raise ValueError("an odd number")
    return number


def broken(number: int) -> int:
    raise KeyError(number)


CODE = Annotated[str, StringConstraints(pattern="^[A-Z]+$", max_length=3)]
META = msgspec.Meta

FITS: list[tuple[object, object]] = [
    (Item(name="a"), Item),
    (Special(name="a"), Item),
    (Item.model_construct(name=5), Item),  # Somebody wanted it so.
    (Page[int](items=[1]), Page[int]),
    (Page(items=[1]), Page[int]),
    (Page[int](items=[1]), Page),
    (Page[bool](items=[True]), Page[int]),
    (Converted("1"), Converted),
    ([Item(name="a")], list[Item] | None),
    (Struct(1), Struct),
    (Struct(1, ["a"], 2, "note", None), Struct),  # type: ignore[arg-type]
    (Ordered(first=1), Ordered[int]),
    (Ordered(first="a"), Ordered),
    (Order(1, Item(name="a")), Order),
    ({"count": 1}, Row),
    (1, PositiveInt),
    ([1, 2], list[PositiveInt]),
    (None, Annotated[int | None, Field(gt=0)]),
    ("a", Annotated[int | str, Field(gt=0)]),
    (2, Annotated[float, Gt(1.5)]),
    (True, Annotated[bool, Field(description="no constraint")]),
    ([object()], Annotated[list[Any], Len(1)]),
    ("ABC", CODE),
    ("\ud800", Annotated[str, Field(min_length=1)]),
    (4, Annotated[int, AfterValidator(even)]),
    (4, Annotated[int, AfterValidator(broken)]),
    (["a", "b"], Annotated[list[str], BeforeValidator(lambda text: text.split(","))]),
    (b"text", pydantic.Base64Bytes),
    ([1], pydantic.Json[list[int]]),
    (date(2000, 1, 1), pydantic.PastDate),
    (datetime(2000, 1, 1, tzinfo=UTC), pydantic.AwareDatetime),
    (UUID("c7c985d2-e6eb-41f1-8057-02fc00000001"), pydantic.UUID4),
    (1, Annotated[int, META(gt=0, title="a number")]),
    (2**80, Annotated[int, META(gt=0)]),
    (2**2000, Annotated[float, META(gt=0)]),
    (2, Annotated[float, META(gt=1.5)]),
    (None, Annotated[int | None, META(gt=0)]),
    ("a", Annotated[int | str, META(gt=0)]),
    (True, Annotated[bool, META(description="no constraint")]),
    ({(1, 2): object()}, Annotated[dict[Any, Any], META(min_length=1)]),
    (1, Annotated[int, META(gt=0, extra={"not": "hashable"})]),
]

MISMATCHES: list[tuple[object, object, str]] = [
    ({"name": "a"}, Item, "$: expected Item, got dict ({'name': 'a'})"),
    (Item(name="a"), Special, "$: expected Special, got Item "),
    (Item(name="a"), Page[int], "$: expected Page[int], got Item "),
    (Struct("a"), Struct, "$.size: expected int, got str ('a')"),  # type: ignore[arg-type]
    (Struct(1, ["a", 1]), list[Struct] | Struct, "$.tags[1]: expected str, got int (1)"),  # type: ignore[list-item]
    (Struct(1, count=0), Struct, "$.count: expected `int` >= 1, got int (0)"),
    (Struct(1, note=None), Struct, "$.note: expected str | UnsetType, got None"),  # type: ignore[arg-type]
    (Ordered(first=1, second="a"), Ordered, "$.second: expected int, got str ('a')"),  # type: ignore[arg-type]
    (Ordered(first="a"), Ordered[int], "$.first: expected int, got str ('a')"),
    (Order(0, Item(name="a")), Order, "$.count: input should be greater than 0, got int (0)"),
    ({"count": 0}, Row, "$.count: input should be greater than 0, got int (0)"),
    ("a", PositiveInt, "$: expected int, got str ('a')"),
    (0, PositiveInt, "$: input should be greater than 0, got int (0)"),
    (0, PositiveInt | None, "$: input should be greater than 0, got int (0)"),
    ([1, 0], list[PositiveInt], "$[1]: input should be greater than 0, got int (0)"),
    (0, Annotated[int | None, Field(gt=0)], "$: input should be greater than 0, got int (0)"),
    (0, Annotated[int, Field(alias="n", default=1, gt=0)], "$: input should be greater than 0, "),
    (1, Annotated[float, Gt(1.5)], "$: input should be greater than 1.5, got int (1)"),
    ([], Annotated[list[int], Len(1)], "$: list should have at least 1 item"),
    ("abc", CODE, "$: string should match pattern '^[A-Z]+$', got str ('abc')"),
    ("ABCD", CODE, "$: string should have at most 3 characters, got str ('ABCD')"),
    (3, Annotated[int, AfterValidator(even)], "$: value error, an odd number, got int (3)"),
    (3, Annotated[int, Predicate(lambda number: number > 3)], "$: predicate '"),
    (Decimal("1.234"), Annotated[Decimal, Field(max_digits=3)], "$: decimal input should have "),
    (date(2999, 1, 1), pydantic.PastDate, "$: date should be in the past, got date"),
    ("2000-01-01", pydantic.PastDate, "$: input should be a valid date, got str"),
    (datetime(2000, 1, 1), pydantic.AwareDatetime, "$: input should have timezone info, got"),
    (UUID("c7c985d2-e6eb-11f1-8057-02fc00000001"), pydantic.UUID4, "$: UUID version 4 expected"),
    (0, Annotated[int, META(gt=0)], "$: expected `int` >= 1, got int (0)"),
    (1, Annotated[float, META(gt=1.5)], "$: expected `float` > 1.5, got int (1)"),
    ("", Annotated[str, META(min_length=1)], "$: expected `str` of length >= 1, got str ('')"),
    ([[1], []], list[Annotated[list[int], META(min_length=1)]], "$[1]: expected `array` of len"),
    (0, Annotated[int, META(gt=0, extra={"not": "hashable"})], "$: expected `int` >= 1, got"),
    (0, Annotated[int, META(ge=0), Field(gt=0)], "$: input should be greater than 0, got int (0)"),
]


@pytest.mark.parametrize(("value", "annotation"), FITS, ids=shown)
def test_a_value_that_keeps_the_constraints_or_cannot_be_judged_is_accepted(
    value: object, annotation: object
) -> None:
    assert mismatch(value, annotation) is None


@pytest.mark.parametrize(("value", "annotation", "problem"), MISMATCHES, ids=shown)
def test_a_mismatch_says_where_and_what(value: object, annotation: object, problem: str) -> None:
    found = mismatch(value, annotation)

    assert found is not None
    assert found.startswith(problem)


def test_a_constraint_is_built_once() -> None:
    built = []

    class Counting(pydantic.TypeAdapter[Any]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            built.append(args)
            super().__init__(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pydantic, "TypeAdapter", Counting)
        matcher = Matcher()
        for _ in range(3):
            assert matcher.mismatch([1, 2, 3], list[PositiveInt]) is None

    assert len(built) == 1


@job
async def ship(step: Step, count: PositiveInt) -> Annotated[int, Field(lt=10)]:
    return count


def test_an_argument_that_breaks_a_constraint_is_refused() -> None:
    with pytest.raises(InvalidArguments, match=r"\$\.count: input should be greater than 0, got"):
        ship(0)


async def test_an_output_that_breaks_a_constraint_fails_the_run(tab: Tab) -> None:
    async with tab.durably(ship) as durably:
        handle = await durably.trigger(ship(10))

        with pytest.raises(RunFailed, match=r"\$: input should be less than 10, got int \(10\)"):
            await handle.result()


@pytest.mark.cpython_only
def test_neither_library_is_imported_for_annotations_that_are_not_theirs() -> None:
    code = (
        "import sys\n"
        "from dataclasses import dataclass\n"
        "from typing import Annotated, TypedDict\n"
        "from annotated_types import Gt\n"
        "from durably.matching import Matcher\n"
        "@dataclass\n"
        "class Point:\n"
        "    x: Annotated[int, Gt(0)]\n"
        "class Row(TypedDict):\n"
        "    point: Point | None\n"
        "print(Matcher().mismatch([{'point': Point(0)}], list[Row]))\n"
        "print({'pydantic', 'msgspec'} & sys.modules.keys())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("None\nset()\n", "")
