// Images with zoom, window and level; those of one page move together, so that coded and pristine stay comparable.

import { inWorker } from "./coder.js";
import { creeps } from "./links.js";
import { make, one, say } from "./dom.js";
import { percent, word } from "./words.js";

const FIT = { zoom: 1, x: 0, y: 0 };
const MAX_ZOOM = 32;
let place = { ...FIT };
let tone = { level: 0.5, window: 1 };
const views = [];

/** Load automatically on a fast link, on request on a slow one, where an image takes a minute. */
const isSlow = () =>
  navigator.connection?.saveData || ["slow-2g", "2g"].includes(navigator.connection?.effectiveType) || creeps();

/** Add an exam's image, or the button that loads it. */
export async function addView(exam, title) {
  const figure = make("figure", {}, make("figcaption", { class: "hint" }, title));
  one("#views").append(figure);
  if (!isSlow()) return load(figure, exam, title);
  figure.append(make("button", { type: "button", class: "quiet", click: ({ target }) => (target.remove(), load(figure, exam, title)) }, word("js.show-image")));
}

async function load(figure, exam, title) {
  try {
    const image = await fetched(exam);
    const canvas = make("canvas", { class: "view", tabIndex: 0, role: "img" });
    figure.prepend(canvas);
    views.push({ canvas, image, exam, title, base: { level: 0.5, window: 1 }, slice: 1, asked: "" });
    listen(canvas);
    if (exam.slices > 1) offerSlices(exam.slices);
    one("#tools").hidden = false;
    paint();
  } catch {
    figure.append(make("p", { class: "bad" }, word("js.no-image")));
  }
}

async function fetched(exam, query = "") {
  const response = await fetch(`/api/v1/exams/${exam.id}/image${query}`);
  if (!response.ok) throw new Error(String(response.status));
  return (await inWorker("view", { data: await response.arrayBuffer() })).image;
}

/** Navigation through a volume; every view shows the same slice. */
function offerSlices(count) {
  one("#slice").max = count;
  one("#slices").hidden = false;
}

/** The service shows 8 bits of deeper samples, in the window that was chosen, and one slice of a volume. */
async function refetch(view) {
  const deep = view.exam.bits > 8, base = deep ? { ...tone } : view.base, top = 2 ** view.exam.bits - 1;
  const query = new URLSearchParams(deep ? { window: `${base.level * top},${base.window * top}` } : {});
  const slice = view.exam.slices > 1 ? Number(one("#slice").value) : 1;
  if (view.exam.slices > 1) query.set("slice", slice - 1);
  view.asked = `?${query}`;
  const image = await fetched(view.exam, view.asked);
  if (view.asked !== `?${query}`) return; // outdated: a later request takes precedence
  Object.assign(view, { image, base, slice });
  drawn.delete(view);
  paint();
}

const refetchAll = (which) => views.filter(which).forEach((view) => refetch(view).catch((error) => say(error.message, "bad")));

/** Show a slider's value, also to screen readers. */
function tell() {
  one("#slice-now").textContent = `${one("#slice").value} / ${one("#slice").max}`;
  for (const [name, value] of Object.entries(tone)) one(`#${name}-now`).textContent = one(`#${name}`).ariaValueText = percent(value);
}

/** Samples to grey or RGB through window and level, as an image to draw from. */
function toned({ image, base }) {
  const top = 2 ** image.bits - 1, low = tone.level - tone.window / 2, first = base.level - base.window / 2;
  const table = Uint8ClampedArray.from({ length: top + 1 }, (_, x) => (255 * (first + (x / top) * base.window - low)) / tone.window);
  const out = new ImageData(image.width, image.height), n = image.channels;
  for (let i = 0; i < image.width * image.height; i++) {
    for (let c = 0; c < 3; c++) out.data[4 * i + c] = table[image.pixels[i * n + (n === 3 ? c : 0)]];
    out.data[4 * i + 3] = 255;
  }
  return out;
}

const drawn = new WeakMap();

function sourceOf(view) {
  const key = `${tone.level}/${tone.window}`, kept = drawn.get(view);
  if (kept?.key === key) return kept.source;
  const source = make("canvas", { width: view.image.width, height: view.image.height });
  source.getContext("2d").putImageData(toned(view), 0, 0);
  drawn.set(view, { key, source });
  return source;
}

let asked = 0;

function paint() {
  cancelAnimationFrame(asked);
  asked = requestAnimationFrame(() => views.forEach(draw));
}

function draw(view) {
  const { canvas, image } = view, side = Math.round(canvas.clientWidth * devicePixelRatio);
  canvas.classList.toggle("zoomed", place.zoom > 1); // a finger moves the image then, and scrolls the page before
  if (canvas.width !== side) canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  const scale = (side / Math.max(image.width, image.height)) * place.zoom;
  context.fillRect(0, 0, side, side);
  context.imageSmoothingEnabled = scale < 2;
  const x = side / 2 + place.x * side - (image.width * scale) / 2, y = side / 2 + place.y * side - (image.height * scale) / 2;
  context.drawImage(sourceOf(view), x, y, image.width * scale, image.height * scale);
  const at = view.exam.slices > 1 ? `, ${view.slice} / ${view.exam.slices}` : "";
  canvas.setAttribute("aria-label", word("js.image-of", { kind: view.title }) + at);
}

function zoom(factor, x = 0, y = 0) {
  const to = Math.min(Math.max(place.zoom * factor, 1), MAX_ZOOM), by = to / place.zoom;
  move(to === 1 ? FIT : { zoom: to, x: x + (place.x - x) * by, y: y + (place.y - y) * by });
}

function move(to) {
  const most = to.zoom / 2, kept = (value) => Math.min(Math.max(value, -most), most);
  place = { zoom: to.zoom, x: kept(to.x), y: kept(to.y) };
  paint();
}

const shift = (x, y) => move({ ...place, x: place.x + x, y: place.y + y });
const KEYS = {
  "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: () => move(FIT),
  ArrowLeft: () => shift(0.1, 0), ArrowRight: () => shift(-0.1, 0), ArrowUp: () => shift(0, 0.1), ArrowDown: () => shift(0, -0.1),
};

function listen(canvas) {
  const fingers = new Map();
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width - 0.5, y: (event.clientY - box.top) / box.height - 0.5 };
  };
  canvas.addEventListener("keydown", (event) => {
    if (!KEYS[event.key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  canvas.addEventListener("wheel", (event) => {
    if (place.zoom === 1 && event.deltaY > 0) return; // nothing to shrink: the page scrolls
    event.preventDefault();
    const { x, y } = at(event);
    zoom(Math.exp(-event.deltaY / 400), x, y);
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, at(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    drag(fingers, event.pointerId, at(event));
  });
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => fingers.delete(event.pointerId));
}

/** One finger moves, two zoom about the one that rests. */
function drag(fingers, id, to) {
  const from = fingers.get(id), rest = [...fingers].find(([other]) => other !== id)?.[1];
  fingers.set(id, to);
  if (!rest) return shift(to.x - from.x, to.y - from.y);
  const apart = (p) => Math.max(Math.hypot(p.x - rest.x, p.y - rest.y), 0.01);
  zoom(apart(to) / apart(from), rest.x, rest.y);
}

/** Connect buttons and sliders. */
export function readTools() {
  tell();
  one("#in").addEventListener("click", () => zoom(1.5));
  one("#out").addEventListener("click", () => zoom(1 / 1.5));
  one("#reset").addEventListener("click", () => {
    one("#level").value = 0.5;
    one("#window").value = 1;
    tone = { level: 0.5, window: 1 };
    tell();
    move(FIT);
  });
  for (const name of ["level", "window"]) {
    one(`#${name}`).addEventListener("input", ({ target }) => {
      tone = { ...tone, [name]: Number(target.value) };
      tell();
      paint();
    });
    one(`#${name}`).addEventListener("change", () => refetchAll((view) => view.exam.bits > 8 && !isSlow()));
  }
  one("#slice").addEventListener("input", tell);
  one("#slice").addEventListener("change", () => refetchAll((view) => view.exam.slices > 1));
  addEventListener("resize", paint);
}
