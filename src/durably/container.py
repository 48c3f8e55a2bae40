"""The file that an export is: a header that anyone can read, a body, and a checksum of both.

    durably-export\\n                what it is
    {"format":1,"kind":"runs",...}\\n  the header, one line of JSON
    ...                             the body: lines of JSON, compressed with zlib, then encrypted
                                    where there is a passphrase
    ... (32 bytes)                  SHA-256 of everything before

Every format to come begins and ends like this. ``docs/export-format.md`` says all of it.
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
import zlib
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from .errors import InvalidOption
from .export_errors import DamagedExport, NewerExport, WrongPassphrase
from .options import check_text
from .records import record

MAGIC = b"durably-export\n"
RUNS, FILES, STORES = "runs", "sqlite-files", "indexeddb"
"""The kinds: runs; or a whole database as it was stored, on CPython or in a browser."""
FORMAT = 1
CHECKSUM_BYTES = 32
ENCRYPTION = {"cipher": "AES-256-GCM", "key": "PBKDF2-HMAC-SHA256"}
ITERATIONS = 600_000
"""Of the key derivation: what OWASP's Password Storage Cheat Sheet asks of PBKDF2-HMAC-SHA256."""
MOST_ITERATIONS = 10_000_000
"""A file that asks for more would keep its reader busy for minutes; no writer does."""
SALT_BYTES = 16
NONCE_BYTES = 12

Line = dict[str, Any]


@record
class Lock:
    """What the key is made with, beside the passphrase; all of it stands in the header."""

    iterations: int
    salt: bytes
    nonce: bytes


def check_passphrase(passphrase: str | None) -> None:
    """Raise InvalidOption for what nobody could type."""
    if passphrase is not None:
        check_text("passphrase", passphrase)


async def pack(
    kind: str, lines: Iterable[Line], passphrase: str | None, **facts: int | str
) -> bytes:
    """The file of this kind. ``facts`` stand in its header, which is not secret, and which a
    passphrase protects from being altered. Raises EncryptionUnavailable.
    """
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    body = zlib.compress(text.encode())
    header: Line = {"format": FORMAT, "kind": kind, **facts}
    lock = None
    if passphrase is not None:
        lock = Lock(ITERATIONS, os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES))
        header["encryption"] = {
            **ENCRYPTION,
            "iterations": lock.iterations,
            "salt": lock.salt.hex(),
            "nonce": lock.nonce.hex(),
        }
    head = MAGIC + json.dumps(header).encode() + b"\n"
    if lock is not None and passphrase is not None:
        body = await _sealing().seal(lock, _typed(passphrase), body, head)
    return head + body + sha256(head + body).digest()


async def unpack(data: bytes, passphrase: str | None) -> tuple[Line, list[Line]]:
    """The header and the lines of a file that is whole.

    Raises InvalidOption, DamagedExport, NewerExport, WrongPassphrase and EncryptionUnavailable.
    """
    check_passphrase(passphrase)
    if not isinstance(data, bytes | bytearray | memoryview):
        raise InvalidOption("data", data, "the bytes of an export")
    head, body = _split(bytes(data))
    header = _json(head[len(MAGIC) :])
    if not isinstance(header.get("format"), int) or not isinstance(header.get("kind"), str):
        raise DamagedExport("its header does not say what it holds")
    if header["format"] > FORMAT:
        raise NewerExport("format", header["format"], FORMAT)
    body = await _opened(header, head, body, passphrase)
    try:
        text = zlib.decompress(body)
    except zlib.error as error:
        raise DamagedExport(f"its body cannot be read ({error})") from error
    return header, [_json(line) for line in text.splitlines()]


def _split(data: bytes) -> tuple[bytes, bytes]:
    """The header with its magic, and the body. The checksum comes before any other question."""
    if not data.startswith(MAGIC):
        raise DamagedExport("it is no export of durably, or its beginning is missing")
    whole, checksum = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    if sha256(whole).digest() != checksum:
        raise DamagedExport("it was altered or cut off (its checksum is wrong)")
    end = whole.find(b"\n", len(MAGIC)) + 1
    if not end:
        raise DamagedExport("it has no header")
    return whole[:end], whole[end:]


async def _opened(header: Line, head: bytes, body: bytes, passphrase: str | None) -> bytes:
    """The body as it was before it was encrypted."""
    encryption = header.get("encryption")
    if encryption is None:
        if passphrase is not None:
            # Somebody may have put a file of his own in the place of an encrypted one.
            raise WrongPassphrase("it is not encrypted, so that anyone may have altered it")
        return body
    lock = _lock(encryption)
    if passphrase is None:
        raise WrongPassphrase("it is encrypted, and no passphrase was given")
    opened: bytes | None = await _sealing().unseal(lock, _typed(passphrase), body, head)
    if opened is None:
        raise WrongPassphrase("this is not its passphrase, or somebody has altered it")
    return opened


def _lock(encryption: Any) -> Lock:
    try:
        method = {name: encryption[name] for name in ENCRYPTION}
        iterations = encryption["iterations"]
        salt, nonce = bytes.fromhex(encryption["salt"]), bytes.fromhex(encryption["nonce"])
        if not 1 <= iterations <= MOST_ITERATIONS or len(nonce) != NONCE_BYTES:
            raise ValueError(iterations)
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedExport("its header does not say how it is encrypted") from error
    if method != ENCRYPTION:
        raise DamagedExport("it is encrypted in a way that is not known here")
    return Lock(int(iterations), salt, nonce)


def _json(line: bytes) -> Line:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DamagedExport(f"a line of it is no JSON ({error})") from error
    if not isinstance(value, dict):
        raise DamagedExport("a line of it is no JSON object")
    return value


def _typed(passphrase: str) -> bytes:
    """Keyboards and systems differ in the code points that make one letter."""
    return unicodedata.normalize("NFC", passphrase).encode()


def _sealing() -> Any:
    if sys.platform == "emscripten":
        from .browser import sealing
    else:
        from . import sealing
    return sealing
