"""Puts the browser's ports together."""

from __future__ import annotations

from ..ports import Environment
from .mirror import IndexedDBMirror
from .tabs import TabChannel, TabLeadership
from .visibility import page_visibility


def make_environment(name: str) -> Environment:
    """The mirror, the Web Lock, the channel and the visibility of ``name`` in this tab."""
    return Environment(
        mirror=lambda: IndexedDBMirror(name),
        leadership=TabLeadership(name),
        visibility=page_visibility(),
        channel=lambda: TabChannel(name),
    )
