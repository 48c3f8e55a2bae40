// Runs a program for the page at the other end: of this worker, or, in a SharedWorker, of a port.
import { runProgram } from "/pages/run_program.js";

/** @param {MessagePort | DedicatedWorkerGlobalScope} page */
function serve(page) {
  let ask;
  page.onmessage = async ({ data }) => {
    const say = (said) => page.postMessage({ said });
    if (data.options) {
      ask = await runProgram(data.options, say)
        .catch((error) => say({ kind: "crash", text: String(error) }));
    }
    if (data.asked) ask(data.asked);
  };
}

if ("onconnect" in globalThis) addEventListener("connect", ({ ports: [page] }) => serve(page));
else serve(globalThis);
