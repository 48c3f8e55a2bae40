// @ts-check
/**
 * Starts Python with durably and the job in it: on the page's thread, or in a worker (worker.js).
 * All files come from the server of this page.
 */

import "../without_stack_switching.js";
import * as airportStore from "./airport_store.js";

const PYODIDE = "/pyodide/pyodide.mjs";
const PACKAGES = "/site/simple";
const MODULES = ["airports.py", "host.py"];

/**
 * What the page hands to Python.
 * @typedef {object} Host
 * @property {(text: string) => void} tell receives what Python tells, as JSON
 * @property {(receive: (text: string) => void) => void} listen is given the receiver of commands
 */

/**
 * Runs host.py. Resolves or rejects when it ends, which it does not while all is well.
 * @param {Host} host
 */
export async function runPython(host) {
  const loading = (/** @type {string} */ message) =>
    host.tell(JSON.stringify({ type: "loading", message }));
  loading("Loading Python");
  const sources = Promise.all(MODULES.map(async (name) => ({ name, text: await source(name) })));
  /** @type {typeof import("pyodide")} */
  const { loadPyodide } = await import(PYODIDE);
  const pyodide = await loadPyodide();
  loading("Installing durably");
  await pyodide.loadPackage("micropip", { messageCallback: () => {} });
  const micropip = pyodide.pyimport("micropip");
  await micropip.install.callKwargs("durably", { index_urls: globalThis.location.origin + PACKAGES });
  micropip.destroy();
  loading("Opening the database");
  for (const { name, text } of await sources) pyodide.FS.writeFile(name, text);
  pyodide.registerJsModule("airport_store", airportStore);
  pyodide.registerJsModule("page", host);
  await pyodide.runPythonAsync("import host\nawait host.main()");
}

/**
 * The text of a file beside this one.
 * @param {string} name
 */
export async function source(name) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name}: the server answered ${response.status}`);
  return response.text();
}
