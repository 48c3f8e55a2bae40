import { runTab } from "/faults/run_tab.js";

let command;
addEventListener("message", async ({ data }) => {
  if (data.options) command = runTab(data.options);
  if (data.command) (await command)(data.command);
});
