"""Encryption in a browser: WebCrypto (W3C Web Cryptography API). CPython has ``sealing.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import js
from pyodide.ffi import JsException, to_js

from ..export_errors import EncryptionUnavailable

if TYPE_CHECKING:
    from ..container import Lock


async def seal(lock: Lock, passphrase: bytes, plain: bytes, header: bytes) -> bytes:
    """``plain`` encrypted, with its tag at the end. ``header`` is authenticated with it.

    Raises EncryptionUnavailable where the page has no WebCrypto.
    """
    key = await _key(lock, passphrase)
    sealed = await js.crypto.subtle.encrypt(_algorithm(lock, header), key, to_js(plain))
    return bytes(sealed.to_bytes())


async def unseal(lock: Lock, passphrase: bytes, sealed: bytes, header: bytes) -> bytes | None:
    """What ``seal`` was given; None where anything of it is another. Raises what ``seal`` does."""
    key = await _key(lock, passphrase)
    try:
        plain = await js.crypto.subtle.decrypt(_algorithm(lock, header), key, to_js(sealed))
    except JsException:
        return None
    return bytes(plain.to_bytes())


async def _key(lock: Lock, passphrase: bytes) -> Any:
    subtle = getattr(js.crypto, "subtle", None)
    if subtle is None:
        raise EncryptionUnavailable("this page has no WebCrypto; it needs https or localhost")
    material = await subtle.importKey(
        "raw", to_js(passphrase), "PBKDF2", False, to_js(["deriveKey"])
    )
    return await subtle.deriveKey(
        _object(name="PBKDF2", hash="SHA-256", iterations=lock.iterations, salt=lock.salt),
        material,
        _object(name="AES-GCM", length=256),
        False,
        to_js(["encrypt", "decrypt"]),
    )


def _algorithm(lock: Lock, header: bytes) -> Any:
    return _object(name="AES-GCM", iv=lock.nonce, additionalData=header)


def _object(**fields: object) -> Any:
    return to_js(fields, dict_converter=js.Object.fromEntries)
