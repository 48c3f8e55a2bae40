// @ts-check
/** The demo page: shows what Python tells, and tells it what to do. */

import { AirportMap } from "./airport_map.js";
import { read_all } from "./airport_store.js";
import { connectHere, connectWorker } from "./connect.js";
import { source } from "./python.js";
import { drawBars, element, listReasons, Log, StepGrid } from "./views.js";

/** @typedef {import("./connect.js").Told} Told */

const BATCH_SIZE = 100;
const ENDED = ["completed", "cancelled", "failed"];

const page = {
  status: element("status", HTMLElement),
  start: element("start", HTMLButtonElement),
  cancel: element("cancel", HTMLButtonElement),
  reload: element("reload", HTMLButtonElement),
  pace: element("pace", HTMLSelectElement),
  lead: element("lead", HTMLElement),
  notice: element("notice", HTMLElement),
  progress: element("progress", HTMLProgressElement),
  progressText: element("progress-text", HTMLElement),
  percent: element("percent", HTMLElement),
  ran: element("ran", HTMLElement),
  fromCheckpoint: element("from-checkpoint", HTMLElement),
  resumed: element("resumed", HTMLElement),
  mapCount: element("map-count", HTMLElement),
  mapCaption: element("map-caption", HTMLElement),
  stepsHint: element("steps-hint", HTMLElement),
  bars: element("bars", HTMLOListElement),
  barsEmpty: element("bars-empty", HTMLElement),
  rejected: element("rejected", HTMLElement),
  reasons: element("reasons", HTMLElement),
  code: element("code", HTMLElement),
};

class Demo {
  #ending = new AbortController();
  #steps = new StepGrid(element("steps", HTMLOListElement));
  #log = new Log(element("log", HTMLOListElement));
  #map;
  /** @type {import("./connect.js").Connection["send"]} */
  #send = () => {};
  #runId = "";
  #current = 0;
  #total = 0;
  #isResumed = false;
  #life = 0;
  /** @type {Promise<void>} */
  #drawing = Promise.resolve();
  #isDrawn = true;

  constructor() {
    const { signal } = this.#ending;
    this.#map = new AirportMap(element("map", SVGSVGElement), (airport) => {
      this.#caption(airport && `${airport.iata} · ${airport.name}, ${airport.city}, ${airport.state}`);
    }, signal);
    page.start.addEventListener("click", () => {
      page.start.disabled = true;
      this.#send({ do: "start", pause: Number(page.pace.value) });
    }, { signal });
    page.cancel.addEventListener("click", () => {
      page.cancel.disabled = true;
      this.#send({ do: "cancel", run_id: this.#runId });
    }, { signal });
    page.reload.addEventListener("click", () => location.reload(), { signal });
  }

  /** Show what is there already, then start Python. */
  async open() {
    const thread = new URLSearchParams(location.search).get("thread") ?? "main";
    document.querySelector(`[data-thread="${thread}"]`)?.setAttribute("aria-current", "page");
    this.#steps.expect(stepNames(0));
    try {
      await this.#draw("checkpoint");
      page.code.textContent = await source("airports.py");
      const hear = (/** @type {Told} */ told) => this.#hear(told);
      const python = thread === "worker" ? connectWorker(hear, this.#ending.signal) : connectHere(hear);
      this.#send = python.send;
      await python.ended;
    } catch (error) {
      this.#crash(error instanceof Error ? error.message : String(error));
    }
  }

  /** @param {Told} told */
  #hear(told) {
    const { type } = told;
    if (type === "loading") this.#load(told.message);
    else if (type === "run") this.#show(told.run, told.steps);
    else if (type === "no run") this.#setStatus("ready");
    else if (type === "problem") this.#notify(told.message, "problem");
    else if (type === "crash") this.#crash(told.message);
    else if (type.startsWith("tab:")) this.#lead(type === "tab:leader");
    else if (type === "storage:full" || type === "storage:lost") {
      this.#notify(told.reason ?? "The storage of this browser is full.", "problem");
    } else if (told.run_id) this.#hearOfRun(told);
  }

  /** @param {Told} event of a run */
  #hearOfRun(event) {
    if (event.type === "run:trigger") this.#begin(event.run_id);
    if (event.run_id !== this.#runId && this.#runId) return;
    this.#runId = event.run_id;
    const write = (/** @type {string} */ message, kind = "info") =>
      this.#log.write(message, kind, event.at);
    switch (event.type) {
      case "run:trigger":
        write("The run is triggered");
        break;
      case "run:claimed":
        this.#claimed(event.lease_generation, write);
        break;
      case "run:requeued":
        write(`Back to pending: ${event.reason}`);
        this.#setStatus("pending");
        break;
      case "run:progress":
        this.#setProgress(event.progress);
        break;
      case "step:start":
        this.#setMark(event.step, "running");
        break;
      case "step:complete":
        write(`${event.step} ran`, "ran");
        this.#setMark(event.step, "ran");
        break;
      case "step:replay":
        write(`${event.step} from checkpoint`, "checkpoint");
        this.#setMark(event.step, this.#steps.markOf(event.step) === "ran" ? "ran" : "checkpoint");
        break;
      case "step:fail":
        write(`${event.step} failed: ${event.error.message}`, "error");
        this.#setMark(event.step, "failed");
        break;
      case "log:write":
        write(event.message, event.level);
        break;
      case "run:complete":
        write("The run is completed");
        this.#complete(event.output);
        break;
      case "run:cancel":
        write("The run is cancelled");
        this.#setStatus("cancelled");
        break;
      case "run:fail":
        write(`The run failed: ${event.error.message}`, "error");
        this.#fail(event.error);
        break;
      default:
    }
  }

  /** @param {string} message */
  #load(message) {
    this.#setStatus("loading");
    page.progress.removeAttribute("value");
    page.progressText.textContent = `${message} …`;
    this.#log.write(message, "info", Date.now());
  }

  /** @param {boolean} leads */
  #lead(leads) {
    this.#notify(
      leads ? "" : "Another tab leads; this one follows it. Close that tab, and this one takes over.",
    );
  }

  /**
   * What is stored about the newest run.
   * @param {Record<string, any>} run
   * @param {Record<string, "completed" | "failed">} steps
   */
  #show(run, steps) {
    this.#runId = run.id;
    void this.#draw("checkpoint");
    for (const [name, status] of Object.entries(steps)) {
      if (status === "failed") this.#setMark(name, "failed");
      else if (this.#steps.markOf(name) !== "ran") this.#setMark(name, "checkpoint");
    }
    page.resumed.textContent = `${Math.max(run.lease_generation - 1, 0)}`;
    if (run.progress) this.#setProgress(run.progress);
    if (run.input.pause !== undefined) page.pace.value = `${run.input.pause}`;
    if (run.status === "completed") this.#complete(run.output);
    else if (run.status === "failed") this.#fail(run.error);
    else this.#setStatus(run.status);
  }

  /** @param {string} runId of a new run */
  #begin(runId) {
    this.#runId = runId;
    this.#life += 1;
    this.#isResumed = false;
    this.#current = this.#total = 0;
    this.#steps.clear();
    this.#steps.expect(stepNames(0));
    this.#map.clear();
    this.#countAirports();
    this.#notify("");
    page.resumed.textContent = "0";
    page.stepsHint.hidden = false;
    page.bars.replaceChildren();
    page.barsEmpty.hidden = false;
    page.rejected.hidden = true;
    this.#setStatus("pending");
  }

  /**
   * @param {number} generation
   * @param {(message: string) => void} write
   */
  #claimed(generation, write) {
    this.#isResumed = generation > 1;
    page.resumed.textContent = `${generation - 1}`;
    write(this.#isResumed ? "The run is resumed: its function starts at the top again" : "The run starts");
    this.#setStatus("running");
  }

  /** @param {import("./views.js").Mark} mark @param {string} name */
  #setMark(name, mark) {
    this.#steps.mark(name, mark);
    page.ran.textContent = `${this.#steps.count("ran")}`;
    page.fromCheckpoint.textContent = `${this.#steps.count("checkpoint")}`;
    if (mark === "ran") void this.#draw("ran");
    if (mark === "running" && this.#isResumed && this.#steps.count("checkpoint") > 0) {
      this.#isResumed = false;
      const count = this.#steps.count("checkpoint");
      this.#notify(`Resumed: ${count} steps came from their checkpoints, and none of them ran again.`);
    }
  }

  /** @param {{ current: number, total: number }} progress */
  #setProgress({ current, total }) {
    if (total !== this.#total) this.#steps.expect(stepNames(total));
    // A resumed job function counts from the start again; what is stored stays stored.
    this.#current = Math.max(current, this.#current);
    this.#total = total;
    page.stepsHint.hidden = true;
    this.#showProgress();
  }

  #showProgress() {
    const part = this.#total ? this.#current / this.#total : 0;
    page.progress.value = part;
    page.percent.textContent = this.#total ? `${Math.floor(part * 100)} %` : "";
    const of = `${number(this.#current)} of ${number(this.#total)} airports stored`;
    page.progressText.textContent = this.#total ? of : this.#runId ? "Looking at the list" : "Not started";
  }

  /** @param {{ stored: number, rejected: Record<string, string[]>, by_state: Record<string, number> }} summary */
  #complete(summary) {
    const rejected = Object.values(summary.rejected).flat().length;
    this.#setStatus("completed");
    drawBars(page.bars, summary.by_state, (state) => this.#map.highlight(state), this.#ending.signal);
    page.barsEmpty.hidden = true;
    listReasons(page.reasons, summary.rejected);
    page.rejected.hidden = rejected === 0;
    page.progressText.textContent =
      `${number(summary.stored + rejected)} rows: ${number(summary.stored)} stored, ${rejected} rejected`;
    void this.#draw("ran");
  }

  /** @param {{ type: string, message: string }} error */
  #fail(error) {
    this.#setStatus("failed");
    this.#notify(`The run failed: ${error.message}`, "problem");
  }

  /** @param {string} message */
  #crash(message) {
    this.#setStatus("stopped");
    this.#log.write(message, "error", Date.now());
    this.#notify(message.trim().split("\n").at(-1) ?? "", "problem");
    page.progress.value = 0;
    page.progressText.textContent = "Python has stopped";
    this.#ending.abort();
  }

  /** @param {string} status */
  #setStatus(status) {
    page.status.textContent = page.status.dataset.status = status;
    const isActive = status === "pending" || status === "running";
    const isOver = ENDED.includes(status);
    page.start.disabled = !(status === "ready" || isOver);
    page.start.textContent = isOver ? "Start over" : "Start";
    page.cancel.disabled = !isActive;
    page.reload.classList.toggle("inviting", status === "running");
    if (isOver) this.#steps.rest();
    if (isActive || isOver || status === "ready") this.#showProgress();
  }

  /** @param {string} message @param {string} [kind] */
  #notify(message, kind = "info") {
    page.notice.textContent = message;
    page.notice.dataset.kind = kind;
    page.notice.hidden = !message;
    page.lead.hidden = Boolean(message);
  }

  /**
   * Draw what is stored; calls while a drawing waits are one.
   * @param {"ran" | "checkpoint"} mark
   */
  #draw(mark) {
    if (!this.#isDrawn) return this.#drawing;
    this.#isDrawn = false;
    this.#drawing = this.#drawing.then(async () => {
      this.#isDrawn = true;
      const life = this.#life;
      const airports = JSON.parse(await read_all());
      if (life !== this.#life) return;
      this.#map.add(airports, mark);
      this.#countAirports();
    }).catch((error) => this.#notify(`The stored airports cannot be read: ${error}`, "problem"));
    return this.#drawing;
  }

  #countAirports() {
    const { size } = this.#map;
    page.mapCount.textContent = size ? `${number(size)} airports` : "";
    this.#caption(null);
  }

  /** @param {string | null} text */
  #caption(text) {
    const { size, beyond } = this.#map;
    const rest = beyond ? ` ${beyond} lie on Pacific islands beyond the edge.` : "";
    page.mapCaption.textContent =
      text ?? (size ? `Each dot is one airport in IndexedDB.${rest}` : "");
  }
}

/**
 * The names of the job's steps, in order; those that save are known with the number of airports.
 * @param {number} total
 */
function stepNames(total) {
  const batches = Array.from({ length: Math.ceil(total / BATCH_SIZE) }, (_, index) => index * BATCH_SIZE);
  return ["fetch", "validate", ...batches.map((start) => `save-${start}`), "summarise"];
}

/** @param {number} value */
function number(value) {
  return value.toLocaleString("en-US");
}

await new Demo().open();
