"""A process of CPython that runs go to, and come from.

moving_process.py URL FOLDER export    triggers a run, and prints an export when it is told to
moving_process.py URL FOLDER import    takes one from its input, and prints the runs' results
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from urllib.request import Request, urlopen

from durably import Durably, Step, job

PASSPHRASE = "correct horse"


def effect_count(url: str, name: str) -> int:
    with urlopen(Request(f"{url}/effects/{name}", data=b"null")) as answer:
        count: int = json.load(answer)["count"]
        return count


async def main(url: str, folder: str, verb: str) -> None:
    @job
    async def three_steps(step: Step) -> list[int]:
        return [
            await step.run(name, asyncio.to_thread, effect_count, url, name)
            for name in ("first", "second", "third")
        ]

    async with Durably("moved", jobs=[three_steps], directory=folder) as durably:
        if verb == "export":
            await durably.trigger(three_steps())
            await asyncio.to_thread(sys.stdin.readline)
            data = await durably.export(passphrase=PASSPHRASE)
            say(base64.b64encode(data).decode())
            await asyncio.Event().wait()
        data = base64.b64decode(sys.stdin.readline())
        report = await durably.import_(data, passphrase=PASSPHRASE)
        say(json.dumps([await durably.result(run_id) for run_id in report.created]))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
