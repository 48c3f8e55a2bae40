"""Jobs: registered async functions, and calls of them that are not made yet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Concatenate, Generic, ParamSpec, TypeVar, overload

from .codec import encode, is_text
from .errors import InvalidArguments, InvalidOption, UnstorableValue
from .model import Coalesce
from .records import record
from .signatures import check_job_function

if TYPE_CHECKING:
    from .annotations import JobAnnotations
    from .step import Step

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


@record
class Call(Generic[R_co]):
    """A job bound to its arguments: checked and ready to be stored, but not run.

    ``input`` is what will be stored: the given arguments by name, as the codec writes them.
    """

    job: str
    arguments: dict[str, object]
    input: str


@record
class Trigger(Generic[R_co]):
    """A call of a job, with what is to be said about its run; one item of ``trigger_many``."""

    call: Call[R_co]
    idempotency_key: str | None = None
    idempotency_ttl: float | timedelta | None = None
    concurrency_key: str | None = None
    coalesce: Coalesce | None = None
    labels: Mapping[str, object] | None = None


class Job(Generic[P, R_co]):
    """An async function that can be triggered. Calling it binds arguments and runs nothing."""

    def __init__(
        self, function: Callable[Concatenate[Step, P], Awaitable[R_co]], name: str | None = None
    ) -> None:
        check_job_function(function)
        self.function = function
        self.name = function.__name__ if name is None else name
        self.__doc__ = function.__doc__

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Call[R_co]:
        """Bind the arguments.

        Raises InvalidArguments where they do not fit the signature or its annotations, or cannot
        be stored. Nothing is stored by calling.
        """
        arguments = self._annotations.bind(args, kwargs)
        try:
            return Call(self.name, arguments, encode(arguments))
        except UnstorableValue as error:
            raise InvalidArguments(self.name, str(error)) from error

    def check_output(self, value: object) -> None:
        """Raise OutputMismatch unless ``value`` is what the function says that it returns.

        Anything is, where the function has no annotation, or one that cannot be resolved.
        """
        self._annotations.check_output(value)

    @cached_property
    def _annotations(self) -> JobAnnotations:
        from .annotations import JobAnnotations

        return JobAnnotations(self.function, self.name)

    def __repr__(self) -> str:
        return f"<Job {self.name!r}>"


@overload
def job(function: Callable[Concatenate[Step, P], Awaitable[R_co]], /) -> Job[P, R_co]: ...


@overload
def job(
    *, name: str | None = None
) -> Callable[[Callable[Concatenate[Step, P], Awaitable[R_co]]], Job[P, R_co]]: ...


def job(
    function: Callable[Concatenate[Step, P], Awaitable[R_co]] | None = None,
    /,
    *,
    name: str | None = None,
) -> Job[P, R_co] | Callable[[Callable[Concatenate[Step, P], Awaitable[R_co]]], Job[P, R_co]]:
    """Make a job of an async function whose first parameter is its ``Step``.

    The job's name, under which its runs are stored, is the function's, or ``name``. Raises
    InvalidOption where the function cannot be a job.
    """
    if function is not None:
        return Job(function)

    def decorate(function: Callable[Concatenate[Step, P], Awaitable[R_co]]) -> Job[P, R_co]:
        return Job(function, name)

    return decorate


AnyJob = Job[..., object]


def registry(jobs: Iterable[AnyJob]) -> dict[str, AnyJob]:
    """The jobs by name. Raises InvalidOption for what is no job, and for a name used twice."""
    by_name: dict[str, AnyJob] = {}
    for candidate in jobs:
        if not isinstance(candidate, Job):
            raise InvalidOption("jobs", candidate, "functions decorated with @job")
        if not is_text(candidate.name) or not candidate.name or candidate.name in by_name:
            raise InvalidOption("jobs", candidate.name, "jobs with a name of their own")
        by_name[candidate.name] = candidate
    return by_name
