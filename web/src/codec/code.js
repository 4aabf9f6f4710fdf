// One image coded at one point, as transmitted. The order is the Python client's: downsize, map to the codec's
// depth, code each slice.

import { encodeJpeg } from "./jpeg.js";
import { packStreams, rescaleBits, sliceOf } from "./pixels.js";
import { parsePoint } from "./point.js";
import { lanczos4 } from "./resample.js";
import { encodeJ2k } from "./wasm.js";

/** @returns {Promise<Uint8Array>} the payload of an exam coded at `text`, such as `jpeg2000:40x@256`. */
export async function codeExam(image, text) {
  const point = parsePoint(text), streams = [];
  for (let index = 0; index < image.slices; index++) streams.push(await codeSlice(sliceOf(image, index), point));
  return packStreams(streams);
}

async function codeSlice(slice, point) {
  const small = point.width ? clipped(lanczos4(slice, point.width, point.height)) : slice;
  if (point.codec === "jpeg2000") return encodeJ2k(rescaleBits(small, small.bits <= 8 ? 8 : 16), point.quality);
  const options = { optimize: point.options.includes("optimize"), full: point.options.includes("444") };
  return encodeJpeg(rescaleBits(small, 8), { quality: point.quality, ...options });
}

/** A kernel may overshoot the depth in use. */
function clipped(image) {
  const top = 2 ** image.bits - 1;
  if (image.bits === 8 || image.bits === 16) return image;
  return { ...image, pixels: image.pixels.map((value) => Math.min(value, top)) };
}
