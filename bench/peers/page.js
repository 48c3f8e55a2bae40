// Loads the peer that the address names, and speaks with the benchmark as the tests' host page does:
// `ask` takes a question, and what is said to it is in `said`.

const { peer, ...options } = Object.fromEntries(new URLSearchParams(location.search));
/** @typedef {{ kind: string, text?: string }} Line */
/** @type {Line[]} */
const said = [];

/** @param {Line} line */
function say(line) {
  said.push(line);
  dispatchEvent(new Event("said"));
}

/** @param {unknown} error */
function crash(error) {
  say({ kind: "crash", text: error instanceof Error ? error.stack : String(error) });
}

addEventListener("unhandledrejection", ({ reason }) => crash(reason));

try {
  const { open } = await import(`/bench/peers/${peer}.js`);
  /** @type {Record<string, (count: number) => Promise<object>>} */
  const answers = await open(options);
  Object.assign(globalThis, {
    said,
    /** @param {string} question a work and a number */
    ask(question) {
      const [work, count] = question.split(" ");
      answers[work](Number(count)).then((facts) => say({ kind: question, ...facts }), crash);
    },
  });
  say({ kind: "ready" });
} catch (error) {
  Object.assign(globalThis, { said });
  crash(error);
}

export {};
