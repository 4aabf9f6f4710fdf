// Uploads by tus 1.0: created once, resumed at the service's offset after each lost connection.
// Reference: https://tus.io/protocols/resumable-upload

import { csrfToken, Problem, refreshCsrf } from "./dom.js";

const UPLOADS = "/api/v1/uploads";
const VERSION = { "Tus-Resumable": "1.0.0" };
const BODY = { "Content-Type": "application/offset+octet-stream" };
const AT_ONCE = 14_600; // what a fresh connection sends without waiting (RFC 6928); more has to be resumable
const SILENCE_MS = 90_000; // a link on which nothing moves for so long is dead

const base64 = (bytes) => btoa(String.fromCharCode(...bytes));

/** One request; `progress` is called for sent bytes. XHR, since fetch does not report them. */
function request(method, url, headers = {}, body = null, progress = null) {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    let watch = 0;
    const drop = () => call.abort(); // after a link is lost and restored, the old connection hangs
    const moved = () => {
      clearTimeout(watch);
      watch = setTimeout(drop, SILENCE_MS);
    };
    const done = () => {
      clearTimeout(watch);
      removeEventListener("offline", drop);
    };
    const lost = () => {
      done();
      reject(new Problem(0));
    };
    addEventListener("offline", drop);
    call.open(method, url);
    const all = { ...VERSION, ...headers, ...(method === "HEAD" ? {} : { "X-CSRF-Token": csrfToken() }) };
    for (const [name, value] of Object.entries(all)) call.setRequestHeader(name, value);
    call.upload.onprogress = (event) => {
      moved();
      progress?.(event.loaded);
    };
    call.onload = () => {
      done();
      resolve(call);
    };
    call.onerror = call.onabort = call.ontimeout = lost;
    moved();
    call.send(body);
  });
}

function problemOf(call) {
  let detail = "";
  try {
    detail = JSON.parse(call.responseText).detail;
  } catch {
    // a proxy's page instead of a problem document: the status says enough
  }
  return new Problem(call.status, detail, Number(call.getResponseHeader("Retry-After")) || 0);
}

async function withCsrf(send) {
  const first = await send();
  return first.status === 403 && (await refreshCsrf()) ? send() : first;
}

/** Create an upload for an exam; a small payload comes along, which saves a round trip. */
export async function create(meta, payload, progress) {
  const exam = base64(new TextEncoder().encode(JSON.stringify(meta)));
  const whole = payload.size <= AT_ONCE;
  const headers = { "Upload-Length": String(payload.size), "Upload-Metadata": `exam ${exam}`, ...(whole ? BODY : {}) };
  const call = await withCsrf(() => request("POST", UPLOADS, headers, whole ? payload : null, whole ? progress : null));
  if (call.status !== 201) throw problemOf(call);
  return { url: new URL(call.getResponseHeader("Location"), location.href).pathname, ...standing(call) };
}

/** The service's offset of an upload; null once it is unknown. */
export async function offsetOf(url) {
  const call = await request("HEAD", url);
  if ([404, 410].includes(call.status)) return null;
  if (call.status >= 300) throw problemOf(call);
  return standing(call);
}

/** Send the bytes from `offset` to `end`; `progress` is called with the total number of sent bytes. */
export async function send(url, payload, offset, progress, end = payload.size) {
  // No checksum of the part: with one the service would keep all of it or nothing. The exam's own SHA-256 covers all.
  const rest = payload.slice(offset, end);
  const headers = { "Upload-Offset": String(offset), ...BODY };
  const call = await withCsrf(() => request("PATCH", url, headers, rest, (sent) => progress?.(offset + sent)));
  if (call.status !== 204 && call.status !== 200) throw problemOf(call);
  return standing(call);
}

/** How many bytes the service has, and the exam that a complete upload became. */
const standing = (call) => ({ offset: Number(call.getResponseHeader("Upload-Offset")), exam: call.getResponseHeader("Exam-Id") });
