"""Encryption on CPython, with the ``cryptography`` package. A tab has ``browser/sealing.py``, and
the wheel for browsers comes without this module."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .export_errors import EncryptionUnavailable

if TYPE_CHECKING:
    from .container import Lock

KEY_BYTES = 32


async def seal(lock: Lock, passphrase: bytes, plain: bytes, header: bytes) -> bytes:
    """``plain`` encrypted, with its tag at the end. ``header`` is authenticated with it.

    Raises EncryptionUnavailable where the package is not installed.
    """
    sealed: bytes = (await _cipher(lock, passphrase)).encrypt(lock.nonce, plain, header)
    return sealed


async def unseal(lock: Lock, passphrase: bytes, sealed: bytes, header: bytes) -> bytes | None:
    """What ``seal`` was given; None where anything of it is another. Raises what ``seal`` does."""
    cipher = await _cipher(lock, passphrase)
    from cryptography.exceptions import InvalidTag

    try:
        plain: bytes = cipher.decrypt(lock.nonce, sealed, header)
    except InvalidTag:
        return None
    return plain


async def _cipher(lock: Lock, passphrase: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        remedy = 'install the extra: pip install "durably[encryption]"'
        raise EncryptionUnavailable(remedy) from error
    from hashlib import pbkdf2_hmac  # Pyodide has none.

    # In a thread, because it takes some tenths of a second and heartbeats go on.
    key = await asyncio.to_thread(
        pbkdf2_hmac, "sha256", passphrase, lock.salt, lock.iterations, KEY_BYTES
    )
    return AESGCM(key)
