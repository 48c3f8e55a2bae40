"""What a job function has to look like, which arguments it takes and what it may return."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import (
    Awaitable,
    Callable,
    Generator,
)
from typing import (
    TYPE_CHECKING,
    Any,
)

import pytest

from durably.annotations import JobAnnotations
from durably.errors import InvalidArguments, InvalidOption, OutputMismatch
from durably.signatures import check_job_function

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]


async def import_orders(step: object, url: str, batch_size: int = 100, *, dry: bool = False) -> int:
    return batch_size


def bound(*args: object, **kwargs: object) -> dict[str, object]:
    return bind(import_orders, *args, **kwargs)


def bind(function: Callable[..., object], /, *args: object, **kwargs: object) -> dict[str, object]:
    return JobAnnotations(function, function.__name__).bind(args, kwargs)


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

    assert bind(half_known, **values) == values


def test_the_other_annotations_still_count() -> None:
    with pytest.raises(InvalidArguments, match="expected int"):
        bind(half_known, 1, "2", 3, 4)


def test_an_annotation_that_is_evaluated_late_counts_too() -> None:
    """As `half_known`, in a module without the import of annotations from the future."""
    module = types.ModuleType("late")
    unknown = "'Unknown'" if sys.version_info < (3, 14) else "Unknown"
    source = f"async def late(step, a: {unknown}, b: int): ..."
    exec(compile(source, "late.py", "exec", dont_inherit=True), vars(module))

    with pytest.raises(InvalidArguments, match="expected int"):
        bind(module.late, 1, "2")


def test_a_wrapped_function_is_judged_by_its_own_signature() -> None:
    @functools.wraps(import_orders)
    async def wrapped(*args: Any, **kwargs: Any) -> int:
        return await import_orders(*args, **kwargs)

    check_job_function(wrapped)

    with pytest.raises(InvalidArguments, match="expected str"):
        bind(wrapped, 1)


async def untidy(step: object, size: int = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013


def test_a_default_may_be_given_whatever_its_annotation_says() -> None:
    assert bind(untidy, None) == {"size": None}

    with pytest.raises(InvalidArguments, match="expected int"):
        bind(untidy, "a")


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


def check_output(function: Callable[..., object], value: object) -> None:
    JobAnnotations(function, function.__name__).check_output(value)


async def late_knowledge(step: object) -> Unknown: ...


async def unannotated(step):  # type: ignore[no-untyped-def]
    ...


@pytest.mark.parametrize("function", [late_knowledge, unannotated])
def test_any_output_is_right_where_no_annotation_can_be_had(
    function: Callable[..., object],
) -> None:
    check_output(function, object())


def test_an_output_is_judged_by_the_return_annotation() -> None:
    check_output(import_orders, 1)

    with pytest.raises(OutputMismatch) as raised:
        check_output(import_orders, "1")

    assert raised.value.job == "import_orders"
    assert raised.value.problem == "$: expected int, got str ('1')"


def test_what_is_awaited_is_judged_where_an_awaitable_is_annotated() -> None:
    def fetch(step: object) -> Awaitable[int]: ...  # type: ignore[empty-body]

    @functools.wraps(fetch)
    async def wrapped(step: object) -> int:
        return await fetch(step)

    check_output(wrapped, 1)

    with pytest.raises(OutputMismatch, match="expected int"):
        check_output(wrapped, "1")


def test_name_of_a_plain_type_means_what_the_module_has_made_of_it() -> None:
    async def sized(step: object, size: int) -> None: ...

    shadowed = types.FunctionType(sized.__code__, {"int": str}, "shadowed")
    shadowed.__annotations__ = sized.__annotations__

    assert bind(shadowed, "large") == {"size": "large"}
    with pytest.raises(InvalidArguments, match=r"\$\.size"):
        bind(shadowed, 3)
