"""What most Pyodide pages do: SQLite in a folder of IDBFS, stored with ``syncfs`` at each step."""

from __future__ import annotations

import asyncio
import sqlite3
import time

import pyodide_js
from kit import on_ask, option, tell
from pyodide.code import run_js

LARGE_BYTES = 100 * 1024
FOLDER = "/stored"
SYNC = """
(FS) => () => new Promise((resolve, reject) => {
  FS.syncfs(false, (error) => error ? reject(error) : resolve());
})
"""


async def main() -> None:
    fs = pyodide_js.FS
    fs.mkdirTree(FOLDER)
    fs.mount(fs.filesystems.IDBFS, run_js("({})"), FOLDER)
    sync = run_js(SYNC)(fs)
    connection = sqlite3.connect(f"{FOLDER}/{time.time_ns()}.sqlite3")
    connection.execute(
        "create table steps (name text primary key, output text, completed_at integer)"
    )
    filled = int(option("filled", "0"))
    connection.executemany(
        "insert into steps values (?, ?, ?)", ((f"filled-{n}", str(n), n) for n in range(filled))
    )
    connection.commit()
    await sync()
    on_ask(answer, connection, sync)
    tell("ready")
    await asyncio.Event().wait()


async def answer(connection: sqlite3.Connection, sync: object, question: str) -> None:
    work, count = question.split()[0], int(question.split()[1])
    output = "x" * LARGE_BYTES if work == "large" else "1"
    times = []
    for _ in range(count):
        started = time.perf_counter()
        connection.execute(
            "insert into steps values (?, ?, ?)", (str(time.time_ns()), output, time.time_ns())
        )
        connection.commit()
        await sync()  # type: ignore[operator]
        times.append((time.perf_counter() - started) * 1000)
    tell(question, times=times)
