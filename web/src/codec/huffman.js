// Huffman tables of baseline JPEG: the standard ones (ITU-T T.81, K.3), optimal ones, and the entropy coder.

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

// Symbols of the standard AC tables, in order of code length.
const AC_LUMINANCE = [
  0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71, 0x14, 0x32,
  0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72, 0x82, 0x09, 0x0a,
  ...range(0x16, 0x1a), ...range(0x25, 0x2a), ...range(0x34, 0x3a), ...range(0x43, 0x4a), ...range(0x53, 0x5a),
  ...range(0x63, 0x6a), ...range(0x73, 0x7a), ...range(0x83, 0x8a), ...range(0x92, 0x9a), ...range(0xa2, 0xaa),
  ...range(0xb2, 0xba), ...range(0xc2, 0xca), ...range(0xd2, 0xda), ...range(0xe1, 0xea), ...range(0xf1, 0xfa),
];
const AC_CHROMINANCE = [
  0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22, 0x32, 0x81,
  0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1, 0x0a, 0x16, 0x24, 0x34,
  0xe1, 0x25, 0xf1, ...range(0x17, 0x1a), ...range(0x26, 0x2a), ...range(0x35, 0x3a), ...range(0x43, 0x4a),
  ...range(0x53, 0x5a), ...range(0x63, 0x6a), ...range(0x73, 0x7a), ...range(0x82, 0x8a), ...range(0x92, 0x9a),
  ...range(0xa2, 0xaa), ...range(0xb2, 0xba), ...range(0xc2, 0xca), ...range(0xd2, 0xda), ...range(0xe2, 0xea),
  ...range(0xf2, 0xfa),
];

/** DC and AC of luminance, then of chrominance: code lengths (how many of 1 to 16 bits) and symbols. */
export const STANDARD = [
  { lengths: [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], symbols: range(0, 11) },
  { lengths: [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125], symbols: AC_LUMINANCE },
  { lengths: [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], symbols: range(0, 11) },
  { lengths: [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119], symbols: AC_CHROMINANCE },
];

/** Code and length of each symbol. */
export function codeTable({ lengths, symbols }) {
  const table = { code: new Uint16Array(256), bits: new Uint8Array(256) };
  let code = 0, at = 0;
  for (let bits = 1; bits <= 16; bits++, code <<= 1) {
    for (let i = 0; i < lengths[bits - 1]; i++, code++, at++) {
      table.code[symbols[at]] = code;
      table.bits[symbols[at]] = bits;
    }
  }
  return table;
}

const magnitude = (value) => 32 - Math.clz32(Math.abs(value));

/** Call `emit(symbol, value, bits)` for each AC symbol of a block in zigzag order. */
function acSymbols(block, emit) {
  let run = 0;
  for (let k = 1; k < 64; k++) {
    if (block[k] === 0) {
      run++;
      continue;
    }
    for (; run > 15; run -= 16) emit(0xf0, 0, 0);
    const bits = magnitude(block[k]);
    emit((run << 4) | bits, block[k], bits);
    run = 0;
  }
  if (run > 0) emit(0, 0, 0);
}

/** How often each symbol occurs, for each of the four tables. */
export function countSymbols(order) {
  const counts = Array.from({ length: 4 }, () => new Float64Array(257));
  for (const { block, difference, table } of order) {
    counts[2 * table][magnitude(difference)]++;
    acSymbols(block, (symbol) => counts[2 * table + 1][symbol]++);
  }
  return counts;
}

/** The optimal table of at most 16 bits, made as the IJG makes it (ITU-T T.81, K.2, with its choice of ties). */
export function optimalTable(counts) {
  const bits = limited(codeSizes(Float64Array.from(counts)));
  const sizes = codeSizes(Float64Array.from(counts)), symbols = [];
  for (let size = 1; size <= Math.max(...sizes); size++) {
    for (let symbol = 0; symbol < 256; symbol++) if (sizes[symbol] === size) symbols.push(symbol);
  }
  return { lengths: bits, symbols };
}

function codeSizes(frequency) {
  const sizes = new Int32Array(257), next = new Int32Array(257).fill(-1);
  frequency[256] = 1; // reserves the code of all ones
  const least = (other) => {
    let found = -1;
    for (let i = 0; i < 257; i++) {
      if (frequency[i] && i !== other && (found < 0 || frequency[i] <= frequency[found])) found = i;
    }
    return found;
  };
  for (;;) {
    let first = least(-1), second = least(first);
    if (second < 0) return sizes;
    frequency[first] += frequency[second];
    frequency[second] = 0;
    for (sizes[first]++; next[first] >= 0; sizes[first]++) first = next[first];
    next[first] = second;
    for (sizes[second]++; next[second] >= 0; sizes[second]++) second = next[second];
  }
}

/** Number of codes of 1 to 16 bits, longer ones shortened, without the reserved one. */
function limited(sizes) {
  const bits = new Array(33 + 257).fill(0);
  for (const size of sizes) if (size) bits[size]++;
  for (let i = bits.length - 1; i > 16; i--) {
    while (bits[i] > 0) {
      let j = i - 2;
      while (bits[j] === 0) j--;
      bits[i] -= 2;
      bits[i - 1]++;
      bits[j + 1] += 2;
      bits[j]--;
    }
  }
  let longest = 16;
  while (bits[longest] === 0) longest--;
  bits[longest]--;
  return bits.slice(1, 17);
}

/** A writer of entropy-coded blocks. */
export function bitsWriter() {
  const out = [];
  let held = 0, count = 0;
  const put = (value, bits) => {
    for (let i = bits - 1; i >= 0; i--) {
      held = (held << 1) | ((value >> i) & 1);
      if (++count === 8) {
        out.push(held);
        if (held === 0xff) out.push(0);
        held = count = 0;
      }
    }
  };
  const amount = (value, bits) => put(value < 0 ? value - 1 : value, bits);
  return {
    block(block, difference, dc, ac) {
      const bits = magnitude(difference);
      put(dc.code[bits], dc.bits[bits]);
      amount(difference, bits);
      acSymbols(block, (symbol, value, extra) => {
        put(ac.code[symbol], ac.bits[symbol]);
        amount(value, extra);
      });
    },
    finish() {
      if (count) put(0x7f, 8 - count);
      return out;
    },
  };
}
