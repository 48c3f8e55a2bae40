"""One schedule under way: the faults as they are due, and what is stored, looked at after each."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict

from playwright.sync_api import Error as PlaywrightError

from tests.faults.checker import Evidence
from tests.faults.faults import Browser, Tab
from tests.faults.recorder import Line, Recorder
from tests.faults.schedule import HEARTBEAT, LEADER, THRESHOLD, Fault, Schedule

START_TIMEOUT = 20.0
END_TIMEOUT = 45.0
LEAVE_TIMEOUT = 5.0
TURN = 1.0
"""Seconds for which each tab is in front while the orders come to their end."""
OPTIONS = {
    "heartbeat_interval": HEARTBEAT,
    "stale_threshold": THRESHOLD,
    "max_concurrent_runs": 3,
    "max_interruptions": 50,
    "stop_timeout": 2.0,
}


class Play:
    """One schedule under way."""

    def __init__(
        self,
        browser: Browser,
        recorder: Recorder,
        schedule: Schedule,
        tabs: list[Tab],
        number: int,
    ) -> None:
        self._browser = browser
        self._recorder = recorder
        self._schedule = schedule
        self._tabs = tabs
        self._database = f"{schedule.database}-{number}"
        self._dumps: list[dict[str, list[list[object]]]] = []
        self.faults: Counter[str] = Counter()
        """What was done, by kind."""

    # The course of it

    def begin(self) -> None:
        """Every tab has the plan; a step is under way."""
        plan = {
            "database": self._database,
            "options": OPTIONS,
            "orders": [asdict(order) for order in self._schedule.orders],
            "clock": 0.0,
        }
        self._browser.quota.make_room()
        self._recorder.begin(plan)
        for tab in self._tabs:
            if tab.is_alive:
                self._browser.command(tab, {"start": plan})
            else:
                self._browser.load(tab)
        self._until("event", START_TIMEOUT, type="tab:leader")
        self._show(self._leader())
        self._until("began", START_TIMEOUT)

    def befall(self) -> None:
        """The faults, each at its time, and what takes it back at its own."""
        started = time.monotonic()
        ends: list[tuple[float, Fault, Tab]] = []
        due = [(fault.at, fault) for fault in self._schedule.faults]
        while due or ends:
            if ends and (not due or ends[0][0] <= due[0][0]):
                at, fault, tab = ends.pop(0)
                self._wait(started + at)
                self._take_back(fault, tab)
            else:
                at, fault = due.pop(0)
                self._wait(started + at)
                tab = self._leader() if fault.tab == LEADER else self._tabs[fault.tab]
                if not tab.is_alive:
                    continue
                self.faults[fault.kind] += 1
                self._cause(fault, tab)
                ends.append((fault.until, fault, tab))
                ends.sort(key=lambda end: end[0])
            self._dump()

    def finish(self) -> None:
        """Every order comes to its end, with one tab after the other in front."""
        keys = {order.key for order in self._schedule.orders}

        def have_ended(lines: list[Line]) -> bool:
            return keys <= {line["key"] for line in lines if line["kind"] == "result"}

        deadline = time.monotonic() + END_TIMEOUT
        self._show(self._leader())
        turn = 0
        while not self._recorder.wait_until(have_ended, TURN):
            self._look_for_crashes()
            if time.monotonic() > deadline:
                self._note_late()
                return
            self._show(self._tabs[turn % len(self._tabs)])
            turn += 1

    def _note_late(self) -> None:
        """Write down what the browser knows of tabs in which an order has not come to its end."""
        tabs = {
            tab.name: "frozen" if tab.is_frozen else "alive" if tab.is_alive else "gone"
            for tab in self._tabs
        }
        self._recorder.note("late", tabs=tabs, locks=self._browser.locks())

    def evidence(self) -> Evidence:
        self._dump()
        return Evidence(self._schedule.orders, self._recorder.lines(), self._dumps)

    def leave(self) -> None:
        """Every tab lets go of the database; one that does not is closed."""
        self._recorder.end()
        for tab in self._tabs:
            self._browser.command(tab, {"leave": self._database})
        deadline = time.monotonic() + LEAVE_TIMEOUT
        for tab in self._tabs:

            def has_left(lines: list[Line], tab: Tab = tab) -> bool:
                return any(
                    line["kind"] == "left" or (line["kind"] == "ready" and line["plan"] is None)
                    for line in lines
                    if line.get("tab") == tab.name
                )

            if not self._recorder.wait_until(has_left, max(0.0, deadline - time.monotonic())):
                self._browser.close_tab(tab)
        self._browser.delete(self._database)

    # Faults

    def _cause(self, fault: Fault, tab: Tab) -> None:
        browser, kind = self._browser, fault.kind
        if fault.stalls:
            browser.stall(self._database)
        self._recorder.note("fault", fault=kind, on=tab.name)
        if kind == "reload":
            browser.reload(tab)
        elif kind == "close":
            browser.close_tab(tab)
        elif kind == "crash":
            browser.crash(tab)
            self._look_for_crashes()
        elif kind == "kill":
            browser.kill(list(self._tabs))
        elif kind in ("freeze-short", "freeze-long"):
            browser.freeze(tab)
            self._show_another(tab)
            if fault.steals:
                self._recorder.note("fault", fault="steal", on=tab.name)
                browser.steal(self._database)
        elif kind == "hide":
            browser.hide(tab)
            self._show_another(tab)
        elif kind == "quota":
            self._recorder.note("full", told=browser.quota.fill())
        elif kind == "clock":
            self._set_clock(fault.jump)
        elif kind == "offline":
            browser.take_offline(tab, True)
        elif kind == "force-close":
            browser.force_close()
        elif kind == "steal":
            browser.steal(self._database)

    def _take_back(self, fault: Fault, tab: Tab) -> None:
        browser, kind = self._browser, fault.kind
        if kind == "kill":
            for one in self._tabs:
                browser.load(one)
        elif kind in ("close", "crash"):
            browser.load(tab)
        elif kind in ("freeze-short", "freeze-long"):
            browser.thaw(tab)
            self._show(tab)
        elif kind == "hide":
            self._show(tab)
        elif kind == "quota":
            browser.quota.make_room()
        elif kind == "clock":
            self._set_clock(0.0)
        elif kind == "offline":
            browser.take_offline(tab, False)

    def _set_clock(self, milliseconds: float) -> None:
        self._recorder.set_clock(milliseconds)
        for tab in self._tabs:
            self._browser.command(tab, {"clock": milliseconds})

    def _look_for_crashes(self) -> None:
        """A tab that was not meant to crash, and has, is a fault like any other."""
        for tab in self._tabs:
            if tab.page is not None and tab.has_crashed:
                self._recorder.note("fault", fault="crash", on=tab.name)
                self._browser.load(tab)

    # What is in front

    def _leader(self) -> Tab:
        """The tab that has last said that it leads, if it is there."""
        names = {tab.name: tab for tab in self._tabs}
        for line in reversed(self._recorder.lines("event")):
            tab = names.get(line["tab"])
            if line["type"] == "tab:leader" and tab is not None and tab.is_alive:
                return tab
        return self._tabs[0]

    def _show(self, tab: Tab) -> None:
        if tab.is_alive and not tab.is_frozen:
            with suppress(PlaywrightError):
                self._browser.show(tab)

    def _show_another(self, tab: Tab) -> None:
        for other in self._tabs:
            if other is not tab and other.is_alive:
                self._show(other)
                return

    def _dump(self) -> None:
        dump = self._browser.dump(self._database)
        if dump is not None:
            self._dumps.append(dump)

    def _until(self, kind: str, timeout: float, **facts: object) -> None:
        def is_told(lines: list[Line]) -> bool:
            return any(
                line["kind"] == kind and all(line.get(k) == v for k, v in facts.items())
                for line in lines
            )

        self._recorder.wait_until(is_told, timeout)

    def _wait(self, moment: float) -> None:
        pause = moment - time.monotonic()
        if pause > 0:
            time.sleep(pause)
