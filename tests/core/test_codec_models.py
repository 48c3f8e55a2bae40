"""pydantic models and msgspec structs in the codec.

The models are imported inside the tests: Pyodide collects this file too, without having pydantic.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from durably.codec import decode, encode
from durably.errors import UnreadableValue, UnstorableValue

pytestmark = pytest.mark.cpython_only

EXAMPLES = [
    "model",
    "nested models",
    "open model",
    "open model without more",
    "frozen model",
    "root model",
    "struct",
    "frozen struct",
    "struct that derives",
    "model in a struct",
]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_model_comes_back_equal_and_of_the_same_type(name: str) -> None:
    from tests.core.models import EXAMPLES

    value = EXAMPLES[name]

    restored = decode(encode(value))

    assert type(restored) is type(value)
    assert restored == value
    assert repr(restored) == repr(value)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_restored_model_is_stored_as_the_same_text(name: str) -> None:
    from tests.core.models import EXAMPLES

    text = encode(EXAMPLES[name])

    assert encode(decode(text)) == text


def test_every_example_is_tested() -> None:
    from tests.core import models

    assert list(models.EXAMPLES) == EXAMPLES


def test_a_model_is_restored_without_its_validators() -> None:
    from tests.core.models import Item, Order

    order = Order(items=[Item(name="first"), Item(name="last")])

    restored = decode(encode(order))

    assert isinstance(restored, Order)
    assert restored.items == order.items


def test_a_model_keeps_which_fields_were_set() -> None:
    from tests.core.models import Item

    restored = decode(encode(Item(name="a")))

    assert isinstance(restored, Item)
    assert restored.model_fields_set == {"name"}


def test_a_model_keeps_its_private_attributes() -> None:
    from tests.core.models import Order

    order = Order(items=[])
    order._seen = 7

    restored = decode(encode(order))

    assert isinstance(restored, Order)
    assert restored._seen == 7


@pytest.mark.parametrize("offset", ["Z", "+02:00", "-03:30"])
def test_a_time_that_pydantic_parsed_keeps_its_offset_and_its_name(offset: str) -> None:
    from tests.core.models import Dated

    value = Dated.model_validate({"at": f"2026-01-01T00:00:00{offset}"})

    restored = decode(encode(value))

    assert isinstance(restored, Dated)
    assert restored == value
    assert restored.at.utcoffset() == value.at.utcoffset()
    assert restored.at.tzname() == value.at.tzname()


def test_a_restored_open_model_takes_more() -> None:
    from tests.core.models import Open

    restored: Any = decode(encode(Open()))

    restored.more = 1

    assert restored.model_extra == {"more": 1}


def test_a_refusal_inside_a_model_names_the_path() -> None:
    from tests.core.models import Order, Struct

    with pytest.raises(UnstorableValue) as raised:
        encode([Struct(Order(items=[], note=[object()]))])

    assert raised.value.path == "$[0].a.note[0]"


@pytest.mark.parametrize("kind", ["Item", "Struct"])
def test_a_field_that_was_added_gets_its_default(kind: str) -> None:
    from tests.core.models import Item, Struct

    expected = {"Item": Item(name="a", price=1.0), "Struct": Struct("a", 2)}[kind]
    first_field = {"Item": "name", "Struct": "a"}[kind]

    restored = decode(_stored(kind, {first_field: "a"}))

    assert restored == expected


@pytest.mark.parametrize("kind", ["Item", "Struct"])
@pytest.mark.parametrize("fields", [{}, {"name": "a", "a": 1, "gone": 1}, 5])
def test_what_no_longer_fits_a_model_is_unreadable(kind: str, fields: object) -> None:
    with pytest.raises(UnreadableValue):
        decode(_stored(kind, fields))


def _stored(kind: str, value: object) -> str:
    return json.dumps({"$type": f"tests.core.models:{kind}", "value": value})
