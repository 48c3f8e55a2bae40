// @ts-check
/**
 * Leadership between the tabs of one origin: one exclusive Web Lock for each database.
 *
 * The lock gives liveness, not safety: a page that lost it may go on for a moment, and the mirror's
 * fence refuses what it writes.
 */

/**
 * Pending from `pagehide` to `pageshow`. A lock that is granted on the way into the back-forward cache
 * is kept from everybody, and who asks for it then throws the page out of there (seen in Chromium 156).
 */
let pageInUse = Promise.resolve();
globalThis.addEventListener?.("pagehide", () => {
  pageInUse = new Promise((resolve) => {
    globalThis.addEventListener("pageshow", () => resolve(), { once: true });
  });
});

/** Holds a Web Lock, or waits for it. */
export class TabLock {
  #name;
  #lost;
  #ending = new AbortController();
  /** Ends the request that waits for the lock. */
  #waiting = new AbortController();
  /** @type {(() => void) | null} */
  #letGo = null;
  /** Whether other tabs follow this one, and are to have the lock when it is frozen. */
  isFollowed = false;
  #isFrozen = false;
  #isWaiting = false;
  /** @type {() => void} */
  #granted = () => {};
  /** @type {(error: unknown) => void} */
  #refused = () => {};

  /**
   * @param {string} name of the durably database
   * @param {() => void} lost called when a held lock is gone without `release`
   */
  constructor(name, lost) {
    this.#name = `durably:${name}`;
    this.#lost = lost;
    // Chromium (seen in 156) keeps the lock of a page in the back-forward cache, and never grants it
    // to a waiter that was queued before. So it is let go here, and asked for again on the way back.
    const { signal } = this.#ending;
    globalThis.addEventListener?.("pagehide", () => this.#putAway(), { signal });
    globalThis.addEventListener?.("pageshow", () => this.#goOnWaiting(), { signal });
    globalThis.document?.addEventListener("freeze", () => this.#freeze(), { signal });
    globalThis.document?.addEventListener("resume", () => this.#resume(), { signal });
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
    // At the least, the microtasks of a lock that this page has let go just now: it is free then.
    await pageInUse;
    this.#ending.signal.throwIfAborted();
    const granted = /** @type {Promise<void>} */ (
      new Promise((resolve, reject) => {
        this.#granted = resolve;
        this.#refused = reject;
      })
    );
    this.#ending.signal.addEventListener("abort", () => this.#refused(this.#ending.signal.reason));
    this.#isWaiting = true;
    this.#request({ signal: this.#waiting.signal });
    // A question behind the request: its answer comes after a grant that was possible at once.
    await Promise.race([granted, navigator.locks.query()]);
    this.#ending.signal.throwIfAborted();
    if (!this.#letGo) waiting();
    await granted;
  }

  /** Take the lock from whoever holds it, where this tab waits for it. */
  steal() {
    if (!this.#isWaiting || this.#ending.signal.aborted) return;
    this.#waiting.abort();
    this.#waiting = new AbortController();
    this.#request({ steal: true });
  }

  /** Let the lock go. Harmless when it is not held. */
  release() {
    this.#letGo?.();
    this.#letGo = null;
  }

  /** Let the lock go and wait for none any more. */
  close() {
    this.release();
    this.#isWaiting = false;
    this.#waiting.abort();
    this.#ending.abort();
  }

  /** @param {LockOptions} options */
  #request(options) {
    const { signal } = this.#waiting;
    let isHeld = false;
    navigator.locks
      .request(this.#name, options, () => {
        if (this.#ending.signal.aborted) return undefined;
        isHeld = true;
        this.#isWaiting = false;
        this.#granted();
        return new Promise((letGo) => {
          this.#letGo = () => letGo(undefined);
        });
      })
      .catch((error) => {
        if (isHeld) this.#putAway(); // Another tab has stolen it.
        else if (!signal.aborted) this.#refused(error);
      });
  }

  #putAway() {
    const wasHeld = this.#letGo !== null || this.#isFrozen;
    this.#isFrozen = false;
    if (!wasHeld) {
      this.#waiting.abort();
      return;
    }
    this.release();
    this.#lost();
  }

  /** The page comes back from the back-forward cache; it may have waited when it went. */
  #goOnWaiting() {
    if (this.#isWaiting && this.#waiting.signal.aborted) {
      this.#waiting = new AbortController();
      this.#request({ signal: this.#waiting.signal });
    }
  }

  /** A frozen page would keep its lock, and it can do nothing with it. */
  #freeze() {
    this.#waiting.abort();
    if (!this.isFollowed) return;
    this.#isFrozen = this.#letGo !== null;
    this.release();
  }

  /** Another tab may have led and be gone again: what this one knows is of the past. */
  #resume() {
    if (this.#isFrozen) {
      this.#isFrozen = false;
      this.#lost();
    } else {
      this.#goOnWaiting();
    }
  }
}
