// @ts-check
/**
 * Leadership between the tabs of one origin: one exclusive Web Lock for each database.
 *
 * The lock gives liveness, not safety: a page that lost it may go on for a moment, and the mirror's
 * fence refuses what it writes.
 */

/** Holds a Web Lock, or waits for it. */
export class TabLock {
  #name;
  #lost;
  #ending = new AbortController();
  /** @type {(() => void) | null} */
  #letGo = null;

  /**
   * @param {string} name of the durably database
   * @param {() => void} lost called when a held lock is gone without `release`
   */
  constructor(name, lost) {
    this.#name = `durably:${name}`;
    this.#lost = lost;
    // Chromium (seen in 156) keeps the lock of a page in the back-forward cache, and never grants it
    // to a waiter that was queued before. So it is let go here.
    globalThis.addEventListener?.("pagehide", () => this.#putAway(), { signal: this.#ending.signal });
  }

  /** Whether this context has Web Locks at all; an insecure one has not. */
  static get isAvailable() {
    return globalThis.navigator?.locks !== undefined;
  }

  /**
   * Resolves when the lock is held.
   * @param {() => void} waiting called once if another tab holds it now
   * @returns {Promise<void>}
   */
  async acquire(waiting) {
    // A lock that this page has let go just now is free once the microtasks of that have run.
    await null;
    this.#ending.signal.throwIfAborted();
    let isGranted = false;
    const granted = new Promise((resolve, reject) => {
      navigator.locks
        .request(this.#name, { signal: this.#ending.signal }, () => {
          isGranted = true;
          resolve(undefined);
          return new Promise((letGo) => {
            this.#letGo = () => letGo(undefined);
          });
        })
        .catch((error) => {
          // Another tab has stolen a held lock, or `close` ended the waiting.
          this.#putAway();
          reject(error);
        });
    });
    // A question behind the request: its answer comes after a grant that was possible at once.
    await Promise.race([granted, navigator.locks.query()]);
    this.#ending.signal.throwIfAborted();
    if (!isGranted) waiting();
    await granted;
  }

  /** Let the lock go. Harmless when it is not held. */
  release() {
    this.#letGo?.();
    this.#letGo = null;
  }

  /** Let the lock go and wait for none any more. */
  close() {
    this.release();
    this.#ending.abort();
  }

  #putAway() {
    if (!this.#letGo) return;
    this.release();
    this.#lost();
  }
}
