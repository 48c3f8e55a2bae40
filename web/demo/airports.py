"""A real import, cut into steps. Reload the tab in the middle: no finished step runs again.

This is all there is to it. The page around it only draws what durably tells: see host.py.
"""

from __future__ import annotations

import asyncio
import csv
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from io import StringIO

import airport_store  # airport_store.js: an object store in IndexedDB, with the code as its key
from pyodide.http import pyfetch

from durably import Step, job


@dataclass(frozen=True, slots=True)
class Airport:
    iata: str
    name: str
    city: str
    state: str
    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Summary:
    stored: int
    rejected: dict[str, list[str]]
    """The codes of the rows that were not stored, by reason."""
    by_state: dict[str, int]


@job
async def import_airports(step: Step, url: str, batch_size: int = 100, pause: float = 0) -> Summary:
    """Fetch a list of airports, store those that are sound, and count them by state."""
    text = await step.run("fetch", fetch, url)
    airports, rejected = await step.run("validate", validate, text, step.log)
    step.progress(0, len(airports))
    for start in range(0, len(airports), batch_size):
        batch = airports[start : start + batch_size]
        await step.run(f"save-{start}", save, batch, pause)
        step.progress(start + len(batch), len(airports))
    by_state = await step.run("summarise", count_by_state)
    return Summary(sum(by_state.values()), rejected, by_state)


async def fetch(url: str) -> str:
    response = await pyfetch(url)
    response.raise_for_status()
    return await response.text()


def validate(
    text: str, log: Callable[[str, str], None]
) -> tuple[list[Airport], dict[str, list[str]]]:
    airports: list[Airport] = []
    rejected: dict[str, list[str]] = {}
    for row in csv.DictReader(StringIO(text)):
        if reason := what_is_wrong(row):
            rejected.setdefault(reason, []).append(row["iata"])
            log(f"Rejected {row['iata']}, {row['name']}: {reason}", "warning")
        else:
            place = float(row["latitude"]), float(row["longitude"])
            airports.append(Airport(row["iata"], row["name"], row["city"], row["state"], *place))
    return airports, rejected


def what_is_wrong(row: dict[str, str]) -> str | None:
    if not row["iata"]:
        return "no code"
    if row["country"] != "USA":
        return "not in the USA"
    if "NA" in (row["city"], row["state"]):
        return "no city or state"
    try:
        latitude, longitude = float(row["latitude"]), float(row["longitude"])
    except ValueError:
        return "coordinates that are no numbers"
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        return "coordinates off the globe"
    return None


async def save(batch: list[Airport], pause: float) -> None:
    """Insert or replace by code: where a reload cuts this step off, repeating it does no harm."""
    await airport_store.upsert(json.dumps([asdict(airport) for airport in batch]))
    await asyncio.sleep(pause)  # only so that a person can watch


async def count_by_state() -> dict[str, int]:
    stored = json.loads(await airport_store.read_all())
    return dict(Counter(airport["state"] for airport in stored).most_common())
