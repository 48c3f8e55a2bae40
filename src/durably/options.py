"""The options of a Durably, and what else a caller gives, checked."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Literal, get_args

from .clock import seconds
from .codec import encode, is_text
from .errors import InvalidOption, UnstorableValue
from .model import Durability
from .records import record

OnHidden = Literal["continue", "pause"]

MOST = 2**63 - 1
"""The largest integer that SQLite has."""


@record
class Options:
    """The checked options of a Durably. Durations are seconds."""

    heartbeat_interval: float
    stale_threshold: float
    max_concurrent_runs: int
    max_interruptions: int
    on_hidden: OnHidden
    durability: Durability
    stop_timeout: float
    preserve_steps: bool
    persist_logs: bool
    retain: float | None


def check_options(
    *,
    heartbeat_interval: float | timedelta,
    stale_threshold: float | timedelta,
    max_concurrent_runs: int,
    max_interruptions: int,
    on_hidden: OnHidden,
    durability: Durability,
    stop_timeout: float | timedelta,
    preserve_steps: bool,
    persist_logs: bool,
    retain: float | timedelta | None,
) -> Options:
    """The options, with durations in seconds. Raises InvalidOption for what cannot work."""
    interval = seconds(heartbeat_interval, "heartbeat_interval")
    threshold = seconds(stale_threshold, "stale_threshold")
    if threshold <= interval:
        raise InvalidOption("stale_threshold", threshold, f"longer than the interval, {interval} s")
    for option, number in (
        ("max_concurrent_runs", max_concurrent_runs),
        ("max_interruptions", max_interruptions),
    ):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise InvalidOption(option, number, "a whole number of at least 1")
    for option, answer in (("preserve_steps", preserve_steps), ("persist_logs", persist_logs)):
        check_flag(option, answer)
    if on_hidden not in get_args(OnHidden):
        raise InvalidOption("on_hidden", on_hidden, '"continue" or "pause"')
    check_durability(durability)
    return Options(
        interval,
        threshold,
        max_concurrent_runs,
        max_interruptions,
        on_hidden,
        durability,
        seconds(stop_timeout, "stop_timeout"),
        preserve_steps,
        persist_logs,
        None if retain is None else seconds(retain, "retain"),
    )


def check_count(option: str, number: object) -> None:
    """Raise InvalidOption unless ``number`` counts something."""
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= MOST:
        raise InvalidOption(option, number, f"a whole number from 0 to {MOST}")


def check_flag(option: str, answer: object) -> None:
    """Raise InvalidOption unless ``answer`` is yes or no."""
    if not isinstance(answer, bool):
        raise InvalidOption(option, answer, "True or False")


def check_text(option: str, value: object) -> None:
    """Raise InvalidOption unless ``value`` is text that can be stored, and something to find by."""
    if not is_text(value) or not value:
        raise InvalidOption(option, value, "a string that is not empty")


def check_durability(durability: Durability) -> None:
    """Raise InvalidOption unless a step's result can be acknowledged at this level."""
    if durability not in ("relaxed", "strict"):
        raise InvalidOption("durability", durability, '"relaxed" or "strict"')


def metadata_text(metadata: object) -> str:
    """``metadata`` as it is stored. Raises InvalidOption for what is no JSON object."""
    wanted = "a JSON object: a dict with text as keys, of dicts, lists, texts, numbers and None"
    try:
        encode(metadata)  # Not too deep and not circular, then.
        plain = json.loads(json.dumps(metadata, allow_nan=False))
    except (TypeError, ValueError, UnstorableValue) as error:
        raise InvalidOption("metadata", metadata, f"{wanted} ({error})") from error
    if not isinstance(plain, dict) or plain != metadata:
        raise InvalidOption("metadata", metadata, wanted)
    return encode(plain)
