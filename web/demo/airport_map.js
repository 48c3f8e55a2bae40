// @ts-check
/**
 * A dot map of the United States: Albers' equal-area conic projection (Snyder, Map Projections, 1987,
 * section 14), with Alaska, Hawaii and Puerto Rico set in, as in d3's geoAlbersUsa.
 */

/** @typedef {import("./airport_store.js").Airport} Airport */

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 960;
const HEIGHT = 590;
const SCALE = 1120;
const NEAR_PX = 10;

/** @typedef {(longitude: number, latitude: number) => [x: number, y: number]} Projection */

/**
 * @param {[longitude: number, latitude: number]} center
 * @param {[south: number, north: number]} parallels
 * @param {[x: number, y: number]} at where the center lies in the drawing
 * @param {number} scale
 * @returns {Projection}
 */
function albers(center, parallels, at, scale) {
  const radians = (/** @type {number} */ degrees) => (degrees * Math.PI) / 180;
  const south = Math.sin(radians(parallels[0]));
  const n = (south + Math.sin(radians(parallels[1]))) / 2;
  const c = 1 - south * south + 2 * n * south;
  const radius = (/** @type {number} */ latitude) =>
    Math.sqrt(c - 2 * n * Math.sin(radians(latitude))) / n;
  const middle = radius(center[1]);
  return (longitude, latitude) => {
    const angle = n * radians(longitude - center[0]);
    const r = radius(latitude);
    return [at[0] + scale * r * Math.sin(angle), at[1] + scale * (r * Math.cos(angle) - middle)];
  };
}

const MAINLAND = albers([-96.6, 38.7], [29.5, 45.5], [490, 252], SCALE);
const CARIBBEAN = albers([-66, 18], [8, 18], [872, 528], SCALE);
/** @type {Record<string, Projection>} */
const INSETS = {
  AK: albers([-154, 60.5], [55, 65], [138, 478], SCALE * 0.36),
  HI: albers([-157.4, 20.6], [8, 18], [336, 520], SCALE),
  PR: CARIBBEAN,
  VI: CARIBBEAN,
};
const BEYOND = new Set(["AS", "CQ", "GU"]);
const FRAMES = [
  { name: "Alaska, smaller", x: 6, y: 380, width: 256, height: 204, anchor: "end" },
  { name: "Hawaii", x: 272, y: 470, width: 128, height: 114, anchor: "start" },
  { name: "Puerto Rico", x: 802, y: 488, width: 152, height: 96, anchor: "start" },
];

export class AirportMap {
  #svg;
  #dots = drawn("g", {});
  #ring = drawn("circle", { r: 6, class: "ring" });
  /** @type {Map<string, SVGPathElement>} */
  #paths = new Map();
  /** @type {Map<string, { airport: Airport, x: number, y: number }>} */
  #drawn = new Map();
  #beyond = new Set();

  /**
   * @param {SVGSVGElement} svg
   * @param {(airport: Airport | null) => void} pointed called with the airport under the pointer
   * @param {AbortSignal} signal
   */
  constructor(svg, pointed, signal) {
    this.#svg = svg;
    for (const { name, anchor, ...box } of FRAMES) {
      const frame = drawn("rect", { ...box, rx: 8 });
      const x = anchor === "end" ? box.x + box.width - 10 : box.x + 10;
      const label = drawn("text", { x, y: box.y + box.height - 10, "text-anchor": anchor });
      label.textContent = name;
      svg.append(frame, label);
    }
    const hint = drawn("text", { x: WIDTH / 2, y: HEIGHT * 0.4, class: "hint" });
    hint.textContent = "Each airport appears here when it is stored";
    svg.append(hint, this.#dots, this.#ring);
    this.#point(null);
    svg.addEventListener("pointermove", (event) => {
      const airport = this.#near(event);
      this.#point(airport);
      pointed(airport);
    }, { signal });
    svg.addEventListener("pointerleave", () => {
      this.#point(null);
      pointed(null);
    }, { signal });
  }

  /** How many airports are stored, drawn or not. */
  get size() {
    return this.#drawn.size + this.#beyond.size;
  }

  /** How many of them lie outside of this map. */
  get beyond() {
    return this.#beyond.size;
  }

  clear() {
    this.#paths.clear();
    this.#drawn.clear();
    this.#beyond.clear();
    this.#dots.replaceChildren();
    this.#svg.dataset.dots = "0";
  }

  /**
   * Draw the airports that are not drawn yet.
   * @param {Airport[]} airports
   * @param {string} mark where they come from: `ran` or `checkpoint`
   */
  add(airports, mark) {
    /** @type {Map<SVGPathElement, string[]>} */
    const added = new Map();
    for (const airport of airports) {
      if (this.#drawn.has(airport.iata) || this.#beyond.has(airport.iata)) continue;
      const project = INSETS[airport.state] ?? MAINLAND;
      const [x, y] = project(airport.longitude, airport.latitude);
      if (BEYOND.has(airport.state) || !(x >= 0 && x <= WIDTH && y >= 0 && y <= HEIGHT)) {
        this.#beyond.add(airport.iata);
        continue;
      }
      this.#drawn.set(airport.iata, { airport, x, y });
      const path = this.#path(airport.state, mark);
      const dots = added.get(path) ?? [];
      // A line of no length with round ends is a dot, and a path of them one element for a state.
      dots.push(`M${x.toFixed(1)} ${y.toFixed(1)}h0`);
      added.set(path, dots);
    }
    for (const [path, dots] of added) {
      path.setAttribute("d", (path.getAttribute("d") ?? "") + dots.join(""));
    }
    this.#svg.dataset.dots = `${this.#drawn.size}`;
  }

  /**
   * Let one state stand out.
   * @param {string | null} state
   */
  highlight(state) {
    this.#svg.classList.toggle("highlighting", state !== null);
    for (const path of this.#paths.values()) {
      path.classList.toggle("highlighted", path.dataset.state === state);
    }
  }

  /**
   * @param {string} state
   * @param {string} mark
   */
  #path(state, mark) {
    const key = `${mark} ${state}`;
    let path = this.#paths.get(key);
    if (!path) {
      path = drawn("path", { "data-state": state, "data-mark": mark });
      this.#dots.append(path);
      this.#paths.set(key, path);
    }
    return path;
  }

  /**
   * @param {PointerEvent} event
   * @returns {Airport | null}
   */
  #near(event) {
    const matrix = this.#svg.getScreenCTM();
    if (!matrix) return null;
    const pointer = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    let nearest = null;
    let shortest = NEAR_PX / matrix.a;
    for (const { airport, x, y } of this.#drawn.values()) {
      const distance = Math.hypot(pointer.x - x, pointer.y - y);
      if (distance < shortest) [nearest, shortest] = [airport, distance];
    }
    return nearest;
  }

  /** @param {Airport | null} airport */
  #point(airport) {
    const place = airport && this.#drawn.get(airport.iata);
    this.#ring.toggleAttribute("hidden", !place);
    if (!place) return;
    this.#ring.setAttribute("cx", `${place.x}`);
    this.#ring.setAttribute("cy", `${place.y}`);
  }
}

/**
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string | number>} attributes
 */
function drawn(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, `${value}`);
  return made;
}
