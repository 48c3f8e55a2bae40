"""Records behave as the frozen, slotted dataclasses that they are declared as."""

import copy
import dataclasses
import pickle

import pytest

from durably import ErrorInfo, Progress
from durably.events import RunTrigger, StepComplete, StepStart


def test_a_record_is_a_dataclass() -> None:
    assert dataclasses.is_dataclass(Progress)
    assert dataclasses.asdict(Progress(1, 2)) == {"current": 1, "total": 2, "message": None}


def test_records_with_equal_values_are_equal_and_have_one_hash() -> None:
    first, second = Progress(1, total=2), Progress(1, 2)

    assert first == second
    assert hash(first) == hash(second)
    assert first != Progress(1, 3)


def test_events_of_different_types_are_never_equal() -> None:
    started = StepStart(run_id="r", job="j", step="s")

    assert started != StepComplete(run_id="r", job="j", step="s")
    assert started == StepStart(run_id="r", job="j", step="s")


@pytest.mark.parametrize("name", ["current", "unknown"])
def test_a_record_cannot_be_changed(name: str) -> None:
    progress = Progress(1)

    with pytest.raises(dataclasses.FrozenInstanceError, match=name):
        setattr(progress, name, 2)
    with pytest.raises(dataclasses.FrozenInstanceError, match="current"):
        del progress.current  # type: ignore[misc]


def test_a_record_has_no_dict() -> None:
    assert not hasattr(Progress(1), "__dict__")
    assert not hasattr(RunTrigger(run_id="r", job="j"), "__dict__")


def test_a_record_shows_its_values() -> None:
    assert repr(Progress(1, 2)) == "Progress(current=1, total=2, message=None)"


@pytest.mark.parametrize("record", [Progress(1, 2), StepStart(run_id="r", job="j", step="s")])
def test_a_record_survives_copying_and_pickling(record: object) -> None:
    assert copy.copy(record) == copy.deepcopy(record) == record
    assert pickle.loads(pickle.dumps(record)) == record


def test_a_record_can_be_replaced() -> None:
    changed = dataclasses.replace(ErrorInfo("ValueError", "no"), step="s")

    assert changed == ErrorInfo("ValueError", "no", step="s")


@pytest.mark.parametrize(
    ("args", "facts", "message"),
    [
        ((), {}, r"Progress.__init__\(\) missing .*'current'"),
        ((1, 2, "text", 4), {}, r"Progress.__init__\(\) takes from 2 to 4"),
        ((1,), {"current": 2}, "multiple values for argument 'current'"),
        ((1,), {"totl": 2}, "unexpected keyword argument 'totl'"),
    ],
)
def test_a_record_that_is_given_the_wrong_values_says_so(
    args: tuple[object, ...], facts: dict[str, object], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        Progress(*args, **facts)  # type: ignore[arg-type]


def test_an_event_takes_its_values_by_name_only() -> None:
    with pytest.raises(TypeError, match=r"RunTrigger.__init__\(\) takes 1 positional"):
        RunTrigger(0, 0, "run", "job")  # type: ignore[misc]
