// @ts-check
/** The parts of the page that show something; demo.js tells them what. */

/** @typedef {"pending" | "running" | "ran" | "checkpoint" | "failed"} Mark */

const SVG = "http://www.w3.org/2000/svg";
/** @type {Record<Mark, string>} */
const MARK_TEXT = {
  pending: "not run yet",
  running: "running",
  ran: "ran",
  checkpoint: "from checkpoint",
  failed: "failed",
};
const LOG_LIMIT = 500;
const BARS = 10;

/**
 * @template {Element} T
 * @param {string} id
 * @param {{ new (...args: any[]): T }} kind
 * @returns {T}
 */
export function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`The page has no ${kind.name} #${id}.`);
  return /** @type {T} */ (found);
}

/** The cells of the steps, each with a mark. */
export class StepGrid {
  #list;
  /** @type {Map<string, { mark: Mark, cell: HTMLLIElement }>} */
  #steps = new Map();

  /** @param {HTMLOListElement} list */
  constructor(list) {
    this.#list = list;
  }

  clear() {
    this.#steps.clear();
    this.#list.replaceChildren();
  }

  /**
   * Show these steps in this order, those that have not run as pending.
   * @param {string[]} names
   */
  expect(names) {
    this.#list.append(...names.map((name) => this.#step(name).cell));
  }

  /**
   * @param {string} name
   * @param {Mark} mark
   */
  mark(name, mark) {
    const step = this.#step(name);
    step.mark = mark;
    step.cell.dataset.mark = mark;
    step.cell.title = `${name}: ${MARK_TEXT[mark]}`;
    step.cell.replaceChildren(icon(mark), text("span", name), text("span", MARK_TEXT[mark], "spoken"));
  }

  /** @param {string} name */
  markOf(name) {
    return this.#steps.get(name)?.mark ?? "pending";
  }

  /** @param {Mark} mark */
  count(mark) {
    return [...this.#steps.values()].filter((step) => step.mark === mark).length;
  }

  /** Nothing is running any more. */
  rest() {
    for (const [name, { mark }] of this.#steps) if (mark === "running") this.mark(name, "pending");
  }

  /** @param {string} name */
  #step(name) {
    let step = this.#steps.get(name);
    if (!step) {
      step = { mark: /** @type {Mark} */ ("pending"), cell: document.createElement("li") };
      step.cell.dataset.step = name;
      this.#steps.set(name, step);
      this.#list.append(step.cell);
      this.mark(name, "pending");
    }
    return step;
  }
}

/** The log, which keeps its end in view unless the reader has scrolled up. */
export class Log {
  #list;

  /** @param {HTMLOListElement} list */
  constructor(list) {
    this.#list = list;
  }

  /**
   * @param {string} message
   * @param {string} kind `ran`, `checkpoint`, `warning`, `error` or `info`
   * @param {number} at UTC milliseconds
   */
  write(message, kind, at) {
    const list = this.#list;
    const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    const line = document.createElement("li");
    line.dataset.kind = kind;
    const time = new Date(at).toTimeString().slice(0, 8);
    line.append(text("time", time), text("span", message));
    list.append(line);
    while (list.childElementCount > LOG_LIMIT) list.firstElementChild?.remove();
    if (isAtEnd) list.scrollTop = list.scrollHeight;
  }
}

/**
 * The states with the most airports, as bars.
 * @param {HTMLOListElement} list
 * @param {Record<string, number>} byState
 * @param {(state: string | null) => void} pointed called with the state under the pointer
 * @param {AbortSignal} signal
 */
export function drawBars(list, byState, pointed, signal) {
  const top = Object.entries(byState).sort((a, b) => b[1] - a[1]).slice(0, BARS);
  const most = top[0]?.[1] ?? 1;
  list.replaceChildren(...top.map(([state, count]) => {
    const row = document.createElement("li");
    const bar = text("span", "", "bar");
    bar.style.setProperty("--part", `${count / most}`);
    row.append(text("span", state, "state"), bar, text("span", `${count}`, "count"));
    row.addEventListener("pointerenter", () => pointed(state), { signal });
    row.addEventListener("pointerleave", () => pointed(null), { signal });
    return row;
  }));
}

/**
 * @param {HTMLElement} list
 * @param {Record<string, string[]>} rejected codes by reason
 */
export function listReasons(list, rejected) {
  list.replaceChildren(...Object.entries(rejected).flatMap(([reason, codes]) => [
    text("dt", `${codes.length} with ${reason}`.replace("with not", "not")),
    text("dd", codes.join(", ")),
  ]));
}

/**
 * @param {string} tag
 * @param {string} content
 * @param {string} [className]
 */
function text(tag, content, className) {
  const made = document.createElement(tag);
  made.textContent = content;
  if (className) made.className = className;
  return made;
}

/** @param {Mark} mark */
function icon(mark) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${mark}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}
