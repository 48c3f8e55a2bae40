"""Encryption where a page has no WebCrypto. All else about it is in tests/core/test_export.py."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from durably import Durably, EncryptionUnavailable
from durably.browser import sealing


async def test_page_without_webcrypto_is_told_what_it_needs(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Durably(name) as durably:
        monkeypatch.setattr(sealing, "js", SimpleNamespace(crypto=SimpleNamespace()))

        with pytest.raises(EncryptionUnavailable, match="https or localhost"):
            await durably.export(passphrase="secret")
