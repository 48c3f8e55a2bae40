"""The ports in a browser tab or a web worker: the only package that imports ``js``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..ports import Environment


async def browser_environment(name: str) -> Environment:
    """The environment of ``name`` in this tab: its IndexedDB database and its Web Lock.

    What it needs is imported here and not above: after the compiled code of an earlier page was
    restored.
    """
    from .pycache import restore

    await restore()
    from .environment import make_environment

    return make_environment(name)
