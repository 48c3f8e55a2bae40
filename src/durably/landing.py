"""Waiting for a commit to land."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context

Callback = Callable[["Landing"], object]


class Landing(asyncio.Future[None]):
    """A future whose awaiter goes on at once, and not in a later turn of the event loop.

    A turn takes a tab as long as all the Python of a checkpoint. Asyncio's own future asks its
    loop to call back; this one calls back, unless it is settled by a task: then that has to come
    to its next ``await`` first, since two tasks cannot run at a time.
    """

    _callbacks_here: tuple[tuple[Callback, Context], ...] = ()

    def land(self, error: Exception | None) -> None:
        """Settle it, with ``error`` where there is one. Does nothing where it is done."""
        if self.done():
            return
        if error is None:
            self.set_result(None)
        else:
            self.set_exception(error)
        if asyncio.current_task(self.get_loop()) is not None:
            self._call_back_soon()
            return
        callbacks, self._callbacks_here = self._callbacks_here, ()
        for callback, context in callbacks:
            try:
                context.run(callback, self)
            except BaseException as raised:  # What ends the program goes through the loop.
                self.get_loop().call_soon(_raise, raised)

    def cancel(self, msg: object = None) -> bool:
        is_cancelled = super().cancel(msg)
        self._call_back_soon()
        return is_cancelled

    def add_done_callback(self, callback: Callback, *, context: Context | None = None) -> None:
        # An empty context is false.
        context = copy_context() if context is None else context
        self._callbacks_here += ((callback, context),)
        if self.done():
            self._call_back_soon()

    def remove_done_callback(self, callback: Callback) -> int:
        kept = tuple(entry for entry in self._callbacks_here if entry[0] != callback)
        removed = len(self._callbacks_here) - len(kept)
        self._callbacks_here = kept
        return removed

    def _call_back_soon(self) -> None:
        if self.done():
            callbacks, self._callbacks_here = self._callbacks_here, ()
            for callback, context in callbacks:
                self.get_loop().call_soon(callback, self, context=context)


def _raise(error: BaseException) -> None:
    raise error
