"""Runs that come and go with exports; and a database that is exported without being opened."""

import base64

import jobs
from kit import on_ask, option, tell, tell_event

from durably import DamagedDatabase, Durably

PASSPHRASE = "correct horse"


async def main() -> None:
    durably = Durably("test", jobs=[jobs.three_steps])
    durably.on("*", tell_event)
    if option("opens", "yes") == "no":
        on_ask(rescue, durably)
        tell("ready")
        return
    await durably.__aenter__()
    on_ask(answer, durably)
    if option("triggers", "no") == "yes":
        await durably.trigger(jobs.three_steps())
    tell("ready")


async def answer(durably: Durably, question: str) -> None:
    verb, _, argument = question.partition(" ")
    if verb == "export":
        told(await durably.export(passphrase=PASSPHRASE))
    if verb == "import":
        data = base64.b64decode(argument)
        report = await durably.import_(data, passphrase=PASSPHRASE)
        tell("imported", created=report.created, known=report.known)
        for run_id in report.created:
            tell("result", value=await durably.result(run_id))


async def rescue(durably: Durably, question: str) -> None:
    if question == "open":
        try:
            await durably.__aenter__()
        except DamagedDatabase as error:
            tell("refused", text=str(error))
    if question == "export":
        told(await durably.export_as_is(passphrase=PASSPHRASE))


def told(data: bytes) -> None:
    tell("exported", data=base64.b64encode(data).decode())
