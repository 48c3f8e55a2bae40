"""What IndexedDB holds of a database, as it is. Nothing is changed, and nothing has to be whole."""

from __future__ import annotations

import base64
import json
from typing import Any

from pyodide.ffi import JsException

from ..errors import NothingStored, StorageRefused
from .bridge import modules


async def stored(name: str) -> list[dict[str, Any]]:
    """Every record of every store: ``bytes`` in base64, else the ``value`` as JSON has it, else
    why it is ``unreadable``.

    Raises NothingStored, and StorageRefused where IndexedDB does not let itself be read.
    """
    module = (await modules()).mirror
    try:
        records = await module.readAsStored(name)
    except JsException as error:
        raise StorageRefused(name, str(error)) from error
    if records is None:
        raise NothingStored(name, "this browser")
    lines = []
    for store, key, *found in records.to_py():
        line = {"store": store, "key": json.loads(key)}
        content, text, problem = (*found, None)[:3]
        if content is not None:
            line["bytes"] = base64.b64encode(content).decode()
        elif text is not None:
            line["value"] = json.loads(text)
        else:
            line["unreadable"] = problem
        lines.append(line)
    return lines
