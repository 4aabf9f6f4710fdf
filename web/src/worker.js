// The worker: codes a file at a point and returns a payload with its metadata, without blocking the page.

import { codeExam } from "./codec/code.js";
import { Refused } from "./codec/pixels.js";
import { parsePoint } from "./codec/point.js";
import { readPng, writePng } from "./codec/png.js";
import { readFile } from "./codec/read.js";
import { openjpeg } from "./codec/wasm.js";

const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");

async function described(payload, { image, modality }, more) {
  if (!crypto.subtle) throw new Refused("insecure");
  return {
    payload,
    meta: {
      modality, rows: image.height, columns: image.width, slices: image.slices, bits: image.bits,
      photometric: image.channels === 3 ? "RGB" : "MONOCHROME2",
      sha256: hex(await crypto.subtle.digest("SHA-256", payload)), payload_bytes: payload.length, ...more,
    },
  };
}

/** Whether a file is of the sentinel's share, by its digest: the same rule as the Python client's. */
async function isDrawn(data, share) {
  if (!crypto.subtle) throw new Refused("insecure");
  return Number.parseInt(hex(await crypto.subtle.digest("SHA-256", data)).slice(0, 13), 16) / 16 ** 13 < share;
}

const tasks = {
  /** Check that a browser can code a point, and fetch its codec while nobody waits. */
  async warm({ point }) {
    if (parsePoint(point).codec === "jpeg2000") await openjpeg();
    return {};
  },
  /** Code one file; its pixels as a PNG too if `pristine`, or if it is of the `share` that the sentinel draws. */
  async code({ file, point, pristine, share = 0 }) {
    const started = performance.now(), data = new Uint8Array(await file.arrayBuffer());
    const drawn = pristine || (share > 0 && (await isDrawn(data, share)));
    const found = await readFile(data);
    const source_bytes = file.size;
    const coded = await described(await codeExam(found.image, point), found, { kind: "coded", point, source_bytes });
    const one = drawn && found.image.slices === 1 && (found.image.channels === 1 || found.image.bits === 8);
    const whole = one ? await described(await writePng(found.image), found, { kind: "pristine", source_bytes }) : null;
    return { coded, pristine: whole, burntIn: found.burntIn, seconds: (performance.now() - started) / 1000 };
  },
  /** Decode a PNG of the service to its own depth, for the viewer. */
  async view({ data }) {
    return { image: await readPng(new Uint8Array(data)) };
  },
};

self.addEventListener("message", async ({ data: { id, task, ...input } }) => {
  try {
    self.postMessage({ id, result: await tasks[task](input) });
  } catch (error) {
    if (!(error instanceof Refused) || error.detail) console.warn(error);
    const key = error instanceof Refused ? error.key : error instanceof RangeError ? "damaged" : "codec-failed";
    self.postMessage({ id, error: { key, detail: error instanceof Refused ? error.detail : String(error?.message ?? error) } });
  }
});
