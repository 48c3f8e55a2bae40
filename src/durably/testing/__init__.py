"""Fakes for tests of programs that use durably, and of durably itself.

Each passes the contract suite of its port. A test drives time with ``FakeClock.advance``, ends a
life of the program by dropping its Durably, and begins the next on the same ``MemoryDisk``.
"""

from __future__ import annotations

from ..clock import Clock
from ..local import LocalChannel
from ..ports import Environment
from .clock import FakeClock, settle
from .disk import PAGE_BYTES, Fault, MemoryDisk, MemoryMirror
from .tabs import EveryoneLeads, FakeLeadership, FakeLock, FakeVisibility

__all__ = [
    "PAGE_BYTES",
    "EveryoneLeads",
    "FakeClock",
    "FakeLeadership",
    "FakeLock",
    "FakeVisibility",
    "Fault",
    "MemoryDisk",
    "MemoryMirror",
    "memory_environment",
    "settle",
]


def memory_environment(
    disk: MemoryDisk | None = None,
    *,
    clock: Clock | None = None,
    lock: FakeLock | None = None,
    visibility: FakeVisibility | None = None,
    proves_death: bool = True,
) -> Environment:
    """An environment of fakes; two with one ``disk`` and ``lock`` are two tabs of one origin.

    With ``proves_death=False`` the runs of a life that was killed wait for the stale threshold.
    """
    storage, shared = disk or MemoryDisk(), lock or FakeLock()
    return Environment(
        mirror=lambda: MemoryMirror("memory", storage),
        leadership=FakeLeadership(shared, proves_death=proves_death),
        visibility=visibility or FakeVisibility(),
        channel=lambda: LocalChannel(f"tabs-{id(shared)}"),
        clock=clock or FakeClock(),
    )
