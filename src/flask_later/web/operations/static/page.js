// The progress page, live: what the server renders anew takes the place of what is shown.
// There is no text in here, so that templates which an app overrides stay in charge.

import { follow } from "./later-follow.js";

const isDone = (page) => page.querySelector("[data-later-done]") !== null;

async function read(response) {
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  tellLocalTime(page);
  return { done: isDone(page), page };
}

function tellLocalTime(page) {
  for (const time of page.querySelectorAll("time[datetime]")) {
    time.textContent = new Date(time.dateTime).toLocaleTimeString();
  }
}

function show({ page }) {
  document.title = page.title;
  for (const part of document.querySelectorAll("[data-later-live]")) {
    const next = page.getElementById(part.id);
    if (next) keepInView(part, () => renew(part, next));
  }
}

// Elements stay, and change: so the bar can glide, and a screen reader notices only what is new.
function renew(part, next) {
  for (const name of part.getAttributeNames()) {
    if (!next.hasAttribute(name)) part.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (part.getAttribute(name) !== value) part.setAttribute(name, value);
  }
  if (part.innerHTML === next.innerHTML) return;
  const hadFocus = part.contains(document.activeElement);
  part.replaceChildren(...next.childNodes);
  if (hadFocus) document.querySelector("h1")?.focus();
}

// Who reads the end of the log goes on doing so; who reads further up stays there.
function keepInView(part, change) {
  const isAtEnd = part.scrollHeight - part.scrollTop - part.clientHeight < 8;
  change();
  if (isAtEnd) part.scrollTop = part.scrollHeight;
}

function end(last) {
  const result = document.querySelector("a[data-later-result]");
  if (last === null) location.reload();
  else if (result) location.assign(result.href);
}

tellLocalTime(document);
if (!isDone(document)) follow(location.href, { accept: "text/html", read, onUpdate: show, onEnd: end });
