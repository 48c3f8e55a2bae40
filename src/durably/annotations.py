"""What the signature and the annotations of a job's function say about values.

Imported when a job is first called or first returns, not by ``@job``. Annotations are read then
too: names in them may be defined after the function.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .codec import path_to
from .errors import InvalidArguments, OutputMismatch
from .signatures import signature_of

if TYPE_CHECKING:
    from .matching import Matcher

PLAIN = {kind.__name__: kind for kind in (bool, int, float, str, bytes)}


class JobAnnotations:
    """Judges the arguments and the output of one job. Where there is no annotation, all are right.

    A function that was decorated with ``functools.wraps`` is judged by its own signature, as
    ``inspect.signature`` gives it.
    """

    def __init__(self, function: Callable[..., object], job: str) -> None:
        self._job = job
        signature = signature_of(function)
        names = inspect.unwrap(function).__globals__
        _step, *parameters = signature.parameters.values()
        self._signature = signature.replace(parameters=parameters)
        self._hints = {
            parameter.name: _hint(parameter.annotation, names) for parameter in parameters
        }
        self._output = _awaited(_hint(signature.return_annotation, names))

    def bind(self, args: Sequence[object], kwargs: Mapping[str, object]) -> dict[str, object]:
        """The arguments by name, as a call of the job's function would take them.

        ``args`` begins after the step. Defaults are left out: newer code that resumes the run uses
        its own, as any other call of it would.

        Raises InvalidArguments for an argument that is missing, not expected, given twice or of
        another type than its annotation says.
        """
        try:
            arguments = self._signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise InvalidArguments(self._job, str(error)) from None
        for name, value in arguments.items():
            if value is self._signature.parameters[name].default:
                continue  # As in `size: int = None`: to say it aloud is no worse than to leave it.
            problem = self._mismatch(value, self._hints[name], path_to("$", name))
            if problem is not None:
                raise InvalidArguments(self._job, problem)
        return arguments

    def check_output(self, value: object) -> None:
        """Raise OutputMismatch unless ``value`` is what the job's function says that it returns."""
        problem = self._mismatch(value, self._output)
        if problem is not None:
            raise OutputMismatch(self._job, problem)

    @cached_property
    def _matcher(self) -> Matcher:
        from .matching import Matcher

        return Matcher()

    def _mismatch(self, value: object, hint: object, path: str = "$") -> str | None:
        if type(value) is hint and hint in PLAIN.values():
            return None  # Most are, and need no more code than this to be compiled.
        return self._matcher.mismatch(value, hint, path)


def _hint(annotation: object, names: dict[str, object]) -> object:
    if annotation is inspect.Signature.empty:
        return Any  # The same mark stands for a parameter and for a return without annotation.
    if isinstance(annotation, str) and annotation in PLAIN and annotation not in names:
        return PLAIN[annotation]
    from .hints import evaluated

    return evaluated(annotation, names)


def _awaited(annotation: object) -> object:
    """What comes of awaiting it, where it is the annotation of an awaitable.

    The functions that have one are not ``async def`` themselves: they are wrapped in one that is,
    or marked with ``inspect.markcoroutinefunction``.
    """
    if (typing.get_origin(annotation) or annotation) not in (Awaitable, Coroutine):
        return annotation
    args = typing.get_args(annotation)
    return args[-1] if args else Any
