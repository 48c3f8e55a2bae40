"""A leader with 1,000 steps, a follower in a window of its own, and the leader closed."""

from __future__ import annotations

import statistics
import time

from bench.browser import Browser
from bench.report import Figure, Table, at_most

TAKEOVERS, TURNS = 3, 2
SETTLING = 1.0
"""Seconds in which the browser is done with what it does behind a page that was just loaded."""


def tables(browser: Browser) -> list[Table]:
    times: dict[str, list[float]] = {"alone": [], "followed": [], "trigger": [], "takeover": []}
    for number in range(TAKEOVERS):
        database = f"tabs-{number}"
        leader = browser.program("tabs", database=database, fill=1000)
        for turn in range(TURNS):
            time.sleep(SETTLING)
            times["alone"].append(leader.ask("checkpoints")["median"])
            follower = browser.program("tabs", database=database)
            time.sleep(SETTLING)
            times["followed"].append(leader.ask("checkpoints")["median"])
            if turn < TURNS - 1:
                follower.close()
        times["trigger"].append(follower.ask("triggers")["median"])
        closed_at = time.time() * 1000
        leader.close()
        times["takeover"].append(follower.until_said("leads")["at"] - closed_at)
        follower.close()
    median = {name: statistics.median(values) for name, values in times.items()}
    return [
        Table(
            "Two tabs",
            f"Medians of {TAKEOVERS} leaders with 1,000 finished steps. Each makes 300 checkpoints "
            f"without a follower and 300 with one, {TURNS} times in turns.",
            [
                Figure("checkpoint without a follower", f"{median['alone']:.2f} ms"),
                at_most("with a follower / without", median["followed"] / median["alone"], 1.1),
                at_most("a follower's trigger, ms", median["trigger"], 15, "{:.1f}"),
                at_most("takeover, leader closed, ms", median["takeover"], 300, "{:.0f}"),
            ],
        )
    ]
