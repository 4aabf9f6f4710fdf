// Downsizing as OpenCV does it, sample for sample: `cv2.resize` with INTER_LANCZOS4.
//
// The kernel has 8x8 taps and does not anti-alias when it shrinks. OpenCV keeps the weights of 8-bit samples
// as 11-bit fixed point and rounds once, after both passes; those of 16-bit samples are floats.
// Reference: opencv/modules/imgproc/src/resize.cpp (Apache-2.0), re-implemented from its arithmetic.

const TAPS = 8;
const SCALE = 2048;
const R = Math.SQRT1_2;
const SIN_COS = [[1, 0], [-R, -R], [0, 1], [R, -R], [-1, 0], [R, R], [0, -1], [-R, R]];
const f32 = Math.fround;

/** The kernels that a browser has; others need `bitdose send`. */
export const KERNELS = ["lanczos4"];

/** Weights of the eight taps around a position `x` in [0, 1) after the fourth of them. */
function weights(x) {
  const found = new Float32Array(TAPS);
  const start = -f32(x + 3) * Math.PI * 0.25;
  const sine = Math.sin(start), cosine = Math.cos(start);
  let sum = 0;
  for (let i = 0; i < TAPS; i++) {
    const at = f32(f32(x + 3) - i);
    if (Math.abs(at) >= f32(1e-6)) {
      const y = -at * Math.PI * 0.25;
      found[i] = (SIN_COS[i][0] * sine + SIN_COS[i][1] * cosine) / (y * y);
    } else {
      found[i] = 1e30; // on a sample: its weight drowns the others, and becomes 1
    }
    sum = f32(sum + found[i]);
  }
  const inverse = f32(1 / sum);
  for (let i = 0; i < TAPS; i++) found[i] *= inverse;
  return found;
}

/** For each target sample, the eight source samples (edges repeated) and their weights. */
function taps(from, to, fixed) {
  const index = new Int32Array(to * TAPS);
  const weight = fixed ? new Int32Array(to * TAPS) : new Float32Array(to * TAPS);
  const scale = 1 / (to / from);
  for (let d = 0; d < to; d++) {
    const position = f32((d + 0.5) * scale - 0.5);
    const first = Math.floor(position);
    const w = weights(f32(position - first));
    for (let k = 0; k < TAPS; k++) {
      index[d * TAPS + k] = Math.min(Math.max(first - 3 + k, 0), from - 1);
      weight[d * TAPS + k] = fixed ? roundHalfEven(f32(w[k] * SCALE)) : w[k];
    }
  }
  return { index, weight };
}

function roundHalfEven(value) {
  const low = Math.floor(value), rest = value - low;
  if (rest !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}

/**
 * Resize one image.
 *
 * @param {{pixels: Uint8Array|Uint16Array, width: number, height: number, channels: number}} image
 *   Samples row by row, channels interleaved.
 * @param {number} width Target columns.
 * @param {number} height Target rows.
 * @returns the same kind of image at the target size.
 */
export function lanczos4(image, width, height) {
  if (image.width === width && image.height === height) return image;
  const fixed = image.pixels instanceof Uint8Array;
  const horizontal = taps(image.width, width, fixed);
  const vertical = taps(image.height, height, fixed);
  const resize = fixed ? resizeFixed : resizeFloat;
  return { ...image, width, height, pixels: resize(image, width, height, horizontal, vertical) };
}

/** Filter one source row horizontally, into `out`. */
function filterRow(image, row, width, { index, weight }, out, fixed) {
  const { pixels, channels } = image;
  const start = row * image.width * channels;
  for (let x = 0; x < width; x++) {
    for (let c = 0; c < channels; c++) {
      let sum = 0;
      for (let k = 0, t = x * TAPS; k < TAPS; k++, t++) {
        const product = pixels[start + index[t] * channels + c] * weight[t];
        sum = fixed ? (sum + product) | 0 : f32(sum + f32(product));
      }
      out[x * channels + c] = sum;
    }
  }
}

/** Yield, for each target row, its eight filtered source rows; each source row is filtered once. */
function* rowsOf(image, width, height, horizontal, vertical, fixed) {
  const length = width * image.channels;
  const kept = new Map();
  for (let y = 0; y < height; y++) {
    const needed = vertical.index.subarray(y * TAPS, (y + 1) * TAPS);
    for (const row of kept.keys()) if (row < needed[0]) kept.delete(row);
    for (const row of needed) {
      if (kept.has(row)) continue;
      const out = fixed ? new Int32Array(length) : new Float32Array(length);
      filterRow(image, row, width, horizontal, out, fixed);
      kept.set(row, out);
    }
    yield [y, Array.from(needed, (row) => kept.get(row)), vertical.weight.subarray(y * TAPS, (y + 1) * TAPS)];
  }
}

function resizeFixed(image, width, height, horizontal, vertical) {
  const length = width * image.channels;
  const target = new Uint8ClampedArray(length * height);
  for (const [y, rows, w] of rowsOf(image, width, height, horizontal, vertical, true)) {
    for (let x = 0; x < length; x++) {
      let sum = 0;
      for (let k = 0; k < TAPS; k++) sum = (sum + Math.imul(rows[k][x], w[k])) | 0;
      target[y * length + x] = (sum + (1 << 21)) >> 22;
    }
  }
  return new Uint8Array(target.buffer);
}

function resizeFloat(image, width, height, horizontal, vertical) {
  const length = width * image.channels;
  const target = new Uint16Array(length * height);
  for (const [y, rows, w] of rowsOf(image, width, height, horizontal, vertical, false)) {
    for (let x = 0; x < length; x++) {
      let sum = 0;
      for (let k = 0; k < TAPS; k++) sum = f32(sum + f32(rows[k][x] * w[k]));
      target[y * length + x] = Math.min(Math.max(roundHalfEven(sum), 0), 65535);
    }
  }
  return target;
}
