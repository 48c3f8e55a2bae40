"""Models and structs that the codec's tests store."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import pydantic


class Item(pydantic.BaseModel):
    name: str
    price: float = 1.0


class Special(Item):
    discount: tuple[int, ...]


class Order(pydantic.BaseModel):
    # The declared type says less than the value: a dump through the field would lose it.
    items: list[Item]
    note: Any = None
    _seen: int = pydantic.PrivateAttr(default=0)

    @pydantic.field_validator("items")
    @classmethod
    def _reverse(cls, items: list[Item]) -> list[Item]:
        return items[::-1]


class Dated(pydantic.BaseModel):
    at: datetime


class Open(pydantic.BaseModel, extra="allow"):
    a: int = 0


class Frozen(pydantic.BaseModel, frozen=True):
    a: int = pydantic.Field(alias="A")


class Numbers(pydantic.RootModel[list[int]]):
    pass


class Struct(msgspec.Struct):
    a: Any
    b: int = 2


class FrozenStruct(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    a: tuple[int, ...]


class Doubling(msgspec.Struct):
    a: int

    def __post_init__(self) -> None:
        self.a *= 2


EXAMPLES: dict[str, object] = {
    "model": Item(name="a"),
    "nested models": Order(items=[Special(name="b", discount=(1,))], note={(1,): b"a"}),
    "open model": Open.model_validate({"a": 1, "$type": "x", "more": (1,)}),
    "open model without more": Open(),
    "frozen model": Frozen(A=1),
    "root model": Numbers([1]),
    "struct": Struct((1,)),
    "frozen struct": FrozenStruct(a=(1, 2)),
    "struct that derives": Doubling(1),
    "model in a struct": Struct(Item(name="a")),
}
