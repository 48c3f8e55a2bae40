"""What a job function has to look like: what ``@job`` checks at once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Callable
    from inspect import Signature


def check_job_function(function: object) -> None:
    """Raise InvalidOption unless ``function`` can be a job.

    It has to be an ``async def`` function whose first parameter is the step, and whose other
    parameters all have a name that an argument can be stored under.
    """
    import inspect

    name = getattr(function, "__qualname__", function)
    if not inspect.isfunction(function) or not inspect.iscoroutinefunction(function):
        raise InvalidOption("job function", name, "a function defined with `async def`")
    parameters = list(signature_of(function).parameters.values())
    by_position, by_name = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.KEYWORD_ONLY
    by_both = inspect.Parameter.POSITIONAL_OR_KEYWORD
    if not parameters or parameters[0].kind not in (by_position, by_both):
        raise InvalidOption("job function", name, "one whose first parameter is the step")
    for parameter in parameters[1:]:
        if parameter.kind not in (by_both, by_name):
            wanted = f"one without `{parameter}`: arguments are stored by name"
            raise InvalidOption("job function", name, wanted)


def signature_of(function: Callable[..., object]) -> Signature:
    import inspect

    if sys.version_info >= (3, 14):
        # Annotations are evaluated only when asked for, and the names in them may not exist then:
        # those imported under TYPE_CHECKING.
        from annotationlib import Format

        return inspect.signature(function, annotation_format=Format.FORWARDREF)
    return inspect.signature(function)
