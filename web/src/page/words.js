// Words and numbers in the page's language; the strings are the service's, one file per language.

import en from "../../../src/bitdose/service/web/locale/en.json";
import pt from "../../../src/bitdose/service/web/locale/pt.json";

const language = document.documentElement.lang === "pt" ? "pt" : "en";
const strings = { en, pt }[language];
// Dates and numbers as this person writes them (24 hours in Britain, not in America), if it is the page's language.
const locale = navigator.languages?.find((name) => name.startsWith(language)) ?? language;

/** The string of a key, its `{name}`s filled in; an unknown key shows itself. */
export function word(key, values = {}) {
  return (strings[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** Message of a status; on an English page the service's own detail, if any, replaces it. */
export function failure(status, detail = "") {
  if (!status) return word("js.offline");
  if (detail && language === "en") return detail;
  const kind = strings[`js.failed.${status}`] ?? word("js.failed", { status });
  return detail ? `${kind} (${detail})` : kind;
}

export const number = (value, digits = 0) =>
  new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);

export const percent = (value) =>
  new Intl.NumberFormat(locale, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(value);

export const moment = (text) =>
  new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" }).format(new Date(text));

export const day = (text) => new Intl.DateTimeFormat(locale, { dateStyle: "medium" }).format(new Date(text));

/** Bytes in a suitable unit. */
export function bytes(count) {
  if (count < 1000) return `${number(count)} B`;
  return count < 1e6 ? `${number(count / 1000, 1)} kB` : `${number(count / 1e6, 1)} MB`;
}

/** Seconds, or minutes from two of them on. */
export const duration = (seconds) =>
  seconds < 120 ? word("js.seconds", { n: number(seconds, seconds < 10 ? 1 : 0) }) : word("js.minutes", { n: number(seconds / 60) });

/** A metric's name for people, `sensitivity[covid-19]` with its class; and a value or a loss of it. The page knows them. */
export function metric(name) {
  const [, kind, label] = /^(\w+)(?:\[(.+)\])?$/.exec(name) ?? [null, name];
  const known = JSON.parse(document.getElementById("metrics")?.textContent ?? "{}")[kind] ?? { name: kind, percent: false };
  const figure = (value) => (known.percent ? percent(value) : number(value, 3));
  return { name: known.name + (label ? ` (${label})` : ""), figure };
}
