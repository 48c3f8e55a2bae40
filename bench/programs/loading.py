"""The opening of a large database beside a bare ``getAll`` of the same bytes, in turns."""

from __future__ import annotations

from filling import fill_finished, opened
from js import performance
from kit import tell
from pyodide.code import run_js

from durably import Durably

ROUNDS = 5
STEPS, RESULT_BYTES = 7_170, 3000  # 32 MiB, with their indexes and free space.
CHUNK_BYTES = 60 << 10
BARE = """
async (bytes, chunkBytes) => {
  const name = "bare-chunks";
  const connect = () => new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => request.result.createObjectStore("chunks");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const db = await connect();
  for (let index = 0; index * chunkBytes < bytes; index++) {
    const size = Math.min(chunkBytes, bytes - index * chunkBytes);
    const writing = db.transaction("chunks", "readwrite", { durability: "relaxed" });
    const chunk = new Uint8Array(size);
    for (let at = 0; at < size; at += 65536) crypto.getRandomValues(chunk.subarray(at, at + 65536));
    writing.objectStore("chunks").add(chunk.buffer, [index, 1, 1]);
    await new Promise((resolve) => { writing.oncomplete = resolve; });
  }
  db.close();
  return async () => {
    const db = await connect();
    const request = db.transaction("chunks").objectStore("chunks").getAll();
    await new Promise((resolve) => { request.onsuccess = resolve; });
    const read = request.result.reduce((sum, chunk) => sum + chunk.byteLength, 0);
    db.close();
    return read;
  };
}
"""


async def main() -> None:
    await fill_finished("loading", STEPS, '"' + "x" * RESULT_BYTES + '"')
    database = await opened("loading")
    (pages,) = database.read("pragma page_count", {})
    await database.close()
    size = pages[0] * 4096
    bare = await run_js(BARE)(size, CHUNK_BYTES)
    times: dict[str, list[float]] = {"bare": [], "database": [], "durably": []}
    for _ in range(ROUNDS):
        started = performance.now()
        assert await bare() == size
        times["bare"].append(performance.now() - started)
        started = performance.now()
        database = await opened("loading")
        times["database"].append(performance.now() - started)
        await database.close()
        started = performance.now()
        async with Durably("loading"):
            times["durably"].append(performance.now() - started)
    tell("result", times=times, size_bytes=size)
