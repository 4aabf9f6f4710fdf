// A rate over time with its interval and a limit, as SVG; the same figures follow as a table for screen readers.

import { make } from "./dom.js";
import { percent, word } from "./words.js";

const WIDTH = 400, HEIGHT = 180, LEFT = 56, RIGHT = 12, TOP = 12, BOTTOM = 28;

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** @param {{label: string, value: number|null, low: number|null, high: number|null}[]} points */
export function chart(points, limit, title) {
  const shown = points.filter(({ value }) => value !== null);
  const most = Math.max(0.01, limit ?? 0, ...shown.map(({ high, value }) => high ?? value)) * 1.1;
  const x = (i) => LEFT + ((i + 0.5) * (WIDTH - LEFT - RIGHT)) / shown.length;
  const y = (value) => HEIGHT - BOTTOM - (value / most) * (HEIGHT - TOP - BOTTOM);
  const line = (value, name) => svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value), class: name });
  const text = (value, words, at = LEFT - 6, anchor = "end") => svg("text", { x: at, y: value, "text-anchor": anchor }, words);
  const parts = [line(0, "axis"), text(y(0) + 4, percent(0)), text(y(most / 1.1) + 4, percent(most / 1.1))];
  shown.forEach(({ value, low, high }, i) => {
    const half = Math.min(12, (WIDTH - LEFT - RIGHT) / shown.length / 3);
    parts.push(svg("rect", { x: x(i) - half, width: 2 * half, y: y(high ?? value), height: Math.max(1, y(low ?? value) - y(high ?? value)), class: "band" }));
    parts.push(svg("circle", { cx: x(i), cy: y(value), r: 4, fill: "currentColor" }));
  });
  parts.push(svg("polyline", { points: shown.map(({ value }, i) => `${x(i)},${y(value)}`).join(" "), class: "line" }));
  if (limit !== null) parts.push(line(limit, "limit"), text(Math.max(y(limit) - 4, TOP), word("js.sentinel.certified", { limit: percent(limit) }), WIDTH - RIGHT));
  if (shown.length) {
    parts.push(text(HEIGHT - 8, shown[0].label, LEFT, "start"));
    if (shown.length > 1) parts.push(text(HEIGHT - 8, shown.at(-1).label, WIDTH - RIGHT, "end"));
  }
  const head = ["day", "rate", "low", "high"].map((key) => make("th", { scope: "col" }, word(`js.sentinel.${key}`)));
  const rows = shown.map(({ label, value, low, high }) =>
    make("tr", {}, make("th", { scope: "row" }, label), ...[value, low, high].map((one) => make("td", {}, one === null ? "–" : percent(one)))));
  const figure = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart", role: "img", "aria-label": title }, ...parts);
  return make("figure", {}, figure, make("figcaption", { class: "hint" }, title), make("div", { class: "sr" }, make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows))));
}
