// @ts-check
/** Python in a web worker, for demo.js with ?thread=worker. */

import { runPython } from "./python.js";

const worker = /** @type {DedicatedWorkerGlobalScope} */ (/** @type {unknown} */ (globalThis));
const tell = (/** @type {string} */ told) => worker.postMessage({ told });
const ending = new AbortController();

/** @param {(text: string) => void} receive */
function listen(receive) {
  worker.addEventListener("message", ({ data }) => {
    if (data.command) receive(data.command);
  }, { signal: ending.signal });
}

try {
  await runPython({ tell, listen });
} catch (error) {
  tell(JSON.stringify({ type: "crash", message: String(error) }));
} finally {
  ending.abort();
}
