"""Which of the processes on one database file are alive: each holds a lock on a file of its own.

The system frees the lock when its process ends, however it ends, so whoever gets the lock of an
owner's file has the proof that this owner has ended. No file, no proof.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where nothing is proven and the stale threshold decides.
    fcntl = None  # type: ignore[assignment]

TRIES = 100
"""Tries to make a file of one's own while others clean up around it."""


class OwnerFiles:
    """Leadership where processes share a database file: everyone leads, and holds a locked file.

    ``<folder>/<owner>`` appears with its lock already held, and its name is never used again.
    So nobody can take a file that is being made for one that was left, and removing a file by its
    name cannot hit a newer one.

    The lock is ``flock``: it belongs to the open file, so two Durably objects of one process see
    each other alive. POSIX record locks (``lockf``) belong to the process, which could lock its own
    files, and would let go of them all by closing one. A forked child keeps its parent's lock; then
    nothing is proven while it lives. The lock reaches as far as those of SQLite do.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._owner = ""
        self._descriptor: int | None = None
        """Holds the lock of this owner's file; None where locks prove nothing here."""

    async def acquire(self, owner: str, on_wait: Callable[[], None]) -> None:
        self._owner = owner
        problem = "this place has no locks that prove it"
        try:
            self._descriptor = self._take() if fcntl is not None else None
        except OSError as error:
            problem = str(error)
        if self._descriptor is None:
            # No error: everything works without, and storage that is refused is told elsewhere.
            logging.getLogger("durably").info(
                "The runs of this process would wait for the stale threshold if it died: %s.",
                problem,
            )

    def followed(self, is_followed: bool) -> None:
        """Nobody follows here."""

    def steal(self) -> None:
        """Nobody waits here."""

    def ended(self, owners: Collection[str]) -> Iterator[str]:
        if self._descriptor is None:
            return
        # Every file and not only those of `owners`: one that died idle has left its file, too.
        for name in self._names():
            path = self._folder / name
            try:
                descriptor = None if name == self._owner else _locked(path, os.O_RDWR)
            except OSError:
                continue  # Removed meanwhile, or of another user.
            if descriptor is None:
                continue
            try:
                if _is_at(descriptor, path):
                    yield name
                    with suppress(OSError):
                        path.unlink()
            finally:
                # Held until here: of two that look at the same time one recovers, and where that
                # one is killed meanwhile, the file is still there for the next.
                os.close(descriptor)

    def on_lost(self, callback: Callable[[], None]) -> None:
        pass

    def release(self, *, leaves_runs: bool = False) -> None:
        if self._descriptor is None:
            return
        if not leaves_runs:
            with suppress(OSError):
                (self._folder / self._owner).unlink()
        os.close(self._descriptor)
        self._descriptor = None
        with suppress(OSError):
            self._folder.rmdir()  # Refused while it holds another file.

    def _names(self) -> list[str]:
        try:
            return sorted(path.name for path in self._folder.iterdir())
        except OSError:
            return []

    def _take(self) -> int | None:
        """Make this owner's file, and hold its lock. None where locks prove nothing."""
        for number in range(TRIES):
            # Others clean up: the folder goes with the last owner in it, and the file while its
            # lock is not held yet. So it gets its own name last.
            with suppress(FileExistsError, FileNotFoundError):
                self._folder.mkdir(parents=True, exist_ok=True)
                return self._make(self._folder / f"{self._owner}.{number}")
        return None

    def _make(self, path: Path) -> int | None:
        """Make ``path``, lock it, and give it the name of the owner. None where locks prove
        nothing. Raises FileNotFoundError where somebody who cleans up was quicker.
        """
        descriptor = _locked(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        if descriptor is None:
            raise FileNotFoundError(path)
        try:
            if _excludes(path):
                path.rename(self._folder / self._owner)
                return descriptor
            path.unlink()
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None


def _locked(path: Path, flags: int) -> int | None:
    """A descriptor that holds the lock of a file; None while another one holds it."""
    descriptor = os.open(path, flags, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _excludes(path: Path) -> bool:
    """Whether the lock that is held on a file refuses a second one: some places only pretend."""
    second = _locked(path, os.O_RDWR)
    if second is not None:
        os.close(second)
    return second is None


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether a file is still where it was opened: who had its lock before may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False
