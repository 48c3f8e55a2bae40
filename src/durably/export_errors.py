"""What can go wrong with the file of an export. ``errors`` has the whole tree."""

from __future__ import annotations

from .errors import DurablyError


class ExportError(DurablyError):
    """A file that is not taken as an export. Nothing was changed."""


class DamagedExport(ExportError):
    """The file is no export, or is not as it was written. Nothing of it was stored."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"This export cannot be read: {problem}. Nothing of it was stored.")
        self.problem = problem


class NewerExport(ExportError):
    """The file was made by a newer version of this library. Nothing of it was stored."""

    def __init__(self, what: str, found: int, known: int) -> None:
        super().__init__(
            f"This export has {what} {found}; this version of durably knows {what}s up to {known}. "
            "Nothing of it was stored: update durably."
        )
        self.found = found
        self.known = known


class WrongPassphrase(ExportError):
    """The passphrase does not fit the file, or the file is not what it was when it was encrypted:
    the two look the same. Nothing was stored."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"This export cannot be opened: {problem}. Nothing of it was stored.")


class EncryptionUnavailable(DurablyError, RuntimeError):
    """There is nothing here to encrypt or decrypt with."""

    def __init__(self, remedy: str) -> None:
        super().__init__(f"Exports cannot be encrypted or decrypted here: {remedy}.")
