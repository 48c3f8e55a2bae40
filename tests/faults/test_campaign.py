"""Twenty schedules of the campaign, and three bugs that it has to catch."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Playwright

from scripts.static_server import ROOT
from tests.faults.campaign import Campaign
from tests.faults.planted import BUGS, plant
from tests.faults.schedule import make_schedule

WHEELS = ROOT / "build" / "site" / "wheels"
FIRST_SEED = 1000
SCHEDULES = 20
LIMIT = 20
"""Schedules in which a planted bug has to be caught."""


@pytest.mark.timeout(600)
def test_nothing_acknowledged_is_lost_in_twenty_schedules_of_faults(
    playwright: Playwright, tmp_path: Path
) -> None:
    (wheel,) = WHEELS.glob("*pyemscripten*.whl")
    broken = {}
    with Campaign(playwright, tmp_path / "profile", wheel) as campaign:
        for seed in range(FIRST_SEED, FIRST_SEED + SCHEDULES):
            outcome = campaign.play(make_schedule(seed))
            if outcome.violations:
                broken[seed] = [str(violation) for violation in outcome.violations]

    assert broken == {}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", BUGS)
def test_planted_bug_is_caught(playwright: Playwright, tmp_path: Path, name: str) -> None:
    (wheel,) = WHEELS.glob("*-any.whl")
    planted = plant(BUGS[name], wheel, tmp_path)
    caught: set[str] = set()
    with Campaign(playwright, tmp_path / "profile", planted) as campaign:
        for seed in range(FIRST_SEED, FIRST_SEED + LIMIT):
            outcome = campaign.play(make_schedule(seed, BUGS[name].weights))
            caught |= {violation.rule for violation in outcome.violations} & BUGS[name].rules
            if caught:
                break

    assert caught
