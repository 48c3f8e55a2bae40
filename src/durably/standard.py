"""Values of Python's own types: taken apart to be stored, put together when read."""

from __future__ import annotations

import sys
from binascii import a2b_base64, b2a_base64
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any

from .errors import UnstorableValue

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal
    from uuid import UUID

LONG_INT_BITS = 2048
"""Longer integers are written in hexadecimal: Python limits the digits that it converts from
decimal, at the least to 640 digits (``sys.set_int_max_str_digits``)."""


def escaped(text: str) -> dict[str, object] | None:
    """Half a surrogate pair is no UTF-8; and two halves would come back from JSON as one."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return {"value": text.encode("unicode_escape").decode()}
    return None


def _long_int(value: int) -> dict[str, object] | None:
    return {"value": hex(value)} if value.bit_length() > LONG_INT_BITS else None


def _not_finite(value: float) -> dict[str, object] | None:
    return None if isfinite(value) else {"value": repr(value)}


def _base64(value: bytes | bytearray) -> dict[str, object]:
    return {"value": b2a_base64(value, newline=False).decode()}


def _moment(value: datetime | time) -> dict[str, object]:
    parts: dict[str, object] = {"value": value.isoformat()}
    if value.fold:
        parts["fold"] = value.fold
    zone: Any = value.tzinfo
    if zone is None or zone is UTC:
        return parts
    # What pydantic parses has an offset of its own class; it comes back as Python's, and equal.
    if type(zone) is timezone or type(zone).__module__.startswith("pydantic_core"):
        # ``astimezone()`` names its offset ("CET"), which no ISO format keeps.
        name, offset = zone.tzname(None), zone.utcoffset(None)
        if offset.microseconds:
            # ``fromisoformat`` takes some of these for UTC (seen in Python 3.11 to 3.14).
            raise UnstorableValue("", f"the time zone {name}", "Use an offset of whole seconds.")
        if name != timezone(offset).tzname(None):
            parts["zone_name"] = name
    else:
        zoneinfo = sys.modules.get("zoneinfo")
        if zoneinfo is None or type(zone) is not zoneinfo.ZoneInfo or zone.key is None:
            advice = "Use datetime.timezone, or a zoneinfo.ZoneInfo with a key."
            raise UnstorableValue("", f"the time zone {type(zone).__qualname__}", advice)
        parts["zone"] = zone.key
    return parts


def _read_moment(
    read: Callable[[str], datetime | time],
    value: str,
    fold: int = 0,
    zone: str | None = None,
    zone_name: str | None = None,
) -> datetime | time:
    moment = read(value)
    if zone is not None:
        # The wall clock counts, not the offset: rules of a zone change, appointments do not.
        from zoneinfo import ZoneInfo

        moment = moment.replace(tzinfo=ZoneInfo(zone))
    elif zone_name is not None:
        offset = moment.utcoffset()
        assert offset is not None
        moment = moment.replace(tzinfo=timezone(offset, zone_name))
    return moment.replace(fold=fold)


def _read_decimal(value: str) -> Decimal:
    from decimal import Decimal

    return Decimal(value)


def _read_uuid(value: str) -> UUID:
    from uuid import UUID

    return UUID(value)


def _text_of(value: object) -> dict[str, object]:
    return {"value": str(value)}


PARTS: dict[tuple[str, str], Callable[[Any], dict[str, object] | None]] = {
    ("builtins", "str"): escaped,
    ("builtins", "int"): _long_int,
    ("builtins", "float"): _not_finite,
    ("builtins", "tuple"): lambda value: {"value": list(value)},
    ("builtins", "bytes"): _base64,
    ("builtins", "bytearray"): _base64,
    ("datetime", "datetime"): _moment,
    ("datetime", "date"): lambda value: {"value": value.isoformat()},
    ("datetime", "time"): _moment,
    ("datetime", "timedelta"): lambda value: {
        "value": [value.days, value.seconds, value.microseconds]
    },
    ("decimal", "Decimal"): _text_of,
    ("uuid", "UUID"): _text_of,
}
"""How a value is taken apart, by the module and name of its exact type. None: it needs no tag."""

RESTORE: dict[str, Callable[..., object]] = {
    "str": lambda value: value.encode().decode("unicode_escape"),
    "int": lambda value: int(value, 16),
    "float": float,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
    "bytes": partial(a2b_base64, strict_mode=True),
    "bytearray": lambda value: bytearray(a2b_base64(value, strict_mode=True)),
    "datetime": partial(_read_moment, datetime.fromisoformat),
    "date": date.fromisoformat,
    "time": partial(_read_moment, time.fromisoformat),
    "timedelta": lambda value: timedelta(*value),
    "Decimal": _read_decimal,
    "UUID": _read_uuid,
}
"""How a value is put together, by its tag."""
