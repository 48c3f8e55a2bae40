import { runProgram } from "/pages/run_program.js";

let ask;
addEventListener("message", async ({ data }) => {
  const say = (said) => postMessage({ said });
  if (data.options) {
    ask = await runProgram(data.options, say)
      .catch((error) => say({ kind: "crash", text: String(error) }));
  }
  if (data.asked) ask(data.asked);
});
