"""A process on CPython that is killed: the next one goes on from the last checkpoint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.processes import SOURCE

pytestmark = pytest.mark.cpython_only

PROGRAM = """
import asyncio, pathlib, sys
from durably import Durably, Step, job

def act(name):
    with open("effects", "a") as effects:
        effects.write(name + "\\n")
    return name

async def act_and_hang(name):
    act(name)
    if sys.argv[1] == "hang":
        print("hanging", flush=True)
        await asyncio.Event().wait()

@job
async def three_steps(step: Step) -> str:
    await step.run("first", act, "first")
    await step.run("second", act_and_hang, "second")
    await step.run("third", act, "third")
    return "done"

async def main():
    async with Durably(
        "test", jobs=[three_steps], heartbeat_interval=0.2, stale_threshold=1
    ) as durably:
        run = await durably.trigger(three_steps(), idempotency_key="only")
        print(await run.result())

asyncio.run(main())
"""


def test_killed_process_is_followed_by_one_that_repeats_only_the_step_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program)]
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))
    first = subprocess.Popen([*command, "hang"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    with first.stdout as printed:
        assert printed.readline() == "hanging\n"
        first.kill()
        first.wait()

    second = subprocess.run(
        [*command, "go on"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True
    )

    assert second.stdout == "done\n"
    effects = (tmp_path / "effects").read_text().split()
    assert effects == ["first", "second", "second", "third"]
