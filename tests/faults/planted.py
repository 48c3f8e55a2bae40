"""Copies of the wheel with a bug planted in each, and the faults that bring it to light soonest.

A campaign that does not catch them proves nothing.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Bug:
    """Texts of the package that are replaced by others, and the mix of faults it is sought with."""

    changes: tuple[tuple[str, str, str], ...]
    weights: Mapping[str, float]
    rules: frozenset[str]
    """The rules that it breaks; another one that is broken does not count as caught."""


BUGS: Mapping[str, Bug] = {
    "acknowledged before complete": Bug(
        (
            (
                "durably/browser/js/mirror.js",
                'transaction.oncomplete = () => resolve("complete");',
                'resolve("complete");',
            ),
            # A storage that takes its time: else a kill would have to hit half a millisecond.
            (
                "durably/browser/js/mirror.js",
                "      transaction.commit();\n",
                '      for (let n = 0; n < 50; n++) transaction.objectStore("log").count();\n',
            ),
        ),
        {"kill": 1, "crash": 2},
        frozenset({"kept", "not again", "whole"}),
    ),
    "no check of the epoch": Bug(
        (
            (
                "durably/browser/js/mirror.js",
                'objectStore("log").add(record.buffer, key)',
                'objectStore("log").put(record.buffer, key)',
            ),
        ),
        {"freeze-long": 1},
        frozenset({"epochs", "whole", "kept"}),
    ),
    "results kept from a cancelled step": Bug(
        (
            (
                "durably/checkpointing.py",
                "        if self._execution.signal is not None or self._execution.is_over:\n",
                "        if False:\n",
            ),
            (
                "durably/store/steps.py",
                "      and lease_generation = ?\n      and status = 'running'\n",
                "      and ?\n",
            ),
        ),
        {"hide": 1, "offline": 1},
        frozenset({"cut", "cancelled"}),
    ),
}


def plant(bug: Bug, wheel: Path, folder: Path) -> Path:
    """A copy of the wheel in ``folder`` that has the bug."""
    planted = folder / wheel.name
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(planted, "w") as copy:
        contents = {name: whole.read(name).decode() for name in whole.namelist()}
        for file, right, wrong in bug.changes:
            assert contents[file].count(right) == 1, f"{right!r} is not in {file}"
            contents[file] = contents[file].replace(right, wrong)
        for name, content in contents.items():
            copy.writestr(name, content)
    return planted
