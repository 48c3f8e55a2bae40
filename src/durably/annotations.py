"""What the signature and the annotations of a job's function say about values.

Imported when a job is first called, not by ``@job``. Annotations are read then
too: names in them may be defined after the function.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .codec import path_to
from .errors import InvalidArguments
from .hints import evaluated
from .matching import Matcher
from .signatures import signature_of


class JobAnnotations:
    """Judges the arguments of one job. Where there is no annotation, all are right.

    A function that was decorated with ``functools.wraps`` is judged by its own signature, as
    ``inspect.signature`` gives it.
    """

    def __init__(self, function: Callable[..., object], job: str) -> None:
        self._job = job
        self._matcher = Matcher()
        signature = signature_of(function)
        names = inspect.unwrap(function).__globals__
        _step, *parameters = signature.parameters.values()
        self._signature = signature.replace(parameters=parameters)
        self._hints = {
            parameter.name: _hint(parameter.annotation, names) for parameter in parameters
        }

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
            problem = self._matcher.mismatch(value, self._hints[name], path_to("$", name))
            if problem is not None:
                raise InvalidArguments(self._job, problem)
        return arguments


def _hint(annotation: object, names: dict[str, object]) -> object:
    return Any if annotation is inspect.Parameter.empty else evaluated(annotation, names)
