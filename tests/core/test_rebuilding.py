"""A SQLite file is put together from what is left of a log: all of it, or as far as it goes.

The logs here are made by the description in mirror.js; real ones are in tests/e2e/test_moving.py.
"""

from __future__ import annotations

import base64
import struct
from typing import Any
from zlib import crc32

import pytest

from durably import DamagedExport

pytestmark = pytest.mark.cpython_only  # The wheel for browsers comes without it.

PAGE_BYTES = 4096
BLOCK_BYTES = 128
WHOLE = 0xFFFFFFFF
OPEN, COMMIT, SEAL = 1, 2, 3


def page(letter: str) -> bytes:
    return letter.encode() * PAGE_BYTES


def rebuild(lines: list[dict[str, Any]]) -> tuple[bytes, list[str]]:
    from durably.rebuilding import rebuild  # Pyodide collects this file too, and has none.

    return rebuild(lines)


class Log:
    """What a mirror writes, one record after the other."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.epoch, self.seq, self._checksum = 1, -1, 0
        self.add(OPEN)

    def add(
        self,
        kind: int = COMMIT,
        count: int = 0,
        pages: dict[int, str] | None = None,
        behind: tuple[int, int] = (0, 0),
        chunks: tuple[tuple[int, int, int], ...] = (),
        blocks: int = WHOLE,
    ) -> None:
        """Of each page, those blocks are in the record whose bits are in ``blocks``."""
        self.seq += 1
        pages = pages or {}
        content = struct.pack(
            "<IHBB16s16s10Id",
            *(0x4C525544, 2, kind, 0, b"u" * 16, b"w" * 16, self.epoch, self.seq, self._checksum),
            *(PAGE_BYTES, count, len(pages), len(chunks), *behind, 0, 1.5),
        )
        content += b"".join(struct.pack("<II", number, blocks) for number in pages)
        content += b"".join(struct.pack("<III", *chunk) for chunk in chunks)
        size_bytes = BLOCK_BYTES * blocks.bit_count()
        content += b"".join(page(letter)[:size_bytes] for letter in pages.values())
        self._checksum = crc32(content)
        content += struct.pack("<I", self._checksum)
        self._store("log", [self.epoch, self.seq], content)
        if kind == SEAL:
            self.epoch, self.seq = self.epoch + 1, -1

    def chunk(self, index: int, fold: int, letters: str) -> tuple[int, int, int]:
        """Store a chunk; the answer is its entry in a manifest."""
        content = b"".join(map(page, letters))
        self._store("chunks", [index, self.epoch, fold], content)
        return self.epoch, fold, crc32(content)

    def lose(self, *key: int) -> None:
        self.lines = [line for line in self.lines if line["key"] != list(key)]

    def alter(self, *key: int) -> None:
        (line,) = [line for line in self.lines if line["key"] == list(key)]
        content = bytearray(base64.b64decode(line["bytes"]))
        content[-10] ^= 1
        line["bytes"] = base64.b64encode(content).decode()

    def rebuilt(self) -> tuple[str, list[str]]:
        """The file as the letters of its pages, and what is wrong with it."""
        content, problems = rebuild(self.lines)
        letters = [content[at : at + 1].decode() for at in range(0, len(content), PAGE_BYTES)]
        assert content == b"".join(map(page, letters))
        return "".join(letters), problems

    def _store(self, store: str, key: list[int], content: bytes) -> None:
        line = {"store": store, "key": key, "bytes": base64.b64encode(content).decode()}
        self.lines.append(line)


@pytest.fixture
def log() -> Log:
    """Two lives: in the first "abc" was written, and then b altered; in the second d added."""
    log = Log()
    log.add(count=3, pages={0: "a", 1: "b", 2: "c"})
    log.add(count=3, pages={1: "B"})
    log.add(SEAL, 3)
    log.add(OPEN, 3)
    log.add(count=4, pages={3: "d"})
    return log


@pytest.fixture
def folded() -> Log:
    """Twenty pages, folded into two chunks, then trimmed; one page was altered behind it."""
    log = Log()
    log.add(count=20, pages=dict(enumerate("abcdefghijklmnopqrst")))
    chunks = (log.chunk(0, 1, "abcdefghijklmno"), log.chunk(1, 1, "pqrst"))
    log.add(count=20, pages={0: "A"}, behind=(1, 1), chunks=chunks)
    log.add(count=20, pages={19: "T"})
    log.lose(1, 0)
    log.lose(1, 1)
    return log


def test_whole_log_is_replayed_over_its_seals(log: Log) -> None:
    assert log.rebuilt() == ("aBcd", [])


def test_chunks_are_the_ground_for_what_is_behind_them(folded: Log) -> None:
    assert folded.rebuilt() == ("AbcdefghijklmnopqrsT", [])


@pytest.mark.parametrize(("key", "left"), [((2, 0), "aBc"), ((1, 3), "aBc"), ((1, 2), "abc")])
def test_what_comes_behind_an_altered_record_is_left_out(
    log: Log, key: tuple[int, int], left: str
) -> None:
    log.alter(*key)

    assert log.rebuilt() == (
        left,
        [
            f"record {list(key)}: altered, or of a newer format",
            f"record {key[0]}.{key[1]} is missing; the rest is left out",
        ],
    )


def test_last_record_is_left_out_where_it_was_altered(log: Log) -> None:
    log.alter(2, 1)

    assert log.rebuilt() == ("aBc", ["record [2, 1]: altered, or of a newer format"])


def test_what_comes_behind_a_missing_record_is_left_out(log: Log) -> None:
    log.lose(1, 2)

    assert log.rebuilt() == ("abc", ["record 1.2 is missing; the rest is left out"])


def test_record_that_does_not_follow_from_the_one_before_is_left_out(log: Log) -> None:
    other = Log()
    other.add(count=1, pages={0: "x"})
    other.add(count=1, pages={0: "y"})
    (foreign,) = [line for line in other.lines if line["key"] == [1, 2]]
    log.lines = [foreign if line["key"] == [1, 2] else line for line in log.lines]

    assert log.rebuilt() == ("abc", ["record 1.2 is missing; the rest is left out"])


def test_record_in_a_place_that_is_not_its_own_is_none(log: Log) -> None:
    log.lines[2]["key"] = [1, 7]

    letters, problems = log.rebuilt()

    assert letters == "abc"
    assert problems[0] == "record [1, 7]: altered, or of a newer format"


def test_altered_chunk_is_told_and_used(folded: Log) -> None:
    folded.alter(1, 1, 1)
    content, problems = rebuild(folded.lines)

    assert problems == ["chunk 1 is missing or was altered"]
    assert (len(content), content[:1], content[-1:]) == (20 * PAGE_BYTES, b"A", b"T")


def test_pages_of_a_missing_chunk_are_empty(folded: Log) -> None:
    folded.lose(1, 1, 1)
    content, problems = rebuild(folded.lines)

    assert problems == [
        "chunk 1 is missing or was altered",
        "4 of 20 pages are missing, or parts of them; what is missing is empty now",
    ]
    assert content[15 * PAGE_BYTES : 19 * PAGE_BYTES] == bytes(4 * PAGE_BYTES)
    assert content[-1:] == b"T"


def test_blocks_of_a_page_are_written_over_what_is_there(log: Log) -> None:
    first, last = 1 << 0, 1 << 31
    log.add(count=4, pages={0: "X", 2: "Y"}, blocks=first | last)
    log.add(count=4, pages={2: "Z"}, blocks=last)
    content, problems = rebuild(log.lines)

    assert problems == []
    pages = [content[at : at + PAGE_BYTES] for at in range(0, 4 * PAGE_BYTES, PAGE_BYTES)]
    middle = PAGE_BYTES - 2 * BLOCK_BYTES
    assert pages == [
        b"X" * BLOCK_BYTES + b"a" * middle + b"X" * BLOCK_BYTES,
        page("B"),
        b"Y" * BLOCK_BYTES + b"c" * middle + b"Z" * BLOCK_BYTES,
        page("d"),
    ]


def test_page_of_which_only_blocks_are_left_is_missing(folded: Log) -> None:
    folded.add(count=20, pages={19: "U"}, blocks=1)
    folded.add(count=20, pages={18: "S"}, blocks=1)
    folded.lose(1, 1, 1)
    content, problems = rebuild(folded.lines)

    assert problems[1:] == [
        "4 of 20 pages are missing, or parts of them; what is missing is empty now"
    ]
    assert content[18 * PAGE_BYTES :][:PAGE_BYTES] == b"S" * BLOCK_BYTES + bytes(31 * BLOCK_BYTES)
    assert content[19 * PAGE_BYTES :] == b"U" * BLOCK_BYTES + b"T" * 31 * BLOCK_BYTES


def test_chunks_that_no_manifest_names_are_not_used(folded: Log) -> None:
    folded.chunk(0, 2, "xxxxxxxxxxxxxxx")

    assert folded.rebuilt() == ("AbcdefghijklmnopqrsT", [])


def test_file_that_became_shorter_is_cut(log: Log) -> None:
    log.add(count=2)

    assert log.rebuilt() == ("aB", [])


def test_what_the_browser_could_not_read_is_told_with_its_reason(log: Log) -> None:
    del log.lines[-1]["bytes"]
    log.lines[-1]["unreadable"] = "NotReadableError"

    letters, problems = log.rebuilt()

    assert letters == "aBc"
    assert problems[0] == "record [2, 1]: NotReadableError"


def test_log_without_a_page_is_no_database() -> None:
    with pytest.raises(DamagedExport, match="no page"):
        Log().rebuilt()
