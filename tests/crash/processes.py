"""Starts ``program.py`` many times on one file, and ends each process it has started."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import durably

PROGRAM = Path(__file__).with_name("program.py")
SOURCE = Path(durably.__file__).parents[1]


class Process:
    """One running program. Whatever it writes to its standard error is a failure."""

    def __init__(self, folder: Path, number: int, arguments: list[str]) -> None:
        self._errors = folder / f"errors-{number}"
        with self._errors.open("w") as errors:
            self._popen = subprocess.Popen(
                [sys.executable, str(PROGRAM), *arguments],
                cwd=folder,
                # The library under test, wherever another one may be installed.
                env={**os.environ, "PYTHONPATH": str(SOURCE)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def until(self, start: str) -> list[str]:
        """Read what it tells up to a line with this start, and give these lines."""
        assert self._popen.stdout is not None
        lines = []
        for line in self._popen.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith(start):
                return lines
        raise AssertionError(f"it ended after {lines}, with {self._errors.read_text()!r}")

    def go_on(self) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write("go on\n")
        self._popen.stdin.flush()

    def send(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait()

    def end(self) -> list[str]:
        """Let it end by itself, without an error; the answer is what it told in the end."""
        assert self._popen.stdout is not None
        lines = self._popen.stdout.read().splitlines()
        assert (self._popen.wait(), self._errors.read_text()) == (0, "")
        return lines

    def close(self) -> None:
        self._popen.kill()  # Also one that is stopped.
        self._popen.wait()
        for stream in (self._popen.stdin, self._popen.stdout):
            if stream is not None:
                stream.close()


class Processes:
    """A folder with one database, and the programs that run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.owners = folder / "test.sqlite3.owners"
        self._started: list[Process] = []

    def start(
        self,
        role: str,
        *,
        heartbeat: float = 5,
        threshold: float = 30,
        pause: float = 0,
        count: int = 0,
    ) -> Process:
        """A program for the one run that all of a folder share, or for ``count`` short ones."""
        arguments = [role, *map(str, (heartbeat, threshold, pause, count))]
        process = Process(self.folder, len(self._started), arguments)
        self._started.append(process)
        return process

    def close(self) -> None:
        for process in self._started:
            process.close()

    def effects(self) -> list[str]:
        file = self.folder / "effects"
        return file.read_text().split() if file.exists() else []

    def count(self) -> Counter[str]:
        return Counter(self.effects())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.folder / "test.sqlite3")
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()
