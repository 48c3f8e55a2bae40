"""A SQLite file put together from what IndexedDB held of it, however much of that is left.

Reads what ``browser/js/mirror.js`` describes at its top, but where that refuses a database that is
not whole, this goes as far as it can and says what was missing.
"""

from __future__ import annotations

import base64
import struct
from typing import Any
from zlib import crc32

from .export_errors import DamagedExport
from .records import record

MAGIC = 0x4C525544
FORMAT = 2
SEAL = 3
HEADER = struct.Struct("<IHBB16s16s10Id")
PAGE_ENTRY = struct.Struct("<II")
MANIFEST_ENTRY = struct.Struct("<III")
PAGE_BYTES = 4096
BLOCKS = 32
BLOCK_BYTES = PAGE_BYTES // BLOCKS
WHOLE = (1 << BLOCKS) - 1
CHUNK_PAGES = 15

Position = tuple[int, int]


@record
class _Record:
    position: Position
    kind: int
    previous: int
    page_count: int
    pages: list[tuple[int, int]]
    """The number of each page, and which of its blocks changed."""
    blocks: bytes
    manifest: list[tuple[int, int, int]]
    """Epoch, fold and checksum of each chunk."""
    behind: Position
    """Of a record with a manifest: what the chunks hold at least."""
    checksum: int


def rebuild(lines: list[dict[str, Any]]) -> tuple[bytes, list[str]]:
    """The file, and what is wrong with it. Raises DamagedExport where there is no page at all."""
    problems: list[str] = []
    log, chunks = _records(lines, problems), _chunks(lines)
    published = [position for position in sorted(log) if log[position].manifest]
    manifest = log[published[-1]] if published else None
    chain = _chain(log, manifest, problems)
    pages: dict[int, bytearray] = {}
    whole: set[int] = set()
    for index, (epoch, fold, checksum) in enumerate(manifest.manifest if manifest else ()):
        chunk = chunks.get((index, epoch, fold), b"")
        if crc32(chunk) != checksum:
            problems.append(f"chunk {index} is missing or was altered")
        for at in range(0, len(chunk), PAGE_BYTES):
            page = index * CHUNK_PAGES + at // PAGE_BYTES
            pages[page] = bytearray(chunk[at : at + PAGE_BYTES])
            whole.add(page)
    for one in chain:
        _write(one, pages)
        whole |= {page for page, blocks in one.pages if blocks == WHOLE}
    if not pages:
        raise DamagedExport("it holds no page of a database")
    count = chain[-1].page_count if chain else max(pages) + 1
    missing = [page for page in range(count) if page not in whole]
    if missing:
        problems.append(
            f"{len(missing)} of {count} pages are missing, or parts of them; what is missing is "
            "empty now"
        )
    empty = bytes(PAGE_BYTES)
    return b"".join(pages.get(page, empty) for page in range(count)), problems


def _write(one: _Record, pages: dict[int, bytearray]) -> None:
    """Write what a record holds over what is there; where nothing is, over an empty page."""
    taken = 0
    for number, blocks in one.pages:
        page = pages.setdefault(number, bytearray(PAGE_BYTES))
        for at in range(0, PAGE_BYTES, BLOCK_BYTES):
            if blocks >> at // BLOCK_BYTES & 1:
                page[at : at + BLOCK_BYTES] = one.blocks[taken : taken + BLOCK_BYTES]
                taken += BLOCK_BYTES


def _chain(
    log: dict[Position, _Record], manifest: _Record | None, problems: list[str]
) -> list[_Record]:
    """The records behind the manifest, or from the first one, as far as each follows the last."""
    behind = manifest.behind if manifest else (1, -1)
    last = max(log, default=behind)
    chain: list[_Record] = []
    expected, previous = (behind[0], behind[1] + 1), None if manifest else 0
    while expected <= last:
        found = log.get(expected)
        if found is None or previous not in (None, found.previous):
            problems.append(f"record {expected[0]}.{expected[1]} is missing; the rest is left out")
            break
        chain.append(found)
        epoch, seq = expected
        expected = (epoch + 1, 0) if found.kind == SEAL else (epoch, seq + 1)
        previous = found.checksum
    return chain


def _records(lines: list[dict[str, Any]], problems: list[str]) -> dict[Position, _Record]:
    log = {}
    for line in lines:
        if line["store"] == "log":
            found = _record(line)
            if found is None:
                why = line.get("unreadable", "altered, or of a newer format")
                problems.append(f"record {line['key']}: {why}")
            else:
                log[found.position] = found
    return log


def _record(line: dict[str, Any]) -> _Record | None:
    """A record as it was written; None for anything else."""
    content = base64.b64decode(line.get("bytes", ""))
    if len(content) < HEADER.size + 4 or crc32(content[:-4]) != _number(content[-4:]):
        return None
    magic, version, kind, _, _, _, epoch, seq, previous, page_bytes, *counts, _ = (
        HEADER.unpack_from(content)
    )
    page_count, pages, chunks, behind_epoch, behind_seq, _ = counts
    if (magic, version, page_bytes, [epoch, seq]) != (MAGIC, FORMAT, PAGE_BYTES, line["key"]):
        return None
    manifest_at = HEADER.size + PAGE_ENTRY.size * pages
    blocks_at = manifest_at + MANIFEST_ENTRY.size * chunks
    return _Record(
        position=(epoch, seq),
        kind=kind,
        previous=previous,
        page_count=page_count,
        pages=list(PAGE_ENTRY.iter_unpack(content[HEADER.size : manifest_at])),
        blocks=content[blocks_at:-4],
        manifest=list(MANIFEST_ENTRY.iter_unpack(content[manifest_at:blocks_at])),
        behind=(behind_epoch, behind_seq),
        checksum=_number(content[-4:]),
    )


def _chunks(lines: list[dict[str, Any]]) -> dict[tuple[int, ...], bytes]:
    return {
        tuple(line["key"]): base64.b64decode(line.get("bytes", ""))
        for line in lines
        if line["store"] == "chunks"
    }


def _number(content: bytes) -> int:
    return int.from_bytes(content, "little")
