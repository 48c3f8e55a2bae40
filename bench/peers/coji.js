// @coji/durably over sqlocal (SQLite's own WebAssembly, on OPFS), as its documents say for browsers.
import { createDurably, defineJob } from "@coji/durably";
import { SQLocalKysely } from "sqlocal/kysely";
import { z } from "zod";
import { Gate } from "./gate.js";

/** @typedef {{ run<T>(name: string, act: () => T): Promise<T> }} Step */
/** @typedef {{ count: number, bytes: number, isGated: boolean }} Input */

const LARGE_BYTES = 100 * 1024;
const ROWS = 100; // In one statement, when a run is filled past the engine.

/** @param {Record<string, string>} options `concurrent` runs; the `name` of the database */
export async function open({ concurrent = "1", name = `bench-${Date.now()}` }) {
  const { dialect } = new SQLocalKysely({
    databasePath: `${name}.sqlite3`,
    processor: new Worker("/node_modules/sqlocal/dist/worker.js", { type: "module" }),
  });
  const gate = new Gate();
  /** @type {number[]} */
  let times = [];
  /** Runs that are yet to end, and what to do then. */
  let open = 0, ended = () => {};
  const steps = defineJob({
    name: "steps",
    input: z.object({ count: z.number(), bytes: z.number(), isGated: z.boolean() }),
    /** @type {(step: Step, input: Input) => Promise<void>} */
    run: async (step, { count, bytes, isGated }) => {
      const text = "x".repeat(bytes);
      for (let number = 0; number < count; number++) {
        if (isGated) await gate.pass();
        const started = performance.now();
        await step.run(`step-${number}`, () => (bytes ? text : number));
        times.push(performance.now() - started);
      }
      if (isGated) await gate.pass();
    },
  });
  /** What to do where the step is under way that a reload resumes, and to end it. */
  let resumed = () => {}, finish = () => {};
  const resumable = defineJob({
    name: "resumable",
    input: z.object({ count: z.number() }),
    /** @type {(step: Step, input: { count: number }) => Promise<void>} */
    run: async (step, { count }) => {
      for (let number = 0; number < count; number++) await step.run(`step-${number}`, () => number);
      await step.run("resumed", () => {
        resumed();
        return new Promise((resolve) => { finish = () => resolve(null); });
      });
    },
  });
  const durably = createDurably({
    dialect,
    // Its documents' interval for browsers. A run that ends makes it look for the next one at once,
    // so a shorter interval would only take time from what is executed.
    pollingIntervalMs: 100,
    maxConcurrentRuns: Number(concurrent),
    jobs: { steps, resumable },
  });
  await durably.migrate();
  durably.on("run:complete", () => {
    open -= 1;
    if (open === 0) ended();
  });
  durably.on("run:fail", (/** @type {{ error: string }} */ { error }) => {
    throw new Error(error);
  });

  /**
   * Trigger runs while nothing else is at work, execute them, and wait for the end of all.
   * @param {number} size
   * @param {Partial<Input>} input
   * @param {boolean} areOneBatch
   */
  async function runs(size, input, areOneBatch = false) {
    times = [];
    const taken = [];
    open = size;
    const end = new Promise((resolve) => { ended = () => resolve(null); });
    const began = performance.now();
    const given = { count: 0, bytes: 0, isGated: false, ...input };
    if (areOneBatch) await durably.jobs.steps.batchTrigger(Array.from({ length: size }, () => given));
    else for (let i = 0; i < size; i++) {
      const started = performance.now();
      await durably.jobs.steps.trigger(given);
      taken.push(performance.now() - started);
    }
    durably.start();
    await end;
    const elapsed = performance.now() - began;
    await durably.stop();
    return { times, taken, elapsed };
  }

  /**
   * Give a run that is pending finished steps, past the engine.
   * @param {string} runId
   * @param {number} count
   */
  async function fill(runId, count) {
    const now = new Date().toISOString();
    for (let first = 0; first < count; first += ROWS) {
      await durably.db.insertInto("durably_steps").values(
        Array.from({ length: Math.min(ROWS, count - first) }, (_, i) => ({
          id: `filled-${first + i}`, run_id: runId, name: `step-${first + i}`, index: first + i,
          status: /** @type {const} */ ("completed"), output: "1", error: null,
          started_at: now, completed_at: now,
        })),
      ).execute();
    }
  }

  /** @type {Record<string, (count: number) => Promise<object>>} */
  const answers = {
    async begin(count) {
      void runs(1, { count, isGated: true });
      await gate.reached();
      return {};
    },
    async block(count) {
      times = [];
      await gate.open(count);
      return { times };
    },
    async end() {
      const end = new Promise((resolve) => { ended = () => resolve(null); });
      gate.leave();
      await end;
      await durably.stop();
      return {};
    },
    large: (count) => runs(1, { count, bytes: LARGE_BYTES }),
    runs: (count) => runs(count, { count: 1 }),
    together: (count) => runs(Number(concurrent), { count }, true),
    staggered: (count) => runs(Number(concurrent), { count }),
    alone: (count) => runs(1, { count }),
    triggers: async (count) => ({ times: (await runs(count, {})).taken }),
    async replay(count) {
      times = [];
      open = 1;
      const run = await durably.jobs.steps.trigger({ count, bytes: 0, isGated: false });
      await fill(run.id, count);
      const end = new Promise((resolve) => { ended = () => resolve(null); });
      durably.start();
      await end;
      await durably.stop();
      return { times };
    },
    /** Come to the last step of a run; of a new one, where it is to have steps. */
    async resumed(count) {
      const underWay = new Promise((resolve) => { resumed = () => resolve(null); });
      if (count) await durably.jobs.resumable.trigger({ count });
      durably.start();
      await underWay;
      return { total: performance.now() };
    },
    /** End that step, and its run; the engine looks for others from now on. */
    async finish() {
      open = 1;
      const end = new Promise((resolve) => { ended = () => resolve(null); });
      finish();
      await end;
      return {};
    },
  };
  return answers;
}
