"""What the tests inside a browser share: ``outside.js``, and what it shows of a database."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from js import Object
from pyodide.code import run_js
from pyodide.ffi import create_proxy, to_js

import durably.browser.mirror
import durably.browser.tabs
import durably.browser.visibility

PAGE_BYTES = 4096
KINDS = {1: "open", 2: "commit", 3: "seal"}

Key = tuple[int, ...]

_loaded: dict[str, Any] = {}


async def outside() -> Any:
    """The exports of ``outside.js``."""
    return await module("outside.js")


async def module(file: str) -> Any:
    """The exports of a JavaScript file of this folder."""
    if file not in _loaded:
        text = Path(__file__).with_name(file).read_text(encoding="utf-8")
        load = run_js(
            """(text) => import(
              URL.createObjectURL(new Blob([text], { type: "text/javascript" }))
            )"""
        )
        _loaded[file] = await load(text)
    return _loaded[file]


def js_object(**fields: object) -> Any:
    return to_js(fields, dict_converter=Object.fromEntries)


class Proxies:
    """The proxies that the library makes from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._made: list[tuple[object, Any]] = []
        for module in (durably.browser.mirror, durably.browser.tabs, durably.browser.visibility):
            monkeypatch.setattr(module, "create_proxy", self._create)

    def _create(self, target: object) -> Any:
        proxy = create_proxy(target)
        self._made.append((target, proxy))
        return proxy

    def alive(self) -> list[object]:
        """What was given to JavaScript, and never taken back."""
        return [target for target, proxy in self._made if _loaded["outside.js"].isAlive(proxy)]


@dataclass(frozen=True, slots=True)
class Record:
    """A record of the log, read by its description in mirror.js."""

    epoch: int
    seq: int
    kind: Literal["open", "commit", "seal"]
    page_count: int
    page_numbers: tuple[int, ...]
    chunks: int
    behind: Key
    """Of a record with chunks: they hold at least everything up to this position."""
    size_bytes: int

    @property
    def position(self) -> Key:
        return self.epoch, self.seq

    @classmethod
    def read(cls, key: Key, value: bytes) -> Record:
        magic, version, kind = struct.unpack_from("<IHB", value, 0)
        epoch, seq = struct.unpack_from("<II", value, 40)
        page_bytes, page_count, pages, chunks = struct.unpack_from("<IIII", value, 52)
        assert (magic, version, page_bytes) == (0x4C525544, 2, PAGE_BYTES)
        assert (epoch, seq) == key
        behind = struct.unpack_from("<II", value, 68)
        numbers = struct.unpack_from(f"<{2 * pages}I", value, 88)[::2]
        return cls(epoch, seq, KINDS[kind], page_count, numbers, chunks, behind, len(value))


@dataclass(frozen=True, slots=True)
class Stored:
    """Everything that IndexedDB holds of one database."""

    log: dict[Key, bytes]
    chunks: dict[Key, bytes]

    @classmethod
    async def look(cls, name: str) -> Stored:
        answer = await (await outside()).stored(name)
        stores = [{tuple(key): bytes(value) for key, value in store} for store in answer.to_py()]
        return cls(*stores)

    @property
    def manifest(self) -> Record | None:
        """The newest record that names chunks."""
        return next((record for record in reversed(self.records) if record.chunks), None)

    @property
    def records(self) -> list[Record]:
        return [Record.read(key, value) for key, value in self.log.items()]
