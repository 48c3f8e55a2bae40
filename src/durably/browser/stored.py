"""What IndexedDB holds of a database, as it is. Nothing is changed, and nothing has to be whole."""

from __future__ import annotations

import base64
import json
from typing import Any

from pyodide.ffi import JsException

from ..errors import NothingStored, StorageRefused
from .bridge import modules


async def stored(name: str) -> list[dict[str, Any]]:
    """Every record of every store: ``bytes`` in base64, or else the ``value`` as JSON has it.

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
    for store, key, content, text in records.to_py():
        line = {"store": store, "key": json.loads(key)}
        if text is None:
            line["bytes"] = base64.b64encode(content).decode()
        else:
            line["value"] = json.loads(text)
        lines.append(line)
    return lines
