// Creation of elements and requests to the service; text is never interpreted as markup.

import { failure, word } from "./words.js";

export const one = (selector, from = document) => from.querySelector(selector);
export const all = (selector, from = document) => [...from.querySelectorAll(selector)];

/** Make an element; `class`, `data-*` and `aria-*` are attributes, functions are listeners, the rest properties. */
export function make(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === null || value === undefined) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name === "class" || name.includes("-") || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A row of a table; its first cell names it. The roles stay where a phone's layout takes the table's own away. */
export const tableRow = (options, ...cells) =>
  make("tr", { role: "row", ...options }, ...cells.map((cell, i) => make(i ? "td" : "th", i ? { role: "cell" } : { role: "rowheader", scope: "row" }, ...[cell].flat())));

/** Values that the server put into the page. */
export const given = (id) => JSON.parse(one(`#${id}`)?.textContent || "null");

/** Show a notice, announced to screen readers as well. */
export function say(text, kind = "") {
  const place = one("#notice");
  place.textContent = text;
  place.className = `notice ${kind}`; // an empty one takes no room, and stays in the page: else it would not be read out
}

/** An error, from the service's problem document. */
export class Problem extends Error {
  constructor(status, detail, retryAfter = 0) {
    super(failure(status, detail));
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

let csrf = document.documentElement.dataset.csrf ?? "";

export const csrfToken = () => csrf;

/** Fetch the current login: a cached page may contain the token of an older one. */
export async function refreshCsrf() {
  const response = await fetch("/api/v1/me", { headers: { Accept: "application/json" } });
  if (!response.ok) return false;
  csrf = (await response.json()).csrf;
  return true;
}

/** Send a request; returns its JSON (null for none) or throws a `Problem`. */
export async function ask(method, path, body = undefined, again = true) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-CSRF-Token"] = csrf;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Problem(0);
  }
  if (response.status === 403 && method !== "GET" && again && path !== "/api/v1/login" && (await refreshCsrf())) {
    return ask(method, path, body, false);
  }
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    throw new Problem(response.status, problem.detail, Number(response.headers.get("Retry-After")) || 0);
  }
  return response.status === 204 ? null : response.json();
}

/** Common parts of every page: logout, and the service worker for offline use. */
export function start() {
  one("#logout")?.addEventListener("click", async () => {
    await ask("POST", "/api/v1/logout").catch(() => {});
    await navigator.serviceWorker?.controller?.postMessage("forget");
    location.assign("/login");
  });
  navigator.serviceWorker?.register("/sw.js").catch(() => {});
}
