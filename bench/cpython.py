"""This library on CPython beside its peers: steps and runs a second, in empty and in full files.

In one process, in turns, so that a noisy machine disturbs all alike. ``make bench`` installs the
peers; ``python -m bench.cpython`` prints these tables alone.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from bench.contenders import FINISHED_RUNS, STEPS_EACH, Amount, Bare, Contender, Ours, Safety
from bench.peers import PEERS
from bench.report import Figure, Table, as_text, at_least, at_most
from bench.times import shuffled

ROUNDS: dict[Safety, int] = {"killed process": 9, "power cut": 5}
AMOUNTS: dict[Safety, Amount] = {
    "killed process": Amount(steps=2000, runs=500),
    "power cut": Amount(steps=300, runs=100),
}
FINISHED = f"{FINISHED_RUNS * STEPS_EACH:,} finished steps"
AIM_BESIDE_PEERS = 3
AIMS = {"steps": 5000, "runs": 2000}
AIM_OF_GROWTH = 1.3

Rates = dict[str, float]
"""How many a second, by what was counted: ``steps`` or ``runs``."""


def tables() -> list[Table]:
    return asyncio.run(measure())


async def measure() -> list[Table]:
    contenders = [Ours(), Bare(), *PEERS]
    with tempfile.TemporaryDirectory(prefix="durably-bench-") as folder:
        full = [contender for contender in contenders if contender.remembers]
        for contender in full:
            say(f"Giving {contender.name} {FINISHED} ...")
            await contender.fill(file_of(contender, Path(folder), "full"))
        say("Measuring, where a killed process loses nothing ...")
        relaxed = await medians(contenders, Path(folder), "killed process", full)
        say("Measuring, where a power cut loses nothing ...")
        strict = await medians(contenders, Path(folder), "power cut", [])
    return [
        beside_peers(contenders, relaxed, "killed process"),
        beside_peers(contenders, strict, "power cut"),
        growth(full, relaxed),
    ]


async def medians(
    contenders: Sequence[Contender], folder: Path, safety: Safety, full: Sequence[Contender]
) -> dict[tuple[str, str], Rates]:
    """The rates of each contender in an empty file, and of those with a full one in that too."""
    found: dict[tuple[str, str], list[Rates]] = {}
    turns = [(contender, "empty") for contender in contenders]
    turns += [(contender, "full") for contender in full]
    for number in range(ROUNDS[safety]):
        for contender, state in shuffled(turns, number):
            path = file_of(contender, folder, state if state == "full" else safety.split()[0])
            rates = await contender.rates(path, safety, AMOUNTS[safety] // contender.slowness)
            found.setdefault((contender.name, state), []).append(rates)
    return {
        turn: {kind: statistics.median(one[kind] for one in rates) for kind in rates[0]}
        for turn, rates in found.items()
    }


def beside_peers(
    contenders: Sequence[Contender], found: dict[tuple[str, str], Rates], safety: Safety
) -> Table:
    """What each does a second, and this library by how much more than the best of its peers."""
    rates = {contender.name: found[contender.name, "empty"] for contender in contenders}
    ours, amount = rates[Ours.name], AMOUNTS[safety]
    has_aims = safety == "killed process"
    figures: list[Figure] = []
    for kind in ("steps", "runs"):
        others = {
            name: rate[kind] for name, rate in rates.items() if name != Ours.name and kind in rate
        }
        peers = {contender.name for contender in contenders if contender.is_peer}
        best = max(peers & others.keys(), key=lambda name: others[name])
        title = f"{kind} a second, {Ours.name}"
        figures.append(
            at_least(title, ours[kind], AIMS[kind]) if has_aims else plain(title, ours[kind])
        )
        figures += [plain(f"{kind} a second, {name}", rate) for name, rate in others.items()]
        title, times = f"{kind}: {Ours.name} / {best}, its best peer", ours[kind] / others[best]
        if kind == "steps" and has_aims:
            figures.append(at_least(title, times, AIM_BESIDE_PEERS, "{:.2f}"))
        else:
            figures.append(plain(title, times, "{:.2f}"))
    settings = "; ".join(
        f"{label(contender)}: {contender.settings[safety]}" for contender in contenders
    )
    return Table(
        f"On CPython, where a {safety} loses nothing",
        f"One run of {amount.steps:,} steps; {amount.runs:,} runs of one step, from the trigger to "
        f"the result in hand (a twentieth of both for dbos). Medians of {ROUNDS[safety]} rounds "
        f"in one process, each in turn with a file of its own. {settings}. "
        "No peer's polling or thread is waited for: unhinged and huey work on the measuring "
        "thread, and workflows of dbos are called there, without a queue to claim them from. huey "
        "has no steps, and deletes a task when it takes it: one that dies there is gone. SQLite "
        "alone inserts a row for each step, and commits it.",
        figures,
    )


def growth(full: Sequence[Contender], found: dict[tuple[str, str], Rates]) -> Table:
    """How much slower each is in a full file."""
    figures = []
    for kind in ("steps", "runs"):
        for contender in full:
            title = f"{kind}, time of one with {FINISHED} / none, {contender.name}"
            times = found[contender.name, "empty"][kind] / found[contender.name, "full"][kind]
            figures.append(
                at_most(title, times, AIM_OF_GROWTH)
                if contender.name == Ours.name
                else plain(title, times, "{:.2f}")
            )
    return Table(
        "On CPython, as the file grows",
        f"In the same rounds: the same work in a file with {FINISHED_RUNS:,} finished runs of "
        f"{STEPS_EACH:,} steps, written past the engine; for a peer they are copies, by SQL, of "
        "one that it ran itself. huey keeps nothing of what is finished.",
        figures,
    )


def plain(name: str, value: float, form: str = "{:,.0f}") -> Figure:
    return Figure(name, form.format(value))


def label(contender: Contender) -> str:
    return (
        contender.name if not contender.is_peer else f"{contender.name} {version(contender.name)}"
    )


def file_of(contender: Contender, folder: Path, state: str) -> Path:
    return folder / f"{contender.name}-{state}.sqlite3"


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    began = time.perf_counter()
    print(as_text(tables()))
    say(f"in {time.perf_counter() - began:.0f} s")
