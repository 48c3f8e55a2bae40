// Loads Pyodide into this page and runs pytest in it. The page's globals `output` and `report` tell
// how far it has come: a test that blocks the page leaves nobody who could answer a message.

/**
 * @typedef {object} Request
 * @property {string[]} packages   names in the local distribution
 * @property {string} wheel        the URL of the wheel under test
 * @property {string} project      a zip of the tests, in base64
 * @property {string[]} arguments  for pytest
 */

/** @type {{ output: string, report: object | null }} */
const page = Object.assign(globalThis, { output: "", report: null });

/** @param {Request} request */
export function start(request) {
  run(request).then(
    (report) => { page.report = report; },
    (error) => { page.report = { error: `${error}\n${page.output}` }; },
  );
}

/** @param {Request} request */
async function run(request) {
  const address = "/pyodide/pyodide.mjs";
  const { loadPyodide } = await import(address);
  const pyodide = await loadPyodide();
  const decoder = new TextDecoder();
  const write = (/** @type {Uint8Array} */ bytes) => {
    page.output += decoder.decode(bytes, { stream: true });
    return bytes.length;
  };
  pyodide.setStdout({ write });
  pyodide.setStderr({ write });
  // loadPackage resolves even if nothing was loaded; only the callback tells.
  /** @type {string[]} */
  const failures = [];
  const noting = { messageCallback: () => {}, errorCallback: (/** @type {string} */ message) => failures.push(message) };
  await pyodide.loadPackage(request.packages, noting);
  if (failures.length > 0) throw new Error(failures.join("\n"));
  await pyodide.pyimport("micropip").install.callKwargs(request.wheel, { deps: false });
  const archive = Uint8Array.from(atob(request.project), (letter) => letter.charCodeAt(0));
  pyodide.unpackArchive(archive, "zip", { extractDir: "/project" });
  page.output = "";
  pyodide.runPython("import os, sys; os.chdir('/project'); sys.path.insert(0, '/project')");
  // A promising call, and not a task of the event loop: the loop is the tests' own.
  const result = await pyodide.pyimport("inner_pytest").run.callPromising(request.arguments);
  const [exit_code, outcomes] = result.toJs({ dict_converter: Object.fromEntries });
  result.destroy();
  return { exit_code, outcomes, output: page.output };
}
