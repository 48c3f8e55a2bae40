"""Puts the browser's ports together."""

from __future__ import annotations

from ..ports import Environment
from .mirror import IndexedDBMirror
from .tabs import TabChannel, TabLeadership
from .visibility import page_visibility


def make_environment(name: str) -> Environment:
    """The mirror, the Web Lock, the channel and the visibility of ``name`` in this tab."""
    return Environment(
        mirror=_Lives(name),
        leadership=TabLeadership(name),
        visibility=page_visibility(),
        channel=lambda: TabChannel(name),
    )


class _Lives:
    """Makes the mirror of each life. Only the first may find nothing and begin with nothing."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0

    def __call__(self) -> IndexedDBMirror:
        self._count += 1
        return IndexedDBMirror(self._name, may_create=self._count == 1)
