"""What came of a campaign, as a table, and as the page in ``docs/``."""

from __future__ import annotations

import platform
import subprocess
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from scripts.find_chromium import find_chromium
from scripts.static_server import ROOT
from tests.faults.campaign import Outcome
from tests.faults.schedule import FAULTS

EVENTS = ("tab:leader", "run:requeued", "storage:full", "storage:lost", "trouble")

PAGE = """# The campaign of faults

{count} random schedules in a real Chromium with a profile on disk, judged by a checker that shares
no code with the library. What is done, how each fault is caused, and what the checker demands:
[record 22](decisions/0022-a-campaign-of-faults.md).

| | |
|---|---|
| date | {date} |
| command | `make faults SEED={seed} COUNT={count}` |
| versions | durably {version} ({commit}), {chromium}, Pyodide {pyodide}, {system} |
| time | {minutes:.0f} minutes |

{table}

{verdict}
"""


def table(outcomes: Sequence[Outcome]) -> str:
    """Counts by fault, in Markdown. A schedule with several faults counts in the row of each."""
    rows = ["| fault | faults | schedules | repeats | rules broken |", "|---|--:|--:|--:|--:|"]
    for kind in FAULTS:
        with_it = [outcome for outcome in outcomes if outcome.faults[kind]]
        rows.append(_row(kind, sum(outcome.faults[kind] for outcome in with_it), with_it))
    total = sum(sum(outcome.faults.values()) for outcome in outcomes)
    seen: Counter[str] = Counter()
    for outcome in outcomes:
        seen += outcome.seen
    told = ", ".join(f"{kind} {seen[kind]}" for kind in EVENTS)
    acks = sum(outcome.acks for outcome in outcomes)
    tabs = sum(len(outcome.schedule.threads) for outcome in outcomes)
    return "\n".join(
        [
            *rows,
            _row("**all**", total, outcomes),
            "",
            f"{acks} checkpoints acknowledged in {tabs} tabs; told by the tabs: {told}.",
        ]
    )


def write_report(path: Path, outcomes: Sequence[Outcome], seed: int, seconds: float) -> None:
    broken = [outcome for outcome in outcomes if outcome.violations]
    verdict = "**Losses: 0.** No rule was broken."
    if broken:
        verdict = "**Rules were broken** in these schedules:\n\n" + "\n".join(
            f"- seed {outcome.schedule.seed}: {violation}"
            for outcome in broken
            for violation in outcome.violations
        )
    path.write_text(
        PAGE.format(
            count=len(outcomes),
            date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            seed=seed,
            version=_text_after(ROOT / "pyproject.toml", 'version = "'),
            commit=_said("git", "rev-parse", "--short", "HEAD"),
            chromium=_said(find_chromium(), "--version"),
            pyodide=_text_after(ROOT / "build" / "pyodide" / "package.json", '"version": "'),
            system=f"{platform.system()}, {platform.machine()}",
            minutes=seconds / 60,
            table=table(outcomes),
            verdict=verdict,
        ),
        encoding="utf-8",
    )


def _row(name: str, count: int, outcomes: Sequence[Outcome]) -> str:
    repeats = sum(outcome.repeats for outcome in outcomes)
    broken = sum(len(outcome.violations) for outcome in outcomes)
    return f"| {name} | {count} | {len(outcomes)} | {repeats} | {broken} |"


def _said(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _text_after(path: Path, start: str) -> str:
    return path.read_text(encoding="utf-8").partition(start)[2].partition('"')[0]
