"""Runs one of the jobs, as a user's page would."""

from dataclasses import asdict, replace

import jobs
from kit import ask, on_ask, option, tell, tell_event
from pyodide.ffi import can_run_sync

from durably import Durably
from durably.browser import browser_environment
from durably.testing import EveryoneLeads

JOBS = [
    jobs.three_steps,
    jobs.batches,
    jobs.upserts,
    jobs.check_before_act,
    jobs.many_steps,
    jobs.approval,
    jobs.side_by_side,
    jobs.priced,
]

CALLS = {
    "three_steps": lambda: jobs.three_steps(),
    "batches": lambda: jobs.batches(1000, 100),
    "upserts": lambda: jobs.upserts(5),
    "check_before_act": lambda: jobs.check_before_act(),
    "approval": lambda: jobs.approval(float(option("timeout", "3600"))),
    "side_by_side": lambda: jobs.side_by_side(),
    "priced": lambda: jobs.priced(),
    "many_steps": lambda: jobs.many_steps(int(option("count", "1000"))),
}


async def main() -> None:
    options = {
        "jobs": JOBS,
        "heartbeat_interval": float(option("heartbeat", "5")),
        "stale_threshold": float(option("threshold", "30")),
        "on_hidden": option("on_hidden", "continue"),
        "preserve_steps": True,
    }
    durably = Durably(option("database", "test"), **options)
    if option("proof", "lock") == "none":
        # Only a stale heartbeat tells that an owner is gone, as between processes of CPython.
        environment = replace(await browser_environment("test"), leadership=EveryoneLeads())
        durably = Durably("test", **options, environment=environment)
    durably.on("*", tell_event)
    tell("opening", switches_stacks=can_run_sync())
    async with durably:
        on_ask(answer, durably)
        run = await durably.trigger(CALLS[option("job", "three_steps")](), idempotency_key="only")
        tell("triggered", id=run.id, disposition=run.disposition)
        tell("result", value=await run.result())
        if option("stay", ""):
            await ask("leave")


async def answer(durably: Durably, question: str) -> None:
    if question == "runs":
        tell("runs", runs=[asdict(run) for run in await durably.list_runs()])
    if question == "steps":
        (run,) = await durably.list_runs()
        tell("steps", steps=[asdict(step) for step in await durably.get_steps(run.id)])
    if question == "attempts":
        (run,) = await durably.list_runs()
        attempts = await durably.get_attempts(run.id)
        tell("attempts", attempts=[asdict(attempt) for attempt in attempts])
    if question == "doctor":
        diagnosis = await durably.doctor()
        silence = diagnosis.silence and diagnosis.silence.kind
        tell("doctor", silence=silence, text=str(diagnosis))
    if question == "signal":
        (run,) = await durably.list_runs()
        (wait,) = await durably.get_waits(run.id)
        await durably.signal(wait.id, "yes", signal_id="click")
        tell("signalled")
    if question == "cancel":
        (run,) = await durably.list_runs()
        await durably.cancel(run.id)
        tell("cancelled")
