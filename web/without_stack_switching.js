// @ts-check
/**
 * Import this before Pyodide, in the page or in the worker that loads it: Python then runs on the
 * browser's ordinary stack.
 *
 * Where WebAssembly can switch stacks (JSPI: Chromium since 137), Pyodide runs every callback of the
 * event loop on a stack of its own, and Chromium now and then crashes the tab for it: see
 * https://github.com/pyodide/pyodide/issues/6106. durably does not need it. What does is code that
 * calls `pyodide.ffi.run_sync` or `loop.run_until_complete`.
 */
const stackSwitching = /** @type {Record<string, unknown>} */ (/** @type {unknown} */ (WebAssembly));
delete stackSwitching.Suspending;
delete stackSwitching.promising;
