"""The texts that the planted bugs replace, sought in the sources: long before a browser is."""

from __future__ import annotations

import pytest

from scripts.static_server import ROOT
from tests.faults.planted import BUGS


@pytest.mark.parametrize("name", BUGS)
def test_text_that_a_planted_bug_replaces_is_there_once(name: str) -> None:
    found = [
        (ROOT / "src" / file).read_text().count(right) for file, right, _ in BUGS[name].changes
    ]

    assert found == [1] * len(BUGS[name].changes)
