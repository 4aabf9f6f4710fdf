// A file's bytes to an image; the format is known by content, never by name.

import { isDicom, readDicom } from "./dicom.js";
import { oriented, Refused } from "./pixels.js";
import { isPng, readPng } from "./png.js";
import { decodeJpeg } from "./wasm.js";

/** @returns {Promise<{image: object, modality: string, burntIn: boolean}>} */
export async function readFile(data) {
  if (isDicom(data)) return readDicom(data);
  if (isPng(data)) return { image: await readPng(data), modality: "", burntIn: false };
  if (data[0] === 0xff && data[1] === 0xd8) return { image: await readJpeg(data), modality: "", burntIn: false };
  throw new Refused("format");
}

async function readJpeg(data) {
  const { data: pixels, width, height, channels } = await decodeJpeg(data);
  return oriented({ pixels, width, height, channels, slices: 1, bits: 8 }, orientationOf(data));
}

/** The EXIF orientation of a JPEG; 1 where there is none. */
export function orientationOf(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  for (let at = 2; at + 4 <= data.length && data[at] === 0xff && data[at + 1] !== 0xda; at += 2 + view.getUint16(at + 2)) {
    const length = view.getUint16(at + 2);
    const exif = data[at + 1] === 0xe1 && length >= 16 && view.getUint32(at + 4) === 0x45786966;
    if (exif && at + 2 + length <= data.length) return tiffOrientation(new DataView(view.buffer, view.byteOffset + at + 10, length - 8));
  }
  return 1;
}

function tiffOrientation(view) {
  try {
    const little = view.getUint16(0) === 0x4949, start = view.getUint32(4, little);
    for (let i = 0; i < view.getUint16(start, little); i++) {
      const entry = start + 2 + 12 * i;
      if (view.getUint16(entry, little) === 0x0112) return view.getUint16(entry + 8, little);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // a directory that points outside itself says nothing
  }
  return 1;
}
