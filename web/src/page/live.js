// Live predictions: server-sent events, with polling where a proxy blocks them.

import { ask } from "./dom.js";

const EVENTS = "/api/v1/events";
const REOPEN_MS = 30_000;
const ASK_MS = [4000, 20_000];
const ENDED = ["answered", "refused", "failed"];
const last = new Map(), listeners = new Set();
let source = null;

export const hasEnded = (exam) => ENDED.includes(exam.state);

function open() {
  source = new EventSource(EVENTS);
  source.addEventListener("exam", ({ data }) => tell(JSON.parse(data)));
  source.onerror = () => {
    // The browser reconnects after a lost link; a rejection (expired login) closes it permanently.
    if (source.readyState === EventSource.CLOSED) setTimeout(open, REOPEN_MS);
  };
}

function tell(exam) {
  last.set(exam.id, exam);
  for (const heard of [...listeners]) heard(exam);
}

/** Call `heard(exam)` with every exam that is settled and that this login may see; one connection per page. */
export function listen(heard = () => {}) {
  listeners.add(heard);
  if (!source) open();
  return () => listeners.delete(heard);
}

/** Call `heard(exam)` once an exam has ended; by events, with occasional polling. */
export function follow(id, heard) {
  let timer = 0;
  const took = (exam) => {
    if (exam.id !== id || !hasEnded(exam)) return;
    stop();
    clearTimeout(timer);
    heard(exam);
  };
  const stop = listen(took);
  const again = (wait, next) => {
    timer = setTimeout(() => ask("GET", `/api/v1/exams/${id}`).then(took, () => {}).then(() => listeners.has(took) && again(next, next)), wait);
  };
  again(...ASK_MS);
  if (last.has(id)) took(last.get(id));
}
