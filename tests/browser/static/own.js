// Follows the operation that the page names, and keeps for the test what it heard.

const { operation, module } = document.body.dataset;
const { follow } = await import(module);
const stop = new AbortController();
const heard = { updates: [], ends: [], returned: undefined };
Object.assign(window, { heard, stop });

heard.returned = await follow(operation, {
  signal: stop.signal,
  onUpdate(operation) {
    heard.updates.push(operation);
    document.getElementById("last").textContent = `${operation.status} ${operation.progress?.percent}`;
  },
  onEnd: (operation) => heard.ends.push(operation),
});
document.getElementById("last").textContent = "over";
