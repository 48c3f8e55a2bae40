"""Exceptions as text. Storing a failure cannot itself fail, whatever was raised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .model import ErrorInfo

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT_LIMIT = 8 * 1024
"""The most characters that are kept of a message (its beginning) and of a traceback (its end)."""


def describe_error(exception: BaseException, step: str | None = None) -> ErrorInfo:
    """``exception`` as it is stored. Never raises, and every text in the result is valid UTF-8.

    ``type`` is the module and qualified name of the class, without the module for built-in ones. A
    message or a traceback that cannot be had, because code of the exception's class raises, is
    replaced by a note that says so.
    """
    return ErrorInfo(
        type=_text(lambda: _type_name(type(exception)), "an exception without a name"),
        message=_text(lambda: str(exception), "(its message could not be read)")[:TEXT_LIMIT],
        traceback=_text(lambda: _traceback(exception), "")[-TEXT_LIMIT:],
        step=step,
    )


def _text(make: Callable[[], str], instead: str) -> str:
    try:
        text = make()
    except Exception:
        text = instead
    # Through ``str``, because an exception's message may be of a subclass with ideas of its own.
    return str.encode(text, "utf-8", "backslashreplace").decode()


def _type_name(kind: type[BaseException]) -> str:
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _traceback(exception: BaseException) -> str:
    import traceback

    return "".join(traceback.format_exception(exception))
