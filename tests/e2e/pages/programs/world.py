"""What the jobs of the browser tests do outside of their tab: the test's server counts it."""

import json

import js
from pyodide.http import pyfetch


async def effect(name: str, body: object = None) -> dict:
    """Do something outside of the tab: the server counts it, and may keep the answer back."""
    answer = await pyfetch(
        f"{js.location.origin}/effects/{name}", method="POST", body=json.dumps(body)
    )
    if not answer.ok:
        raise RuntimeError(f"the server answered {answer.status}")
    return await answer.json()


async def effects(name: str) -> list[object]:
    """The bodies of the effects of this name that the world has seen."""
    seen = await (await pyfetch(f"{js.location.origin}/effects")).json()
    return [one["body"] for one in seen if one["name"] == name]
