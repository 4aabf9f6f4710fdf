// PNG, read and written sample for sample: a canvas would truncate 16 bits to 8, apply colour profiles, and in some
// browsers add noise against fingerprinting.
// Reference: W3C Portable Network Graphics, third edition.

import { checkSize, Refused, rescaleBits } from "./pixels.js";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const SAMPLES = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
// First column and row, and the steps, of the seven passes of an interlaced image.
const ADAM7 = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];

export const isPng = (data) => SIGNATURE.every((byte, i) => data[i] === byte);

/** Decode; alpha is dropped, not blended, and a palette becomes RGB. */
export async function readPng(data) {
  const parts = chunksOf(data), head = parts.get("IHDR")?.[0], body = parts.get("IDAT");
  if (!head || head.length < 13 || !body) throw new Refused("damaged");
  const view = new DataView(head.buffer, head.byteOffset, 13);
  const width = view.getUint32(0), height = view.getUint32(4);
  const [depth, kind, , , interlaced] = head.subarray(8);
  checkSize(width, height);
  if (!SAMPLES[kind]) throw new Refused("damaged");
  const rows = { width, height, depth, samples: SAMPLES[kind] };
  const stored = unpacked(await inflated(body, rows, interlaced), rows, interlaced);
  return finished(stored, rows, kind, parts.get("PLTE")?.[0]);
}

function chunksOf(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.length), found = new Map();
  for (let at = 8; at + 12 <= data.length; ) {
    const length = view.getUint32(at), name = String.fromCharCode(...data.subarray(at + 4, at + 8));
    if (at + 12 + length > data.length) throw new Refused("damaged");
    found.set(name, [...(found.get(name) ?? []), data.subarray(at + 8, at + 8 + length)]);
    at += 12 + length;
  }
  return found;
}

const rowBytes = (width, { samples, depth }) => Math.ceil((width * samples * depth) / 8);

function passesOf({ width, height }, interlaced) {
  const all = interlaced ? ADAM7 : [[0, 0, 1, 1]];
  return all
    .map(([x, y, dx, dy]) => ({ x, y, dx, dy, width: Math.ceil((width - x) / dx), height: Math.ceil((height - y) / dy) }))
    .filter((pass) => pass.width > 0 && pass.height > 0);
}

/** Inflate into exactly the bytes that the header promises: a bomb ends there. */
async function inflated(body, rows, interlaced) {
  const passes = passesOf(rows, interlaced);
  const out = new Uint8Array(passes.reduce((sum, pass) => sum + pass.height * (1 + rowBytes(pass.width, rows)), 0));
  const reader = new Blob(body).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  let at = 0;
  try {
    for (let part = await reader.read(); !part.done && at < out.length; part = await reader.read()) {
      const taken = part.value.subarray(0, out.length - at);
      out.set(taken, at);
      at += taken.length;
    }
  } catch {
    throw new Refused("damaged");
  }
  reader.cancel().catch(() => {});
  if (at < out.length) throw new Refused("damaged");
  return out;
}

/** Undo the filters and spread the samples, one per element. */
function unpacked(data, rows, interlaced) {
  const { width, height, depth, samples } = rows;
  const out = new (depth === 16 ? Uint16Array : Uint8Array)(width * height * samples);
  const back = Math.max(1, (samples * depth) / 8);
  let at = 0;
  for (const pass of passesOf(rows, interlaced)) {
    const length = rowBytes(pass.width, rows);
    let above = new Uint8Array(length);
    for (let y = 0; y < pass.height; y++, at += 1 + length) {
      const line = data.subarray(at + 1, at + 1 + length);
      unfilter(data[at], line, above, back);
      const start = (pass.y + y * pass.dy) * width + pass.x;
      for (let i = 0; i < pass.width * samples; i++) {
        const pixel = start + Math.floor(i / samples) * pass.dx;
        out[pixel * samples + (i % samples)] = sampleAt(line, i, depth);
      }
      above = line;
    }
  }
  return out;
}

function sampleAt(line, i, depth) {
  if (depth === 8) return line[i];
  if (depth === 16) return (line[2 * i] << 8) | line[2 * i + 1];
  const bit = i * depth;
  return (line[bit >> 3] >> (8 - depth - (bit & 7))) & ((1 << depth) - 1);
}

function unfilter(kind, line, above, back) {
  for (let i = 0; i < line.length; i++) {
    const a = i >= back ? line[i - back] : 0, b = above[i], c = i >= back ? above[i - back] : 0;
    if (kind === 1) line[i] += a;
    else if (kind === 2) line[i] += b;
    else if (kind === 3) line[i] += (a + b) >> 1;
    else if (kind === 4) line[i] += paeth(a, b, c);
    else if (kind !== 0) throw new Refused("damaged");
  }
}

function paeth(a, b, c) {
  const pa = Math.abs(b - c), pb = Math.abs(a - c), pc = Math.abs(a + b - 2 * c);
  if (pa <= pb && pa <= pc) return a;
  return pb <= pc ? b : c;
}

function finished(stored, { width, height, depth, samples }, kind, palette) {
  const image = { width, height, slices: 1, channels: kind === 0 || kind === 4 ? 1 : 3, bits: Math.max(8, depth) };
  if (kind === 3) {
    const pixels = new Uint8Array(width * height * 3);
    stored.forEach((at, i) => pixels.set(palette?.subarray(3 * at, 3 * at + 3) ?? [], 3 * i));
    return { ...image, bits: 8, pixels };
  }
  if (kind === 0 || kind === 2) return rescaleBits({ ...image, bits: depth, pixels: stored }, image.bits);
  const pixels = new stored.constructor(width * height * image.channels);
  for (let i = 0; i < pixels.length; i++) {
    pixels[i] = stored[Math.floor(i / image.channels) * samples + (i % image.channels)];
  }
  return { ...image, pixels };
}

/** Write a grey or RGB image of 8 or 16 bits; pixels alone, no other chunk. */
export async function writePng(image) {
  const { width, height, channels } = image, deep = image.bits > 8;
  const { pixels } = rescaleBits(image, deep ? 16 : 8);
  const length = width * channels * (deep ? 2 : 1), raw = new Uint8Array(height * (1 + length));
  for (let y = 0; y < height; y++) {
    const start = y * (1 + length);
    raw[start] = 2; // each row less the one above
    for (let i = 0; i < length; i++) {
      const byte = (row) => {
        const value = pixels[row * width * channels + (deep ? i >> 1 : i)];
        return deep && !(i & 1) ? value >> 8 : value & 255;
      };
      raw[start + 1 + i] = byte(y) - (y ? byte(y - 1) : 0);
    }
  }
  const packed = await new Response(new Blob([raw]).stream().pipeThrough(new CompressionStream("deflate"))).arrayBuffer();
  const head = new Uint8Array(13), view = new DataView(head.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  head.set([deep ? 16 : 8, channels === 1 ? 0 : 2], 8);
  const parts = [chunk("IHDR", head), chunk("IDAT", new Uint8Array(packed)), chunk("IEND", new Uint8Array())];
  return new Uint8Array(await new Blob([new Uint8Array(SIGNATURE), ...parts]).arrayBuffer());
}

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function chunk(name, body) {
  const out = new Uint8Array(12 + body.length), view = new DataView(out.buffer);
  view.setUint32(0, body.length);
  out.set([...name].map((letter) => letter.charCodeAt(0)), 4);
  out.set(body, 8);
  let crc = 0xffffffff;
  for (const byte of out.subarray(4, 8 + body.length)) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  view.setUint32(8 + body.length, ~crc >>> 0);
  return out;
}
