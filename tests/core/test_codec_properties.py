"""The codec's promise, for whatever value Hypothesis can think of.

Hypothesis is imported inside the tests: Pyodide collects this file too, without having it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta, timezone
from enum import Enum, IntFlag
from typing import TYPE_CHECKING

import pytest

from durably.codec import decode, encode

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

pytestmark = pytest.mark.cpython_only


class Suit(Enum):
    HEARTS = 1
    SPADES = "two"


class Access(IntFlag):
    READ = 1
    WRITE = 2


@dataclass(frozen=True, slots=True)
class Pair:
    left: object
    right: object


def test_a_value_comes_back_equal_and_of_the_same_type() -> None:
    from hypothesis import HealthCheck, given, settings

    # How long it takes to make up values says nothing about the codec.
    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(storable_values())
    def check(value: object) -> None:
        restored = decode(encode(value))

        assert restored == value
        assert shape(restored) == shape(value)

    check()


def test_a_restored_value_is_stored_as_the_same_text() -> None:
    from hypothesis import HealthCheck, given, settings

    # How long it takes to make up values says nothing about the codec.
    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(storable_values())
    def check(value: object) -> None:
        text = encode(value)

        assert encode(decode(text)) == text
        assert text.encode().decode() == text

    check()


def storable_values() -> SearchStrategy[object]:
    from hypothesis import strategies as some

    text = some.text(some.characters(codec=None))
    offsets = some.integers(-86_399, 86_399).map(lambda seconds: timedelta(seconds=seconds))
    zones = some.none() | some.builds(timezone, offsets) | some.builds(timezone, offsets, text)
    keys = (
        some.none()
        | some.booleans()
        | some.integers()
        | some.floats(allow_nan=False)
        | text
        | some.just("$type")
        | some.binary()
        | some.decimals(allow_nan=False)
        | some.uuids()
        | some.datetimes(timezones=zones, allow_imaginary=True)
        | some.times(timezones=zones)
        | some.dates()
        | some.timedeltas()
        | some.sampled_from([*Suit, *Access, Access.READ | Access.WRITE, Access(0)])
    )
    hashable = some.recursive(
        keys,
        lambda part: (
            some.lists(part).map(tuple) | some.frozensets(part) | some.builds(Pair, part, part)
        ),
        max_leaves=5,
    )
    return some.recursive(
        hashable,
        lambda part: (
            some.lists(part)
            | some.dictionaries(hashable, part)
            | some.dictionaries(text, part)
            | some.sets(hashable)
            | some.lists(part).map(tuple)
            | some.builds(Pair, part, part)
        ),
        max_leaves=20,
    )


def shape(value: object) -> object:
    """What equality does not tell: the types all the way down, and the sign of a zero."""
    if isinstance(value, dict):
        return dict, [(shape(key), shape(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [shape(item) for item in value]
    if isinstance(value, set | frozenset):
        return type(value), sorted(repr(shape(item)) for item in value)
    if isinstance(value, Pair):
        return Pair, shape(value.left), shape(value.right)
    return type(value), repr(value)
