"""What the codec promises: every supported value comes back equal and of the same type."""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import json
import math
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, Generic, TypeVar
from zoneinfo import ZoneInfo

import pytest

from durably.codec import MAX_DEPTH, decode, encode
from durably.errors import UnreadableValue, UnstorableValue
from durably.failure import TEXT_LIMIT, describe_error

T = TypeVar("T")


class Color(enum.Enum):
    RED = "r"
    GREEN = ("a", "tuple")
    CRIMSON = "r"  # noqa: PIE796 - an alias is the point


class Size(enum.IntEnum):
    SMALL = 1


class Mood(enum.StrEnum):
    GOOD = "good"


class Access(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Bits(enum.IntFlag, boundary=enum.KEEP):
    ONE = 1


@dataclass
class Point:
    x: float
    y: float = 0.0


@dataclass(frozen=True, slots=True)
class Line:
    ends: tuple[Point, ...]
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Coordinate:
    x: int
    y: int


@dataclass
class Counted:
    """Would count once more, and refuse, if it were restored through its constructor."""

    made: list[int]
    count: int = field(init=False)
    never_set: int = field(init=False)

    def __post_init__(self) -> None:
        if self.made:
            raise ValueError("made twice")
        self.made.append(1)
        self.count = len(self.made)

    @functools.cached_property
    def doubled(self) -> int:
        return self.count * 2


@dataclass
class Box(Generic[T]):
    content: T

    class Lid(enum.Enum):
        OPEN = 1


@dataclass
class Node:
    next: Node | None = None


@dataclass
class Careless:
    a: int

    def __post_init__(self) -> None:
        self.undeclared = self.a


@dataclass
class KeyedRows(dict[str, int]):
    a: int = 0


@dataclass
class Prickly:
    a: int

    def __getattribute__(self, name: str) -> Any:
        if name == "a":
            raise LookupError("not today")
        return super().__getattribute__(name)


class Plain:
    """No dataclass, no model: not to be stored."""


class Text(str):
    pass


class NamedPair(collections.namedtuple("NamedPair", "a b")):
    pass


class OddZone(tzinfo):
    def utcoffset(self, moment: datetime | None, /) -> timedelta:
        return timedelta(hours=1)

    def dst(self, moment: datetime | None, /) -> None:
        return None

    def tzname(self, moment: datetime | None, /) -> str:
        return "odd"


PLAIN_VALUES = [
    None, True, False, 0, -1, 2**53 + 1, 10**600, 0.0, -0.0, 1.0, 1e300, 5e-324, "", "text", "\0",
    'quotes " and \\', "日本語 😀", "\u2028", "$type", '{"$type":"set"}', [], {}, [1, "a", None],
    {"a": {"b": [1.5]}}, {"": 1, "odd key": 2},
]  # fmt: skip

TAGGED_VALUES = [
    math.inf, -math.inf, 10**5000, -(10**5000), [1, math.inf], "\ud800", "a\udfffb", "\ud83d\ude00",
    {"\ud83d\ude00": 1}, {"\ud800": "\udc00"}, {1: "a"}, {None: 1, True: 2}, {(1, 2): [3]},
    {"a": 1, 2: "b"}, {"$type": "set", "value": [1]}, {"$type": {"$type": 1}}, {1: {2: {3: ()}}},
    (), (1,), (1, (2, [3])), [(1,), [1]], set(), {1, "a", None}, frozenset(), frozenset({1, (2,)}),
    {frozenset({1})}, b"", b"\0\xff", bytearray(b"ab"), Decimal("1.10"), Decimal("-0"),
    Decimal("1E+999999"), Decimal("Infinity"), uuid.UUID(int=7), date.min, date.max,
    datetime.min, datetime.max, datetime(2026, 11, 22, 10, 0, 0, 1),
    datetime(2026, 1, 1, tzinfo=UTC), time(1, 2, 3, 4), time(1, tzinfo=UTC),
    datetime(2026, 1, 1, tzinfo=timezone(-timedelta(hours=3, seconds=1))),
    timedelta(0), timedelta.min, timedelta.max, timedelta(microseconds=-1),
    Color.RED, Color.GREEN, Size.SMALL, Mood.GOOD, Box.Lid.OPEN, Access.READ, Access(0),
    Access.READ | Access.WRITE, Bits(1), Bits(5), {Color.RED: Size.SMALL}, {Mood.GOOD},
    Point(1), [Point(1.5, 2)] * 2, Line((Point(1), Point(2)), frozenset({"a"})), Box(Box([b"x"])),
    Box[int](1), {Coordinate(1, 2): Coordinate(3, 4)}, {Coordinate(1, 2)}, Node(Node(Node())),
]  # fmt: skip


def same(a: object, b: object) -> bool:
    """Equal, and of identical types all the way down; tells -0.0 from 0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict) and isinstance(b, dict):
        return same(list(a.items()), list(b.items()))
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (set, frozenset)):
        return a == b and sorted(map(repr, a)) == sorted(map(repr, b))
    return a == b and (isinstance(a, (int, Decimal)) or repr(a) == repr(b))


@pytest.mark.parametrize("value", PLAIN_VALUES, ids=ascii)
def test_a_json_value_is_stored_as_it_is(value: object) -> None:
    text = encode(value)

    assert same(json.loads(text), value)
    assert same(decode(text), value)


@pytest.mark.parametrize("value", TAGGED_VALUES, ids=lambda value: ascii(type(value).__name__))
def test_a_value_comes_back_equal_and_of_the_same_type(value: object) -> None:
    restored = decode(encode(value))

    assert same(restored, value)


@pytest.mark.parametrize("value", PLAIN_VALUES + TAGGED_VALUES, ids=lambda v: type(v).__name__)
def test_a_restored_value_is_stored_as_the_same_text(value: object) -> None:
    text = encode(value)

    assert encode(decode(text)) == text


@pytest.mark.parametrize("value", PLAIN_VALUES + TAGGED_VALUES, ids=lambda v: type(v).__name__)
def test_every_text_is_valid_utf_8(value: object) -> None:
    text = encode({"key": value})

    assert text.encode().decode() == text


def test_nan_comes_back_as_nan() -> None:
    restored = decode(encode([math.nan, 1]))

    assert isinstance(restored, list)
    assert math.isnan(restored[0])


def test_encoding_leaves_the_value_alone() -> None:
    inner = [1, (2,)]
    value = {"a": inner, "b": math.inf}

    encode(value)

    assert value == {"a": inner, "b": math.inf}
    assert inner == [1, (2,)]


def test_the_format_of_a_tag() -> None:
    text = encode({"when": date(2026, 11, 22), "at": Point(1, 2)})

    assert json.loads(text) == {
        "when": {"$type": "date", "value": "2026-11-22"},
        "at": {"$type": f"{__name__}:Point", "value": {"x": 1, "y": 2}},
    }


def test_text_is_not_escaped() -> None:
    assert encode("日本") == '"日本"'


def test_the_fold_of_an_ambiguous_time_is_kept() -> None:
    restored = decode(encode([datetime(2026, 10, 25, 2, 30, fold=1), time(2, 30, fold=1)]))

    assert isinstance(restored, list)
    assert [moment.fold for moment in restored] == [1, 1]


def test_the_name_of_an_offset_is_kept() -> None:
    restored = decode(encode(datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1), "CET"))))

    assert isinstance(restored, datetime)
    assert restored.utcoffset() == timedelta(hours=1)
    assert restored.tzname() == "CET"


@pytest.mark.cpython_only
@pytest.mark.parametrize("fold", [0, 1])
def test_a_zone_is_kept_by_its_key(fold: int) -> None:
    paris = ZoneInfo("Europe/Paris")
    moment = datetime(2026, 10, 25, 2, 30, fold=fold, tzinfo=paris)

    restored = decode(encode(moment))

    assert isinstance(restored, datetime)
    assert restored.tzinfo is paris
    assert restored.replace(tzinfo=None) == moment.replace(tzinfo=None)
    assert restored.fold == fold


@pytest.mark.cpython_only
def test_a_time_of_day_keeps_its_zone() -> None:
    value = time(2, 30, tzinfo=ZoneInfo("Europe/Paris"))

    restored = decode(encode(value))

    assert isinstance(restored, time)
    assert restored.tzinfo is value.tzinfo


def test_a_zone_without_data_is_unreadable() -> None:
    text = '{"$type":"datetime","value":"2026-01-01T00:00:00","zone":"Nowhere/Else"}'

    with pytest.raises(UnreadableValue, match="Nowhere/Else"):
        decode(text)


def test_sets_are_stored_in_the_same_order_by_every_process() -> None:
    values = [{"b", "a", "c"}, {"c", "a", "b"}]

    texts = {encode(value) for value in values}

    assert texts == {'{"$type":"set","value":["a","b","c"]}'}


def test_a_dataclass_is_restored_without_its_constructor() -> None:
    value = Counted([])

    restored = decode(encode(value))

    assert isinstance(restored, Counted)
    assert (restored.made, restored.count) == ([1], 1)
    assert not hasattr(restored, "never_set")


def test_a_cached_property_is_computed_anew() -> None:
    value = Counted([])
    assert value.doubled == 2

    restored = decode(encode(value))

    assert isinstance(restored, Counted)
    assert "doubled" not in vars(restored)
    assert restored.doubled == 2


def test_an_enum_member_is_stored_by_its_name() -> None:
    assert json.loads(encode(Color.CRIMSON))["value"] == "RED"


def test_nesting_up_to_the_limit_is_stored() -> None:
    boxes: object = "leaf"
    pairs: object = "leaf"
    for _ in range(MAX_DEPTH):
        boxes = Box(boxes)
        pairs = {1: pairs}

    restored = [decode(encode(boxes)), decode(encode(pairs))]

    assert restored == [boxes, pairs]


def test_a_dict_that_looks_like_a_tag_is_only_a_dict() -> None:
    value = {"$type": "subprocess:Popen", "value": "ls"}

    restored = decode(encode(value))

    assert restored == value


def unstorable(value: object) -> str:
    with pytest.raises(UnstorableValue) as raised:
        encode(value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Plain(), "$"),
        ({"items": [0, 1, 2, {"when": Plain()}]}, "$.items[3].when"),
        ({"odd key": Plain()}, "$['odd key']"),
        ({"": Plain()}, "$['']"),
        ({3: Plain()}, "$[3]"),
        ({(1, 2): (0, Plain())}, "$[(1, 2)][1]"),
        ({"tags": {Plain()}}, "$.tags[*]"),
        ({"box": Box([Plain()])}, "$.box.content[0]"),
        ([math.nan, Plain()], "$[1]"),
    ],
)
def test_a_refusal_names_the_path(value: object, path: str) -> None:
    message = unstorable(value)

    assert message.startswith(f"{path}: Plain cannot be stored. ")


def test_the_path_begins_with_the_root_that_was_asked_for() -> None:
    with pytest.raises(UnstorableValue) as raised:
        encode([Plain()], root="output")

    assert raised.value.path == "output[0]"


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (collections.OrderedDict(a=1), "Convert it with dict(...)."),
        (collections.defaultdict(list), "Convert it with dict(...)."),
        (collections.Counter("a"), "Convert it with dict(...)."),
        (NamedPair(1, 2), "Convert it with tuple(...)."),
        (Text("a"), "Convert it with str(...)."),
        (range(3), "Convert it with list(...)."),
        (iter([]), "Convert it with list(...)."),
        (Plain, "Store plain values that describe it, or a dataclass."),
        (1j, "Store plain values that describe it, or a dataclass."),
        (datetime(2026, 1, 1, tzinfo=OddZone()), "Use datetime.timezone, or a zoneinfo.ZoneInfo"),
        (time(1, tzinfo=timezone(timedelta(microseconds=1))), "Use an offset of whole seconds."),
        (KeyedRows(1), "Derive it from no built-in class."),
        (Careless(1), "Declare it: field("),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_refusal_says_what_to_do(value: object, advice: str) -> None:
    message = unstorable(value)

    assert f" cannot be stored. {advice}" in message


def test_a_class_inside_a_function_is_refused() -> None:
    @dataclass
    class Local:
        a: int

    message = unstorable([Local(1)])

    assert message.startswith("$[0]: test_a_class_inside")
    assert "module level" in message


def test_a_class_that_its_name_does_not_lead_to_is_refused() -> None:
    impostor = dataclasses.make_dataclass("Point", ["x"])
    impostor.__module__ = __name__

    assert "not to be found" in unstorable(impostor(1))


def test_a_field_that_cannot_be_read_is_refused() -> None:
    assert "LookupError" in unstorable(Prickly(1))


def test_a_circular_reference_is_refused_where_it_closes() -> None:
    node = Node()
    node.next = Node(node)

    assert unstorable({"node": node}).startswith("$.node.next.next: a circular reference cannot")


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 1_000])
def test_nesting_beyond_the_limit_is_refused(depth: int) -> None:
    value: object = 1
    for _ in range(depth):
        value = [value]

    assert unstorable(value).startswith("$[0][0][0][0]: a value nested more than")


def tagged(kind: type, value: object) -> str:
    return json.dumps({"$type": f"{kind.__module__}:{kind.__qualname__}", "value": value})


def test_a_field_that_was_added_gets_its_default() -> None:
    restored = decode(tagged(Point, {"x": 1}))

    assert restored == Point(1, 0.0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON"),
        ("[", "not JSON"),
        ("1 2", "not JSON"),
        ('{"$type":"no such type","value":1}', "does not know the type"),
        ('{"$type":"set"}', "KeyError"),
        ('{"$type":"set","value":1}', "TypeError"),
        ('{"$type":[],"value":1}', "TypeError"),
        ('{"$type":"set","value":[[]]}', "unhashable"),
        ('{"$type":"bytes","value":"?"}', "base64"),
        ('{"$type":"datetime","value":"soon"}', "soon"),
        ('{"$type":"no_such_module:Order","value":{}}', "no_such_module"),
        ('{"$type":"json:Order","value":{}}', "Order"),
        ('{"$type":"json:dumps","value":{}}', "not a class"),
        ('{"$type":"subprocess:Popen","value":"ls"}', "not an Enum"),
        (tagged(Plain, {}), "not an Enum"),
        (tagged(Point, {}), "x was not stored"),
        (tagged(Point, {"x": 1, "z": 2}), "no field z any more"),
        (tagged(Point, 5), "AttributeError"),
        (tagged(Color, "BLUE"), "no member 'BLUE'"),
        (tagged(Color, 1), "not a Flag"),
        (tagged(Access, 64), "ValueError"),
    ],
)
def test_what_no_longer_fits_is_unreadable(text: str, problem: str) -> None:
    with pytest.raises(UnreadableValue, match=problem):
        decode(text)


@pytest.mark.cpython_only
def test_plain_values_import_nothing_else() -> None:
    code = (
        "import sys; from durably.codec import decode, encode\n"
        "decode(encode({'a': [1.5, (b'',)]}))\n"
        "print({'decimal', 'uuid', 'zoneinfo', 'pydantic'} & sys.modules.keys())"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


class MutedError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class WordyError(Exception):
    def __str__(self) -> str:
        return Text("said by a subclass of str")


def test_an_error_is_described_by_its_type_message_and_traceback() -> None:
    described = describe_error(raised(KeyError("a")), "fetch")

    assert (described.type, described.message, described.step) == ("KeyError", "'a'", "fetch")
    assert described.traceback.rstrip().endswith("KeyError: 'a'")
    assert "in raised" in described.traceback


def test_the_type_of_an_error_names_its_module() -> None:
    assert describe_error(MutedError()).type == f"{__name__}.MutedError"


def test_an_error_that_cannot_be_read_is_described_all_the_same() -> None:
    assert describe_error(raised(MutedError())).message == "(its message could not be read)"


@pytest.mark.parametrize("message", ["\ud800", "\0", Text("a")])
def test_every_text_of_an_error_can_be_stored(message: str) -> None:
    described = describe_error(raised(ValueError(message)))

    assert described.message.encode()
    assert described.traceback.encode()


def test_a_message_of_another_class_becomes_a_str() -> None:
    assert type(describe_error(WordyError()).message) is str


def test_a_long_error_keeps_the_beginning_of_its_message_and_the_end_of_its_traceback() -> None:
    described = describe_error(raised(ValueError("begin" + "x" * 100_000 + "end")))

    assert len(described.message) == len(described.traceback) == TEXT_LIMIT
    assert described.message.startswith("begin")
    assert described.traceback.rstrip().endswith("end")
