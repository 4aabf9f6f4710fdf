// Choice, coding and sending of exams, and their outcomes.

import { all, given, make, one, say, start } from "./dom.js";
import { inWorker } from "./coder.js";
import { outside } from "./limits.js";
import { ownLink, seconds } from "./links.js";
import { follow, listen } from "./live.js";
import * as queue from "./queue.js";
import * as sender from "./sender.js";
import { bytes, duration, number, percent, word } from "./words.js";

const profile = given("profile");
const list = one("#outbox"), files = one("#files"), drop = one("#drop"), picker = one("#link");
const CLIENTS = ["bitdose", "web"]; // whose kernels and codecs are these, byte for byte
const known = new Map(), followed = new Set();

const links = () => (ownLink() ? [{ ...ownLink(), name: "own" }] : []).concat(profile.links);
const link = () => links().find(({ name }) => name === picker.value) ?? links()[0];

function offerLinks() {
  const chosen = picker.value || localStorage.getItem("bitdose-link-name") || (ownLink() ? "own" : "gprs");
  picker.replaceChildren(...links().map(({ name }) => make("option", { value: name, selected: name === chosen }, name === "own" ? word("js.own-link") : name)));
}

/** One row of the outbox: name, bytes before and after, state. */
function show(item) {
  const before = known.get(item.key);
  if (before && before.state !== item.state) tell(item);
  known.set(item.key, item);
  const line = make("li", { "data-key": item.key, "data-state": item.state }, ...parts(item));
  const old = one(`li[data-key="${item.key}"]`, list);
  const focused = old?.contains(document.activeElement) ? document.activeElement.dataset.action : null;
  if (old) old.replaceWith(line);
  else list.prepend(line);
  if (focused) one(`[data-action="${focused}"]`, line)?.focus();
  one("#empty").hidden = list.children.length > 0;
  one("#tidy").hidden = !all('li[data-state="answered"], li[data-state="refused"], li[data-state="cannot"]', list).length;
}

const TOLD = ["answered", "refused", "cannot", "asking"];

/** Announce an exam's outcome to screen readers: the list itself changes too often. */
function tell(item) {
  if (TOLD.includes(item.state)) one("#said").textContent = `${item.name}: ${standing(item)}`;
}

function parts(item) {
  const name = item.idle ? word("js.pristine-of", { name: item.name }) : item.name;
  const size = item.payload?.size ?? item.size;
  const out = [make("span", { class: "name" }, name)];
  if (size) {
    const ratio = number(item.source / size, item.source / size < 10 ? 1 : 0);
    const sizes = item.idle ? bytes(size) : word("js.before-after", { before: bytes(item.source), after: bytes(size), ratio });
    const time = word("js.expected", { time: duration(seconds(link(), size)), pristine: duration(seconds(link(), item.source)) });
    out.push(make("span", { class: "hint" }, sizes, ["waiting", "sending"].includes(item.state) ? `; ${time}` : ""));
  }
  if (item.state === "sending") {
    out.push(make("progress", { max: size, value: item.sent ?? 0, "aria-label": word("js.progress", { name }) }));
  }
  out.push(make("span", { class: ["refused", "cannot"].includes(item.state) ? "bad" : "" }, standing(item, size)));
  if (item.state === "answered" && item.took) out.push(make("span", { class: "hint" }, word("js.took", { time: duration(item.took) })));
  out.push(make("span", { class: "row" }, ...actions(item)));
  return out;
}

function standing(item, size) {
  const reason = item.error === "login" ? word("js.login") : item.error;
  if (item.state === "sending") return word("js.sending", { percent: percent((item.sent ?? 0) / size) });
  if (item.state === "waiting" && reason) return word("js.waiting-for", { reason });
  if (item.state === "answered") return item.said;
  if (item.state === "asking") return word("js.burnt-in", { name: item.name });
  return word(`js.${item.state}`, { reason });
}

function actions(item) {
  const button = (action, text, click) => make("button", { type: "button", class: "quiet", "data-action": action, click }, text);
  const out = [];
  if (item.exam) out.push(make("a", { href: `/exams/${item.exam}` }, word("js.open")));
  if (item.state === "asking") out.push(button("anyway", word("js.send-anyway"), () => release(item.key)));
  if (item.state === "waiting" && item.error) out.push(button("retry", word("js.retry"), sender.poke));
  if (item.error === "login") out.push(make("a", { href: "/login?next=/send" }, word("title.login")));
  if (["waiting", "refused", "cannot", "asking"].includes(item.state)) out.push(button("remove", word("js.remove"), () => remove(item.key)));
  return out;
}

async function remove(key) {
  await queue.drop(key);
  one(`li[data-key="${key}"]`, list)?.remove();
  one("#empty").hidden = list.children.length > 0;
}

async function release(key) {
  show(await queue.change(key, { state: "waiting" }));
  sender.poke();
}

/** Code a file and put it into the outbox. */
async function add(file) {
  const key = crypto.randomUUID(), added = Date.now();
  const item = { key, name: file.name, added, source: file.size, state: "coding", idle: 0 };
  show(item);
  try {
    const made = await inWorker("code", { file, point: profile.point, pristine: one("#pristine").checked, share: profile.sentinel_share });
    const reason = outside(made.coded.meta, profile.limits);
    if (reason) throw { key: "outside", detail: reason };
    const shared = { pseudonym: queue.pseudonym(), pair: made.pristine ? queue.pseudonym() : null, client: `web/${profile.version}` };
    const state = made.burntIn ? "asking" : "waiting";
    await store({ ...item, state }, made.coded, { ...shared, profile: profile.id });
    if (made.pristine) await store({ ...item, key: `${key}-pristine`, state, idle: 1 }, made.pristine, shared);
    sender.poke();
  } catch (error) {
    const reason = error.key === "outside" ? word("js.outside", { what: error.detail }) : word(`js.${error.key}`);
    show({ ...item, state: "cannot", error: error.key ? reason : String(error.message ?? error) });
  }
}

async function store(item, { payload, meta }, more) {
  const whole = { ...item, payload: new Blob([payload]), meta: { ...meta, ...more }, sent: 0, url: null, exam: null, error: "" };
  await queue.put(whole);
  show(whole);
}

/** Follow an exam at the service until its prediction. */
function heard(item) {
  show(item);
  if (item.state === "waiting" || item.state === "sending") return;
  offerLinks();
  if (item.state !== "sent" || !item.exam || followed.has(item.key)) return;
  followed.add(item.key);
  follow(item.exam, async (exam) => {
    const { answer } = exam;
    const said = answer && word("js.answer", { label: answer.predicted, probability: percent(answer.probabilities[answer.predicted]) });
    const took = (Date.now() - item.added) / 1000;
    const changed = await queue.change(item.key, { state: answer ? "answered" : "refused", said, error: exam.reason, took });
    if (changed) show(changed);
  });
}

async function addAll(chosen) {
  for (const file of chosen) await add(file);
}

function wire() {
  files.addEventListener("change", async () => {
    const chosen = [...files.files];
    await addAll(chosen);
    files.value = "";
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop") addAll([...event.dataTransfer.files]);
    });
  }
  picker.addEventListener("change", () => {
    localStorage.setItem("bitdose-link-name", picker.value);
    known.forEach((item) => one(`li[data-key="${item.key}"]`, list) && show(item));
  });
  one("#tidy").addEventListener("click", async () => {
    const done = [...known.values()].filter(({ state }) => ["answered", "refused", "cannot"].includes(state));
    for (const { key } of done) await remove(key);
    one("#tidy").hidden = true;
  });
}

/** Coding is impossible: show the reason, accept no files. */
function unsupported(text) {
  one("#unsupported").textContent = text;
  one("#unsupported").hidden = false;
  files.disabled = true;
}

async function begin() {
  start();
  if (!profile) return;
  if (!isSecureContext) return unsupported(word("js.insecure")); // no digests, no lock, no worker for the link
  if (!CLIENTS.includes(profile.client)) return unsupported(word("js.other-client", { client: profile.client }));
  offerLinks();
  wire();
  const cannot = () => unsupported(word("js.unsupported", { point: profile.point }));
  if (profile.in_browser) inWorker("warm", { point: profile.point }).catch(({ key }) => key === "point" && cannot());
  else cannot();
  navigator.storage?.persist?.();
  for (const item of await queue.items()) heard(item);
  listen();
  sender.begin((item) => heard(item));
}

begin().catch((error) => say(error.message, "bad"));
