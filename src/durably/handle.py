"""RunHandle: what a trigger gives."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from .errors import RunNotFound
from .events import LogWrite
from .model import Disposition, Progress, Run

if TYPE_CHECKING:
    from .app import Durably
    from .store.runs import Creation

R_co = TypeVar("R_co", covariant=True)


class RunHandle(Generic[R_co]):
    """A triggered run: its id, what ``trigger`` did, and a way to its result."""

    def __init__(self, durably: Durably, creation: Creation) -> None:
        self._durably = durably
        self._creation = creation
        self.id: str = creation.run_id
        self.disposition: Disposition = creation.disposition
        """``created``; or ``idempotent`` or ``coalesced`` where a key led to another run."""

    @cached_property
    def run(self) -> Run:
        """The run as it was when ``trigger`` returned; where it was joined, with its own input and
        labels. Raises RunNotFound where the run that had the idempotency key was purged."""
        run = self._creation.run
        if run is None:
            raise RunNotFound(self.id)
        return run

    async def result(
        self,
        timeout: float | timedelta | None = None,
        *,
        on_progress: Callable[[Progress], object] | None = None,
        on_log: Callable[[LogWrite], object] | None = None,
    ) -> R_co:
        """Wait until the run is terminal, and return what its job function returned.

        Raises what ``Durably.wait_for_run`` raises. The result is durable.
        """
        return cast(
            R_co,
            await self._durably.result(self.id, timeout, on_progress=on_progress, on_log=on_log),
        )

    def __repr__(self) -> str:
        return f"<RunHandle {self.id} {self.disposition}>"
