"""The types that users see, as ``tests/typing`` states them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.mark.cpython_only
def test_types_are_what_users_are_promised() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores"),
            *("--no-error-summary", "--config-file", str(TESTS.parent / "pyproject.toml")),
            *map(str, sorted((TESTS / "typing").glob("*.py"))),
        ],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout + done.stderr == ""
