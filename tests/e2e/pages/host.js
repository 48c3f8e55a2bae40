// Runs /pages/programs/<program>.py under Pyodide, on this page's thread or in a worker of either kind, and
// keeps what it says in `said`, where a test reads it.
import { forwardVisibility } from "/web/forward_visibility.js";
import { runProgram } from "/pages/run_program.js";

const options = Object.fromEntries(new URLSearchParams(location.search));
globalThis.said = [];
const say = (line) => {
  said.push(line);
  dispatchEvent(new Event("said"));
};

if (options.thread === "worker") {
  const worker = new Worker("/pages/worker.js", { type: "module" });
  worker.addEventListener("message", ({ data }) => {
    if (data.said) say(data.said);
  });
  globalThis.ask = (what) => worker.postMessage({ asked: what });
  worker.postMessage({ options });
  forwardVisibility(worker);
} else if (options.thread === "shared worker") {
  const { port } = new SharedWorker("/pages/worker.js", { type: "module" });
  port.onmessage = ({ data }) => say(data.said);
  globalThis.ask = (what) => port.postMessage({ asked: what });
  port.postMessage({ options });
} else {
  runProgram(options, say).then(
    (ask) => { globalThis.ask = ask; },
    (error) => say({ kind: "crash", text: String(error) }),
  );
}
