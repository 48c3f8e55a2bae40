// @ts-check
/** Python for the page: on the page's own thread, or in a worker. Both speak JSON text. */

import { runPython } from "./python.js";
import { forwardVisibility } from "../forward_visibility.js";

/** @typedef {Record<string, any> & { type: string }} Told what host.py tells */
/** @typedef {Record<string, unknown> & { do: string }} Command what host.py obeys */

/**
 * @typedef {object} Connection
 * @property {(command: Command) => void} send
 * @property {Promise<void>} ended rejects when Python cannot start or stops
 */

/**
 * @param {(told: Told) => void} hear
 * @returns {Connection}
 */
export function connectHere(hear) {
  /** @type {(text: string) => void} */
  let receive = () => {};
  const ended = runPython({
    tell: (text) => hear(JSON.parse(text)),
    listen: (receiver) => {
      receive = receiver;
    },
  });
  return { send: (command) => receive(JSON.stringify(command)), ended };
}

/**
 * @param {(told: Told) => void} hear
 * @param {AbortSignal} signal
 * @returns {Connection}
 */
export function connectWorker(hear, signal) {
  const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  forwardVisibility(worker, signal);
  /** @type {Promise<void>} */
  const ended = new Promise((_, reject) => {
    worker.addEventListener("message", ({ data }) => {
      if (data.told) hear(JSON.parse(data.told));
    }, { signal });
    worker.addEventListener("error", ({ message }) => reject(new Error(message)), { signal });
  });
  return { send: (command) => worker.postMessage({ command: JSON.stringify(command) }), ended };
}
