// Follow an operation of Flask-Later on a page of your own, until it ends.
//
//   const operation = await follow(location, { onUpdate, onEnd, signal });
//
// onUpdate(operation) gets every version of it, the last one included. onEnd(operation) is called
// once, and follow() returns the same: the finished operation, or null where there is nothing for
// us any more (unknown, expired, logged out). After an abort it returns null and calls nothing.
//
// Its events are heard where the server offers them; otherwise it is asked for as often as the
// server says. While nobody looks at the tab, nobody asks.

const PAUSE = 2;
const LONGEST_PAUSE = 60;
const PATIENCE = 30_000;
const TEMPORARY = [408, 425, 429];

export async function follow(url, options = {}) {
  const { onUpdate, onEnd, signal = new AbortController().signal } = options;
  // For other representations than JSON: read() makes { done, ... } of a response.
  const { accept = "application/json", read = (response) => response.json() } = options;
  const headers = { Accept: accept };
  let hears = true;
  let failures = 0;

  const end = (operation) => {
    onEnd?.(operation);
    return operation;
  };

  while (!signal.aborted) {
    const { operation, gone, failed, pause } = await ask(url, headers, read, signal);
    if (signal.aborted) break;
    if (gone) return end(null);
    if (operation) onUpdate?.(operation);
    if (operation?.done) return end(operation);
    if (hears && operation?.links?.events) {
      const heard = await hear(operation.links.events, onUpdate, signal);
      if (heard.operation) return end(heard.operation);
      hears = !heard.refused;
    }
    failures = failed ? failures + 1 : 0;
    const patience = failed ? 2 ** failures * (0.5 + Math.random() / 2) : 0;
    await rest(Math.min(Math.max(patience, pause || PAUSE), LONGEST_PAUSE), signal);
  }
  return null;
}

// Ask once. Nothing of this throws: what fails is tried again.
async function ask(url, headers, read, signal) {
  try {
    const response = await fetch(url, {
      headers,
      cache: "no-store",
      redirect: "manual", // to a login, say
      signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]),
    });
    const pause = Number(response.headers.get("Retry-After"));
    if (response.status === 304) return { pause };
    if (!response.ok) {
      const failed = response.status >= 500 || TEMPORARY.includes(response.status);
      return { pause, failed, gone: !failed };
    }
    const operation = await read(response);
    headers["If-None-Match"] = response.headers.get("ETag") ?? "";
    return { pause, operation };
  } catch {
    return { failed: true };
  }
}

// Listen until the operation ends, the server refuses, or nobody looks any more.
function hear(url, onUpdate, signal) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(url);
    const left = new AbortController();
    const leave = (settle, value) => {
      source.close();
      left.abort();
      settle(value);
    };
    const take = ({ data }) => {
      try {
        const operation = JSON.parse(data);
        onUpdate?.(operation);
        if (operation.done) leave(resolve, { operation });
      } catch (error) {
        leave(reject, error);
      }
    };
    for (const kind of ["state", "progress", "end"]) source.addEventListener(kind, take);
    source.onerror = () => source.readyState === source.CLOSED && leave(resolve, { refused: true });
    const stop = () => leave(resolve, {});
    document.addEventListener("visibilitychange", stop, { signal: left.signal });
    signal.addEventListener("abort", stop, { signal: left.signal });
  });
}

// Wait so many seconds; and then, while nobody looks, until somebody does.
function rest(seconds, signal) {
  return new Promise((resolve) => {
    const over = new AbortController();
    const wake = () => {
      clearTimeout(timer);
      over.abort();
      resolve();
    };
    const look = () => document.hidden || wake();
    const timer = setTimeout(look, seconds * 1000);
    document.addEventListener("visibilitychange", look, { signal: over.signal });
    signal.addEventListener("abort", wake, { signal: over.signal });
  });
}
