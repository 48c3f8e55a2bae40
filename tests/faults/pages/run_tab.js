/**
 * Load Pyodide and durably, and play the plans of the campaign, one after the other.
 * @param {{ tab: string, thread: string }} options
 * @returns {Promise<(command: Record<string, any>) => void>} `{ start: plan }` or `{ leave: true }`,
 *   and at once, even while Python still loads, `{ clock: ms }`
 */
export function runTab({ tab }) {
  const life = `${tab}.${crypto.randomUUID().slice(0, 8)}`;
  const report = reporter(tab, life);
  const jump = jumpingClock();
  const player = load(tab, life, report, jump);
  player.catch((error) => report({ kind: "broken", text: String(error) }));
  return Promise.resolve((command) => {
    if ("clock" in command) jump(command.clock);
    else void player.then((play) => play(JSON.stringify(command)));
  });
}

async function load(tab, life, report, jump) {
  await import("/web/without_stack_switching.js");
  const { loadPyodide } = await import("/pyodide/pyodide.mjs");
  const [pyodide, wheel, program] = await Promise.all([
    loadPyodide(),
    fetched("/wheel.whl").then((answer) => answer.arrayBuffer()),
    fetched("/faults/program.py").then((answer) => answer.text()),
  ]);
  pyodide.unpackArchive(wheel, "wheel");
  pyodide.FS.writeFile("/home/pyodide/program.py", program);
  let play;
  pyodide.registerJsModule("tab", {
    tab, life,
    tell: (text) => report(JSON.parse(text)),
    begin: (text) => post([{ ...JSON.parse(text), tab, life }]),
    onCommand: (callback) => { play = callback.copy(); },
  });
  await pyodide.runPythonAsync("import program");
  globalThis.isLoaded = true;
  const plan = await (await fetched("/plan")).json();
  report({ kind: "ready", plan: plan?.database ?? null });
  if (plan) {
    jump(plan.clock);
    play(JSON.stringify({ start: plan }));
  }
  return play;
}

/** What a page of an app would fetch again when the network is back. */
async function fetched(url) {
  for (;;) {
    try {
      const answer = await fetch(url);
      if (answer.ok) return answer;
    } catch {
      // Offline.
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Milliseconds of the wall clock, as no jump of `Date` changes them. */
function now() {
  return performance.timeOrigin + performance.now();
}

const ANSWER_TIMEOUT_MS = 2000;

async function post(events) {
  const answer = await fetch("/log", {
    method: "POST",
    keepalive: true, // What was acknowledged was so, also where the page is gone a moment later.
    body: JSON.stringify(events.map((event) => ({ at: now(), ...event }))),
    // Chromium may never answer a page that it has frozen meanwhile. Told twice counts once.
    signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
  });
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
}

/** Lines in one request: what is to outlive its page may have 64 KiB at most, in every browser. */
const MOST_TOLD = 50;

/** Tells the server, in order and until it has heard. */
function reporter(tab, life) {
  let unsent = [], isSending = false;
  async function send() {
    isSending = true;
    while (unsent.length) {
      const events = unsent.splice(0, MOST_TOLD);
      try {
        await post(events);
      } catch {
        unsent = [...events, ...unsent];
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    isSending = false;
  }
  return (event) => {
    unsent.push({ at: now(), ...event, tab, life });
    if (!isSending) void send();
  };
}

/** `Date` and Python's `time.time()` tell another time from now on; timers and `performance` do not. */
function jumpingClock() {
  const { now: right } = Date;
  let offset = 0;
  Date.now = () => right() + offset;
  return (milliseconds) => { offset = milliseconds; };
}
