// Sends the outbox sequentially, in one tab at a time, and notifies listeners of every step.

import { Problem } from "./dom.js";
import { measured } from "./links.js";
import { change, get, items } from "./queue.js";
import { create, offsetOf, send } from "./tus.js";

const PAUSE_MS = [1000, 2000, 5000, 10_000, 30_000, 60_000];
const REFUSED = [400, 403, 413, 415, 422];
const PIECE_BYTES = 65_536; // of an uncoded image, between two checks of the outbox
const channel = new BroadcastChannel("bitdose-outbox");
const pending = (item) => item.state === "waiting" || item.state === "sending";

let wake = () => {};
let listener = () => {};

/** Begin; `heard(item)` is called with every change. One tab sends; the others hear of it, and take over once it is closed. */
export function begin(heard = () => {}) {
  listener = heard;
  channel.onmessage = async ({ data: { key } }) => {
    const item = key && (await get(key));
    if (item) listener(item);
    if (!key) wake();
  };
  addEventListener("online", () => wake());
  const hold = navigator.locks ?? { request: (_name, action) => action() };
  hold.request("bitdose-sender", () => loop());
}

/** Wake up for a new item, or a manual retry. */
export function poke() {
  wake();
  channel.postMessage({});
}

async function loop() {
  for (let failures = 0; ; ) {
    // Coded exams first: the pristine ones are for checking, and wait until the link is idle.
    const next = (await items()).filter(pending).sort((a, b) => a.idle - b.idle)[0];
    if (!next) {
      await new Promise((resolve) => (wake = resolve));
      continue;
    }
    try {
      await deliver(next);
      failures = 0;
    } catch (error) {
      const wait = await failed(next, error, failures++);
      await new Promise((resolve) => {
        wake = resolve;
        if (wait) setTimeout(resolve, wait);
      });
    }
  }
}

async function update(item, fields) {
  const changed = await change(item.key, fields);
  if (changed) {
    listener(changed);
    channel.postMessage({ key: item.key });
  }
  return changed;
}

async function deliver(item) {
  const { payload } = item, started = performance.now();
  const tell = (sent) => listener({ ...item, state: "sending", sent });
  tell(item.sent ?? 0);
  let upload = item.url ? await offsetOf(item.url) : null;
  const before = upload?.offset ?? 0;
  if (!upload) upload = await create(item.meta, payload, tell);
  const url = upload.url ?? item.url;
  if (!(await update(item, { url, state: "sending", sent: upload.offset, error: "" }))) return;
  // Coded exams are urgent; an uncoded one is preempted between two pieces.
  while (upload.offset < payload.size) {
    if (item.idle && upload.offset > before && (await somebodyWaits())) return;
    upload = await send(url, payload, upload.offset, tell, item.idle ? Math.min(upload.offset + PIECE_BYTES, payload.size) : payload.size);
    if (item.idle) await update(item, { sent: upload.offset });
  }
  const seconds = (performance.now() - started) / 1000;
  measured(payload.size - before, seconds);
  if (!upload.exam) throw new Problem(0);
  await update(item, { state: "sent", sent: payload.size, exam: upload.exam, payload: null, size: payload.size });
}

const somebodyWaits = async () => (await items()).some((item) => pending(item) && !item.idle);

/** Record a failure; returns the waiting time, 0 to wait for a change. */
async function failed(item, error, failures) {
  if (!(error instanceof Problem)) throw error;
  if (error.status === 409) return 500; // the service's offset differs: query it again
  if (error.status === 460 && failures < PAUSE_MS.length) {
    await update(item, { url: null, sent: 0 }); // the bytes were damaged on the way, and the service dropped them
    return 500;
  }
  if (REFUSED.includes(error.status)) {
    await update(item, { state: "refused", error: error.message });
    return 1;
  }
  if (error.status === 401) {
    await update(item, { state: "waiting", error: "login" });
    return 0;
  }
  await update(item, { state: "waiting", error: error.message });
  const pause = PAUSE_MS[Math.min(failures, PAUSE_MS.length - 1)];
  return Math.max(error.retryAfter * 1000, pause * (0.75 + Math.random() / 2));
}
