// The clinic's outbox: coded exams wait in the browser's own database until the service has them all.
//
// It survives a closed tab and a power cut. File names and a person's notes stay in the browser:
// they are the only link between a pseudonym and a patient, and are never sent.

const NAME = "bitdose";
const STORE = "exams";

let opened = null;

function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "key" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/** Run one transaction; resolves when it is on disk. */
async function run(mode, action) {
  const transaction = (await open()).transaction(STORE, mode, { durability: "strict" });
  const request = action(transaction.objectStore(STORE));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

export const put = (item) => run("readwrite", (store) => store.put(item));
export const drop = (key) => run("readwrite", (store) => store.delete(key));
export const get = (key) => run("readonly", (store) => store.get(key));

/** All items, oldest first, without the payloads' bytes in memory (a Blob is a handle). */
export async function items() {
  const found = await run("readonly", (store) => store.getAll());
  return found.sort((a, b) => a.added - b.added || a.key.localeCompare(b.key));
}

/** Update fields of an existing item. */
export async function change(key, fields) {
  const item = await get(key);
  if (item) await put({ ...item, ...fields });
  return item ? { ...item, ...fields } : null;
}

/** A random pseudonym. */
export function pseudonym() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
