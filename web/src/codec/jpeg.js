// Baseline JPEG, byte for byte as libjpeg-turbo writes it through Pillow (accurate integer DCT, the IJG's tables).
//
// The encoders on npm use libjpeg-turbo's fast DCT, or other tables: their streams decode to other pixels than
// those that the study certified. This one is also a hundred times smaller than they are.
// Reference: ITU-T T.81; the arithmetic of the IJG's jfdctint.c, jcdctmgr.c, jccolor.c, jcsample.c, jchuff.c.

import { bitsWriter, codeTable, countSymbols, optimalTable, STANDARD } from "./huffman.js";

const ZIGZAG = [
  0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
  35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55,
  62, 63,
];
const LUMINANCE = [
  16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87,
  80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92,
  95, 98, 112, 100, 103, 99,
];
const CHROMINANCE = [
  17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99,
  99, 99, ...new Array(32).fill(99),
];

/** Quantisation table of an IJG quality, 1 to 100. */
export function quantisation(base, quality) {
  const scale = quality < 50 ? Math.trunc(5000 / quality) : 200 - 2 * quality;
  return base.map((value) => Math.min(Math.max(Math.trunc((value * scale + 50) / 100), 1), 255));
}

/**
 * Code one 8-bit image.
 *
 * @param {{pixels: Uint8Array, width: number, height: number, channels: 1|3}} image Grey or RGB.
 * @param {{quality: number, optimize?: boolean, full?: boolean}} options `full` keeps chroma at full size (4:4:4).
 * @returns {Uint8Array} the stream.
 */
export function encodeJpeg(image, { quality, optimize = false, full = false }) {
  const tables = [quantisation(LUMINANCE, quality), quantisation(CHROMINANCE, quality)];
  const components = componentsOf(image, full);
  for (const component of components) component.blocks = blocksOf(component, tables[component.table]);
  const order = [...blockOrder(components)];
  const huffman = optimize ? optimalTables(order, components.length) : STANDARD;
  return new Uint8Array([...header(image, components, tables, huffman), ...scan(order, huffman), 0xff, 0xd9]);
}

/** Planes with their sampling, their edges repeated up to whole blocks; MCUs may reach beyond them. */
function componentsOf(image, full) {
  const { width, height, pixels } = image;
  const whole = (n) => 8 * Math.ceil(n / 8);
  if (image.channels === 1) return [part(1, 1, 0, padded(pixels, width, height, whole(width), whole(height)))];
  const step = full ? 1 : 2;
  const [luma, ...chroma] = toYcc(pixels, width * height);
  const wide = whole(Math.ceil(width / step)), high = whole(Math.ceil(height / step));
  const small = (plane) => {
    if (full) return padded(plane, width, height, wide, high);
    // Columns are repeated before halving, rows after it, but for the one that makes them even.
    const even = padded(plane, width, height, 2 * wide, 2 * Math.ceil(height / 2));
    return padded(halved(even), wide, even.height / 2, wide, high);
  };
  return [
    part(1, step, 0, padded(luma, width, height, whole(width), whole(height))),
    ...chroma.map((plane, index) => part(2 + index, 1, 1, small(plane))),
  ];
}

function part(id, sampling, table, plane) {
  return { id, sampling, table, ...plane, across: plane.width / 8, down: plane.height / 8 };
}

function padded(plane, width, height, wide, high) {
  const out = new Uint8Array(wide * high);
  for (let y = 0; y < high; y++) {
    const from = Math.min(y, height - 1) * width;
    out.set(plane.subarray(from, from + width), y * wide);
    out.fill(plane[from + width - 1], y * wide + width, (y + 1) * wide);
  }
  return { plane: out, width: wide, height: high };
}

/** RGB to YCbCr in the IJG's 16-bit fixed point. */
function toYcc(rgb, n) {
  const fix = (x) => Math.floor(x * 65536 + 0.5);
  const half = 1 << 15, centre = (128 << 16) + half - 1;
  const [yr, yg, yb] = [0.299, 0.587, 0.114].map(fix);
  const [br, bg, rg, rb, top] = [0.168735892, 0.331264108, 0.418687589, 0.081312411, 0.5].map(fix);
  const planes = [new Uint8Array(n), new Uint8Array(n), new Uint8Array(n)];
  for (let i = 0; i < n; i++) {
    const r = rgb[3 * i], g = rgb[3 * i + 1], b = rgb[3 * i + 2];
    planes[0][i] = (yr * r + yg * g + yb * b + half) >> 16;
    planes[1][i] = (-br * r - bg * g + top * b + centre) >> 16;
    planes[2][i] = (top * r - rg * g - rb * b + centre) >> 16;
  }
  return planes;
}

/** Halve a plane both ways; the rounding alternates between columns, as the IJG's does. */
function halved({ plane, width, height }) {
  const wide = width / 2, high = height / 2, out = new Uint8Array(wide * high);
  for (let y = 0; y < high; y++) {
    for (let x = 0; x < wide; x++) {
      const at = 2 * y * width + 2 * x;
      const sum = plane[at] + plane[at + 1] + plane[at + width] + plane[at + width + 1];
      out[y * wide + x] = (sum + 1 + (x & 1)) >> 2;
    }
  }
  return out;
}

/** Transform and quantise every block: 64 coefficients each, in zigzag order. */
function blocksOf({ plane, width, across, down }, table) {
  const blocks = new Int16Array(across * down * 64), work = new Int32Array(64);
  for (let row = 0; row < down; row++) {
    for (let column = 0; column < across; column++) {
      for (let i = 0; i < 64; i++) work[i] = plane[(row * 8 + (i >> 3)) * width + column * 8 + (i & 7)] - 128;
      transform(work);
      const start = (row * across + column) * 64;
      for (let k = 0; k < 64; k++) {
        const divisor = table[ZIGZAG[k]] << 3, value = work[ZIGZAG[k]];
        const size = Math.trunc((Math.abs(value) + (divisor >> 1)) / divisor);
        blocks[start + k] = value < 0 ? -size : size;
      }
    }
  }
  return blocks;
}

// cos and sin terms of the Loeffler-Ligtenberg-Moschytz transform, times 2^13.
const [A, B, C, D, E, F, G, H, I, J, K, L] = [2446, 16819, 25172, 12299, 7373, 20995, 16069, 3196, 4433, 6270, 15137, 9633];

/** Forward DCT of one block in place, output scaled by 8 (jfdctint.c). */
function transform(d) {
  for (let i = 0; i < 64; i += 8) pass(d, i, 1, 11, (x) => x << 2);
  for (let i = 0; i < 8; i++) pass(d, i, 8, 15, (x) => (x + 2) >> 2);
}

function pass(d, at, step, shift, even) {
  const round = (x) => (x + (1 << (shift - 1))) >> shift;
  const o = (k) => at + k * step;
  const s0 = d[o(0)] + d[o(7)], s7 = d[o(0)] - d[o(7)], s1 = d[o(1)] + d[o(6)], s6 = d[o(1)] - d[o(6)];
  const s2 = d[o(2)] + d[o(5)], s5 = d[o(2)] - d[o(5)], s3 = d[o(3)] + d[o(4)], s4 = d[o(3)] - d[o(4)];
  const e0 = s0 + s3, e3 = s0 - s3, e1 = s1 + s2, e2 = s1 - s2;
  d[o(0)] = even(e0 + e1);
  d[o(4)] = even(e0 - e1);
  const z = (e2 + e3) * I;
  d[o(2)] = round(z + e3 * J);
  d[o(6)] = round(z - e2 * K);
  const z5 = (s4 + s6 + s5 + s7) * L;
  const z1 = -(s4 + s7) * E, z2 = -(s5 + s6) * F, z3 = -(s4 + s6) * G + z5, z4 = -(s5 + s7) * H + z5;
  d[o(7)] = round(s4 * A + z1 + z3);
  d[o(5)] = round(s5 * B + z2 + z4);
  d[o(3)] = round(s6 * C + z2 + z3);
  d[o(1)] = round(s7 * D + z1 + z4);
}

/** Every block in the order of the scan, with its DC as a difference. */
function* blockOrder(components) {
  const [{ across, down, sampling }] = components;
  const last = components.map(() => 0);
  for (let row = 0; row < Math.ceil(down / sampling); row++) {
    for (let column = 0; column < Math.ceil(across / sampling); column++) {
      for (const [index, component] of components.entries()) {
        for (const block of unitBlocks(component, column, row)) {
          const dc = block ? block[0] : last[index];
          yield { block: block ?? EMPTY, difference: dc - last[index], table: component.table };
          last[index] = dc;
        }
      }
    }
  }
}

const EMPTY = new Int16Array(64);

/** A component's blocks in one MCU; null where it reaches beyond the plane, coded as flat. */
function* unitBlocks({ sampling, across, down, blocks }, column, row) {
  for (let i = 0; i < sampling * sampling; i++) {
    const x = column * sampling + (i % sampling), y = row * sampling + Math.floor(i / sampling);
    const start = (y * across + x) * 64;
    yield x < across && y < down ? blocks.subarray(start, start + 64) : null;
  }
}

function optimalTables(order, components) {
  const counts = countSymbols(order);
  return components === 1 ? counts.slice(0, 2).map(optimalTable) : counts.map(optimalTable);
}

function scan(order, huffman) {
  const codes = huffman.map(codeTable), out = bitsWriter();
  for (const { block, difference, table } of order) out.block(block, difference, codes[2 * table], codes[2 * table + 1]);
  return out.finish();
}

function header(image, components, tables, huffman) {
  const word = (n) => [n >> 8, n & 255];
  const segment = (marker, body) => [0xff, marker, ...word(body.length + 2), ...body];
  const grey = components.length === 1, kinds = grey ? [0] : [0, 1];
  const out = [0xff, 0xd8, ...segment(0xe0, [0x4a, 0x46, 0x49, 0x46, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0])];
  for (const kind of kinds) out.push(...segment(0xdb, [kind, ...ZIGZAG.map((at) => tables[kind][at])]));
  const parts = components.flatMap(({ id, sampling, table }) => [id, (sampling << 4) | sampling, table]);
  out.push(...segment(0xc0, [8, ...word(image.height), ...word(image.width), components.length, ...parts]));
  for (const kind of kinds) {
    for (const coder of [0, 1]) {
      const { lengths, symbols } = huffman[2 * kind + coder];
      out.push(...segment(0xc4, [(coder << 4) | kind, ...lengths, ...symbols]));
    }
  }
  const selectors = components.flatMap(({ id, table }) => [id, (table << 4) | table]);
  return [...out, ...segment(0xda, [components.length, ...selectors, 0, 63, 0])];
}
