/**
 * Load Pyodide and durably, and run one program to its end.
 * @param {Record<string, string>} options `program`, its `folder` and what it imports from `beside`
 *   there, `stack_switching` to leave it to Pyodide, `wheels` for the folder of another build of
 *   durably, and whatever the program reads
 * @param {(line: unknown) => void} say receives what the program says
 * @returns {Promise<(what: string) => void>} asks the program for something
 */
export async function runProgram(options, say) {
  if (!options.stack_switching) await import("/web/without_stack_switching.js");
  const { loadPyodide } = await import("/pyodide/pyodide.mjs");
  const pyodide = await loadPyodide();
  performance.mark("pyodide");
  if (options.registered) {
    const mirror = await import("/js/mirror.js"), tabs = await import("/js/tabs.js");
    pyodide.registerJsModule("durably_js", { mirror, tabs });
  }
  await pyodide.loadPackage("micropip", { messageCallback: () => {} });
  const wheels = options.wheels ?? "/site/wheels";
  const wheel =
    `${location.origin}${wheels}/durably-0.1.0-py3-none-pyemscripten_2026_0_wasm32.whl`;
  await pyodide.pyimport("micropip").install(wheel);
  const folder = options.folder ?? "/pages/programs";
  const files = ["world", "kit", "jobs"].map((name) => `/pages/programs/${name}.py`);
  const own = [...(options.beside?.split(",") ?? []), options.program];
  for (const url of [...files, ...own.map((name) => `${folder}/${name}.py`)]) {
    const source = await (await fetch(url)).text();
    pyodide.FS.writeFile(`/home/pyodide/${url.split("/").at(-1)}`, source);
  }
  const questions = [];
  pyodide.registerJsModule("host", {
    options,
    say: (text) => say(JSON.parse(text)),
    onAsk: (listener) => questions.push(listener.copy()),
  });
  void pyodide.runPythonAsync(`import ${options.program} as program\nawait program.main()`)
    .catch((error) => say({ kind: "crash", text: String(error) }));
  return (what) => questions.forEach((listener) => listener(what));
}
