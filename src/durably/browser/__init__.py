"""The ports in a browser tab or a web worker: the only package that imports ``js``."""

from .environment import browser_environment

__all__ = ["browser_environment"]
