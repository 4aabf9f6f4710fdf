// DICOM to pixels as the Python client sees them (bitdose.data.dicom): rescaled, windowed, 0 is black.
//
// Only pixels leave this file, with two facts about them: the modality, and whether names may be burnt in. No other
// attribute is read, so none can be sent. What is not handled here is refused, and `bitdose send` handles it.

import * as dicomParser from "dicom-parser";
import { checkSize, containerOf, Refused, rescaleBits } from "./pixels.js";
import { decodeJ2k, decodeJpeg } from "./wasm.js";

const NATIVE = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"];
const CODED = {
  "1.2.840.10008.1.2.4.50": decodeJpeg,
  "1.2.840.10008.1.2.4.90": decodeJ2k,
  "1.2.840.10008.1.2.4.91": decodeJ2k,
};
// Kinds of images on which devices write text.
const OFTEN_BURNT_IN = ["US", "SC", "OT", "XC", "ES", "XA", "RF"];
// Look-up tables, functional groups and palettes: attributes that change what the samples mean.
const BEYOND = ["x00283000", "x00283010", "x52009229", "x52009230", "x00281101", "x7fe00008", "x7fe00009"];

export const isDicom = (data) => String.fromCharCode(...data.subarray(128, 132)) === "DICM";

/** Read an image or, of several frames, a volume; says its modality and whether to look for burnt-in text. */
export async function readDicom(data) {
  let set;
  try {
    set = dicomParser.parseDicom(data);
  } catch {
    throw new Refused("damaged");
  }
  const pixelData = set.elements.x7fe00010;
  if (!pixelData) throw new Refused("no-pixels");
  // The parser only warns of a file that is cut off, and the decoders make something of it.
  if (set.warnings.length || pixelData.dataOffset + pixelData.length > data.length) throw new Refused("damaged");
  if (BEYOND.some((tag) => set.elements[tag])) throw new Refused("dicom-kind");
  const shape = shapeOf(set);
  checkSize(shape.width, shape.height, shape.slices);
  const stored = await storedSamples(set, data, shape);
  const image = shape.channels === 1 ? displayed(stored, set, shape) : { ...shape, pixels: stored };
  const modality = text(set, "x00080060").toUpperCase().replace(/[^A-Z0-9]/g, "").slice(0, 16);
  const burnt = text(set, "x00280301").toUpperCase();
  return { image, modality, burntIn: burnt === "YES" || (burnt !== "NO" && OFTEN_BURNT_IN.includes(modality)) };
}

const text = (set, tag) => (set.string(tag) ?? "").trim();

function shapeOf(set) {
  const photometric = text(set, "x00280004");
  const shape = {
    width: set.uint16("x00280011"), height: set.uint16("x00280010"), slices: set.intString("x00280008") || 1,
    channels: set.uint16("x00280002") ?? 1, bits: set.uint16("x00280101"), allocated: set.uint16("x00280100"),
    signed: set.uint16("x00280103") === 1,
  };
  const grey = shape.channels === 1 && photometric.startsWith("MONOCHROME");
  const planes = set.uint16("x00280006") === 1;
  const colour = shape.channels === 3 && photometric === "RGB" && shape.bits === 8 && shape.slices === 1 && !planes;
  const whole = [8, 16].includes(shape.allocated) && shape.bits >= 1 && shape.bits <= shape.allocated;
  if (!whole || !(grey || colour)) throw new Refused("dicom-kind");
  return { ...shape, inverted: photometric === "MONOCHROME1" };
}

async function storedSamples(set, data, shape) {
  const count = shape.width * shape.height * shape.channels, syntax = text(set, "x00020010"), element = set.elements.x7fe00010;
  if (NATIVE.includes(syntax) || !syntax) {
    const length = count * shape.slices, bytes = length * (shape.allocated / 8);
    if (element.length < bytes) throw new Refused("wrong-frames");
    const own = data.slice(element.dataOffset, element.dataOffset + bytes);
    return shape.allocated === 8 ? own : new Uint16Array(own.buffer);
  }
  if (!CODED[syntax] || !element.encapsulatedPixelData || shape.channels > 1) throw new Refused("dicom-kind");
  const out = new (shape.allocated === 8 ? Uint8Array : Uint16Array)(count * shape.slices);
  for (let frame = 0; frame < shape.slices; frame++) {
    const plane = await CODED[syntax](frameBytes(set, element, frame, shape.slices));
    if (plane.width !== shape.width || plane.height !== shape.height || plane.channels !== 1) throw new Refused("wrong-frames");
    out.set(plane.bits > 8 ? new Uint16Array(plane.data.buffer) : plane.data, frame * count);
  }
  return out;
}

function frameBytes(set, element, frame, frames) {
  try {
    if (element.basicOffsetTable.length) return dicomParser.readEncapsulatedImageFrame(set, element, frame);
    const parts = element.fragments.length;
    if (frames === 1) return dicomParser.readEncapsulatedPixelDataFromFragments(set, element, 0, parts);
    if (parts === frames) return dicomParser.readEncapsulatedPixelDataFromFragments(set, element, frame);
  } catch {
    throw new Refused("damaged");
  }
  throw new Refused("wrong-frames");
}

/** Stored samples to display values: sign, rescale, window or full span, inversion; over a table of all values. */
function displayed(stored, set, shape) {
  const { bits, signed } = shape, count = 2 ** bits, target = Math.max(8, bits);
  const valueOf = (sample) => (signed && sample >= count / 2 ? sample - count : sample);
  const slope = number(set, "x00281053"), intercept = number(set, "x00281052");
  const rescaled = slope !== null && intercept !== null && !(slope === 1 && intercept === 0);
  const real = (sample) => valueOf(sample) * (rescaled ? slope : 1) + (rescaled ? intercept : 0);
  const mask = count - 1, samples = stored.map((sample) => sample & mask);
  const shown = { width: shape.width, height: shape.height, slices: shape.slices, channels: 1, bits: target };
  const unit = windowOf(set) ?? (signed || rescaled ? fullSpan(samples, real, count) : null);
  const Container = containerOf(target), top = 2 ** target - 1;
  let image = { ...shown, bits, pixels: containerOf(bits).from(samples) };
  if (unit) {
    const table = Container.from({ length: count }, (_, s) => Math.floor(Math.min(Math.max(unit(real(s)), 0), 1) * top + 0.5));
    image = { ...shown, pixels: Container.from(samples, (sample) => table[sample]) };
  } else {
    image = rescaleBits(image, target);
  }
  if (shape.inverted) image.pixels.forEach((value, i) => (image.pixels[i] = top - value));
  return image;
}

function number(set, tag) {
  const value = Number.parseFloat(text(set, tag).split("\\")[0]);
  return Number.isFinite(value) ? value : null;
}

/** The first window as a map to [0, 1] (PS3.3 C.11.2.1.2 and C.11.2.1.3); null where there is none. */
function windowOf(set) {
  let centre = number(set, "x00281050"), width = number(set, "x00281051");
  const kind = text(set, "x00281056").toUpperCase() || "LINEAR";
  if (centre === null || width === null || width <= 0 || (kind === "LINEAR" && width < 1)) return null;
  if (kind === "SIGMOID") return (x) => 1 / (1 + Math.exp(Math.min(Math.max((-4 * (x - centre)) / width, -700), 700)));
  if (kind !== "LINEAR" && kind !== "LINEAR_EXACT") throw new Refused("dicom-kind");
  if (kind === "LINEAR") [centre, width] = [centre - 0.5, width - 1];
  return width === 0 ? (x) => Number(x > centre) : (x) => (x - centre) / width + 0.5;
}

function fullSpan(samples, real, count) {
  const present = new Uint8Array(count);
  for (const sample of samples) present[sample] = 1;
  let low = Infinity, high = -Infinity;
  present.forEach((here, sample) => {
    if (!here) return;
    low = Math.min(low, real(sample));
    high = Math.max(high, real(sample));
  });
  return (x) => (x - low) / (high - low || 1);
}
