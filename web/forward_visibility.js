// @ts-check
/**
 * For pages that run Python in a web worker: tell the worker whether the page can be seen.
 *
 *   const worker = new Worker("worker.js", { type: "module" });
 *   forwardVisibility(worker);
 *
 * Sends { durably: "visibility", signal, isVisible } at once, at each change, and whenever the worker
 * asks with { durably: "visibility?" }.
 *
 * @param {Worker} worker
 * @param {AbortSignal} [ending] stops the forwarding
 */
export function forwardVisibility(worker, ending) {
  /** @param {"visible" | "hidden" | "freeze" | "resume"} signal */
  const tell = (signal) => worker.postMessage({
    durably: "visibility", signal, isVisible: document.visibilityState === "visible",
  });
  const now = () => tell(document.visibilityState === "visible" ? "visible" : "hidden");
  document.addEventListener("visibilitychange", now, { signal: ending });
  document.addEventListener("freeze", () => tell("freeze"), { signal: ending });
  document.addEventListener("resume", () => tell("resume"), { signal: ending });
  globalThis.addEventListener("pageshow", () => tell("resume"), { signal: ending });
  worker.addEventListener("message", ({ data }) => {
    if (data?.durably === "visibility?") now();
  }, { signal: ending });
  now();
}
