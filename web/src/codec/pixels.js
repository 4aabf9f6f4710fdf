// Images as codec input, with helper functions; equal to bitdose.image and bitdose.wire.
//
// An image is {pixels, width, height, channels, slices, bits}: slice by slice, row by row, channels interleaved;
// Uint8Array up to 8 bits, Uint16Array above; grey (0 is black) or RGB.

/** An unsupported operation; `key` is the message's locale key. */
export class Refused extends Error {
  constructor(key, detail = "") {
    super(detail ? `${key}: ${detail}` : key);
    this.key = key;
    this.detail = detail;
  }
}

/** Largest image that a browser takes, samples; above it there is `bitdose send`. */
export const MAX_SAMPLES = 64 * 1024 * 1024;

/** Refuse sizes that would exhaust the browser, before anything is decoded. */
export function checkSize(width, height, slices = 1) {
  if (!(width >= 1 && height >= 1 && slices >= 1)) throw new Refused("damaged");
  if (width * height * slices > MAX_SAMPLES) throw new Refused("too-large", `${width}x${height}x${slices}`);
}

export const containerOf = (bits) => (bits <= 8 ? Uint8Array : Uint16Array);

/** Map the full range of one depth linearly onto another's, rounding half up. */
export function rescaleBits(image, bits) {
  if (bits === image.bits) return image;
  const topIn = 2 ** image.bits - 1, topOut = 2 ** bits - 1, Container = containerOf(bits);
  const table = Container.from({ length: topIn + 1 }, (_, x) => Math.floor((x * 2 * topOut + topIn) / (2 * topIn)));
  return { ...image, bits, pixels: Container.from(image.pixels, (x) => table[x]) };
}

/** One slice of a volume, as an image. */
export function sliceOf(image, index) {
  const size = image.width * image.height * image.channels;
  return { ...image, slices: 1, pixels: image.pixels.subarray(index * size, (index + 1) * size) };
}

/** Turn stored rows and columns upright by an EXIF orientation. */
export function oriented(image, orientation) {
  if (!(orientation >= 2 && orientation <= 8)) return image;
  const { width, height, channels, pixels } = image, swap = orientation >= 5;
  const [wide, high] = swap ? [height, width] : [width, height];
  const out = new pixels.constructor(pixels.length);
  for (let y = 0; y < high; y++) {
    for (let x = 0; x < wide; x++) {
      const column = [2, 3, 6, 7].includes(orientation) ? wide - 1 - x : x;
      const row = [3, 4, 7, 8].includes(orientation) ? high - 1 - y : y;
      const from = (swap ? column * width + row : row * width + column) * channels;
      for (let c = 0; c < channels; c++) out[(y * wide + x) * channels + c] = pixels[from + c];
    }
  }
  return { ...image, width: wide, height: high, pixels: out };
}

/** Pack an exam's streams into one payload: `BDX1`, their number, then each with its length. */
export function packStreams(streams) {
  const out = new Uint8Array(8 + streams.reduce((sum, stream) => sum + 8 + stream.length, 0));
  const view = new DataView(out.buffer);
  out.set([0x42, 0x44, 0x58, 0x31]);
  view.setUint32(4, streams.length);
  let at = 8;
  for (const stream of streams) {
    view.setBigUint64(at, BigInt(stream.length));
    out.set(stream, at + 8);
    at += 8 + stream.length;
  }
  return out;
}
