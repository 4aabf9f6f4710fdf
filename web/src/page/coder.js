// The page's interface to the worker: a task with its input returns a promise.

let worker = null;
let last = 0;
const waiting = new Map();

function begin() {
  worker = new Worker(WORKER_URL, { type: "module" });
  worker.onmessage = ({ data: { id, result, error } }) => settle(id, (wait) => (error ? wait.reject(error) : wait.resolve(result)));
  worker.onerror = () => {
    worker = null; // out of memory, or not loaded: the next task starts a fresh one
    for (const id of [...waiting.keys()]) settle(id, (wait) => wait.reject({ key: "codec-failed", detail: "" }));
  };
}

function settle(id, action) {
  const wait = waiting.get(id);
  waiting.delete(id);
  if (wait) action(wait);
}

/** Run a task of the worker; rejects with `{key, detail}`. */
export function inWorker(task, input) {
  if (!worker) begin();
  const id = ++last;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    worker.postMessage({ id, task, ...input });
  });
}
