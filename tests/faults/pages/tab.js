// One tab of the campaign: Python on this page's thread, or in a worker. `command` reaches it.
import { forwardVisibility } from "/web/forward_visibility.js";
import { runTab } from "/faults/run_tab.js";

const options = Object.fromEntries(new URLSearchParams(location.search));

if (options.thread === "worker") {
  const worker = new Worker("/faults/worker.js", { type: "module" });
  globalThis.command = (what) => worker.postMessage({ command: what });
  worker.postMessage({ options });
  forwardVisibility(worker);
} else {
  globalThis.command = await runTab(options);
}
