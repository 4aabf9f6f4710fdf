// Accounts, profiles, savings, the sentinel, the last accesses.

import { ask, make, one, say, start, tableRow } from "./dom.js";
import { chart } from "./chart.js";
import { bytes, day, duration, moment, number, percent, word } from "./words.js";

const ADMIN = "/api/v1/admin";
const button = (text, click) => make("button", { type: "button", class: "quiet", click }, text);
const row = (...cells) => tableRow({}, ...cells);

/** Run an action and show its outcome. */
async function act(action) {
  try {
    const warnings = (await action()) ?? [];
    say([word("js.saved"), ...warnings].join("; "), warnings.length ? "" : "good");
  } catch (error) {
    say(error.message, "bad");
  }
}

async function accounts() {
  const found = (await ask("GET", `${ADMIN}/accounts`)).accounts;
  const own = document.documentElement.dataset.name;
  one("#accounts").replaceChildren(...found.map((account) => {
    const turn = () => act(async () => {
      await ask("PATCH", `${ADMIN}/accounts/${account.id}`, { disabled: !account.disabled });
      await accounts();
    });
    const state = word(account.disabled ? "js.disabled" : "js.enabled");
    const change = account.name === own ? "" : button(word(account.disabled ? "js.enable" : "js.disable"), turn);
    if (change) change.setAttribute("aria-label", `${change.textContent}: ${account.name}`);
    return row(account.name, word(`role.${account.role}`), account.clinic, state, change);
  }));
}

async function profiles() {
  const found = (await ask("GET", `${ADMIN}/profiles`)).profiles;
  one("#profiles").replaceChildren(...found.map((profile) => {
    const turn = () => act(async () => {
      await ask("POST", `${ADMIN}/profiles/${profile.id}/activate`);
      await profiles();
    });
    const change = profile.active ? "" : button(word("js.activate"), turn);
    if (change) change.setAttribute("aria-label", `${change.textContent}: ${profile.id}`);
    return row(make("code", {}, profile.id), make("code", {}, profile.point), profile.expires ? day(profile.expires) : "", word(profile.active ? "js.active" : "js.inactive"), change);
  }));
}

async function saved() {
  const found = await ask("GET", `${ADMIN}/stats`);
  const facts = {
    exams: number(Object.values(found.exams).reduce((sum, n) => sum + n, 0)),
    source_bytes: bytes(found.source_bytes), payload_bytes: bytes(found.payload_bytes),
    saved_bytes: bytes(found.saved_bytes), saved_seconds: duration(found.saved_seconds),
  };
  one("#saved").replaceChildren(...Object.entries(facts).map(([key, text]) =>
    make("div", {}, make("dt", {}, word(`js.figure.${key}`, { link: found.link })), make("dd", {}, text))));
}

async function sentinel() {
  const found = await ask("GET", `${ADMIN}/sentinel`), place = one("#sentinel");
  if (!found.pairs) return place.replaceChildren(make("p", {}, word("js.sentinel.none")));
  const { flips } = found, share = (value) => (value === null ? "–" : percent(value));
  const values = { flips: number(flips.value * flips.n), pairs: found.pairs, rate: share(flips.value), low: share(flips.low), high: share(flips.high) };
  const limit = found.certified === null ? found.reason : word("js.sentinel.limit", { limit: share(found.certified) });
  const alarm = make("p", { class: found.alarm ? "notice bad" : "good" }, word(found.alarm ? "js.sentinel.alarm" : "js.sentinel.quiet"));
  const points = found.periods.map(({ start: at, flips: rate }) => ({ label: day(at), ...rate }));
  place.replaceChildren(alarm, make("p", {}, `${word("js.sentinel.flips", values)}; ${limit}`), chart(points, found.certified, word("js.sentinel.chart")));
}

async function audit() {
  const { entries } = await ask("GET", `${ADMIN}/audit?limit=50`);
  one("#audit").replaceChildren(...entries.map((entry) => row(moment(entry.at), entry.account, `${entry.action} ${entry.target}`, String(entry.status))));
}

start();
one("#new-account").addEventListener("submit", (event) => {
  event.preventDefault();
  const { name, role, clinic, password } = event.target.elements;
  const values = { name: name.value, role: role.value, clinic: clinic.value, password: password.value };
  act(async () => {
    await ask("POST", `${ADMIN}/accounts`, values);
    event.target.reset();
    await accounts();
  });
});
one("#profile-file").addEventListener("change", ({ target }) => act(async () => {
  let document = null;
  try {
    document = JSON.parse(await target.files[0].text());
  } catch {
    throw new Error(word("js.no-profile"));
  } finally {
    target.value = "";
  }
  const { warnings } = await ask("POST", `${ADMIN}/profiles`, document);
  await profiles();
  return warnings;
}));
// The list of accesses is long: it is fetched for those who open it.
one("#accesses").addEventListener("toggle", ({ target }) => target.open && audit().catch((error) => say(error.message, "bad")));
for (const part of [saved, sentinel, accounts, profiles]) part().catch((error) => say(error.message, "bad"));
