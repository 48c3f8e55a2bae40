/** Holds a job between its steps, so that one run can be measured in blocks, in turns with others. */
export class Gate {
  #passes = 0;
  /** @type {(() => void) | null} */
  #goOn = null;
  /** @type {(() => void) | null} */
  #arrived = null;

  /** Called by the job: waits where no pass is left. */
  async pass() {
    if (this.#passes > 0) {
      this.#passes -= 1;
      return;
    }
    await new Promise((resolve) => {
      this.#goOn = () => resolve(null);
      this.#arrived?.();
    });
  }

  /** Let the job go `count` steps further; resolves when it waits again. @param {number} count */
  async open(count) {
    this.#passes = count - 1;
    const goOn = this.#goOn;
    this.#goOn = null;
    goOn?.();
    await this.reached();
  }

  /** Resolves when the job waits. */
  async reached() {
    if (this.#goOn) return;
    await new Promise((resolve) => { this.#arrived = () => resolve(null); });
    this.#arrived = null;
  }

  /** Let the job that waits go to its end. */
  leave() {
    const goOn = this.#goOn;
    this.#goOn = null;
    goOn?.();
  }
}
