"""Opens a Durably and says which modules of it Python had to compile for that."""

import asyncio
import marshal
from importlib.machinery import SourceFileLoader
from typing import Any

import js
from kit import on_ask, tell
from pyodide.ffi import to_js

from durably import Durably, Step, job

compiled: list[str] = []
compile_source = SourceFileLoader.source_to_code


def watched(self: SourceFileLoader, data: Any, path: Any, **options: Any) -> Any:
    _, package, module = str(path).rpartition("/durably/")
    if package:
        compiled.append(module)
    return compile_source(self, data, path, **options)


@job
async def answer(step: Step) -> int:
    return await step.run("answer", int, "42")


async def main() -> None:
    SourceFileLoader.source_to_code = watched  # type: ignore[method-assign,assignment]
    async with Durably("test", jobs=[answer]) as durably:
        on_ask(act)
        result = await (await durably.trigger(answer())).result()
        tell("opened", compiled=compiled, result=result)
        await asyncio.Event().wait()


async def act(wanted: str) -> None:
    from durably.browser import pycache

    if wanted == "until kept":
        await pycache._keeping[0]
    if wanted == "another source":
        # As if the worker's code had been compiled from what another release says.
        response = await js.caches.match(pycache.URL)
        kept = marshal.loads((await response.arrayBuffer()).to_bytes())
        code = bytearray(kept["worker.py"])
        code[8:16] = bytes(8)
        kept["worker.py"] = bytes(code)
        await put(marshal.dumps(kept))
    if wanted == "rubbish":
        await put(b"rubbish")
    tell(wanted)


async def put(content: bytes) -> None:
    from durably.browser import pycache

    cache = await js.caches.open(pycache.CACHE)
    await cache.put(pycache.URL, js.Response.new(to_js(content)))
