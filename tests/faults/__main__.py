"""Run the campaign of faults in a real Chromium.

python -m tests.faults                         500 schedules, from a random seed that is printed
python -m tests.faults --seed 7                the schedule of seed 7, once more
python -m tests.faults --planted "no check of the epoch" --count 40     with a bug in the wheel
python -m tests.faults --report docs/faults.md                          and write down what came
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from playwright.sync_api import sync_playwright

from scripts.static_server import ROOT
from tests.faults.campaign import Campaign, Outcome
from tests.faults.planted import BUGS, plant
from tests.faults.report import table, write_report
from tests.faults.schedule import WEIGHTS, make_schedule

EVIDENCE = ROOT / "build" / "faults"
"""What all sides told of each schedule that broke a rule, in the order in which it was heard."""
WHEELS = ROOT / "build" / "site" / "wheels"
COUNT = 500


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, help="of the first schedule")
    parser.add_argument("--count", type=int, help=f"of schedules; {COUNT}, or 1 with a seed")
    parser.add_argument("--planted", choices=[*BUGS], help="stop when this bug is caught")
    parser.add_argument("--report", type=Path, help="the page to write")
    parser.add_argument("--verbose", action="store_true", help="print what every tab told")
    options = parser.parse_args()
    seed = secrets.randbelow(10**9) if options.seed is None else options.seed
    count = options.count or (COUNT if options.seed is None or options.planted else 1)
    started = time.monotonic()
    outcomes = play(seed, count, options.planted, options.verbose)
    seconds = time.monotonic() - started
    print(f"\n{table(outcomes)}\n\n{len(outcomes)} schedules in {seconds / 60:.1f} minutes")
    if options.report is not None:
        write_report(options.report, outcomes, seed, seconds)
    is_broken = any(outcome.violations for outcome in outcomes)
    return int(is_broken != bool(options.planted))


def play(seed: int, count: int, planted: str | None, is_verbose: bool) -> list[Outcome]:
    """Play the schedules one after the other; with a bug planted, until it is caught."""
    outcomes = []
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        (wheel,) = WHEELS.glob("*pyemscripten*.whl")
        weights = WEIGHTS
        if planted:
            (whole,) = WHEELS.glob("*-any.whl")
            wheel, weights = plant(BUGS[planted], whole, Path(folder)), BUGS[planted].weights
        with Campaign(playwright, Path(folder) / "profile", wheel) as campaign:
            for number in range(seed, seed + count):
                schedule = make_schedule(number, weights)
                print(schedule, flush=True)
                outcome = campaign.play(schedule)
                outcomes.append(outcome)
                tell(outcome, is_verbose)
                if planted and {one.rule for one in outcome.violations} & BUGS[planted].rules:
                    break
    return outcomes


def tell(outcome: Outcome, is_verbose: bool) -> None:
    print(
        f"  {outcome.seconds:.1f} s, {outcome.acks} checkpoints acknowledged,"
        f" {outcome.repeats} repeats, told: {dict(outcome.seen)}",
        flush=True,
    )
    for violation in outcome.violations:
        print(f"  BROKEN {violation}", flush=True)
    if outcome.violations:
        print(f"  What was told: {write_evidence(outcome)}", flush=True)
        troubles = Counter(line["text"] for line in outcome.lines if line["kind"] == "trouble")
        for text, count in troubles.most_common(5):
            print(f"  {count} times: {text}", flush=True)
    if is_verbose:
        for line in outcome.lines:
            print("   ", {name: fact for name, fact in line.items() if name != "received"})


def write_evidence(outcome: Outcome) -> Path:
    EVIDENCE.mkdir(parents=True, exist_ok=True)
    path = EVIDENCE / f"{outcome.schedule.seed}.jsonl"
    told = [{"schedule": str(outcome.schedule)}, *outcome.lines]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in told), encoding="utf-8")
    return path


if __name__ == "__main__":
    sys.exit(main())
