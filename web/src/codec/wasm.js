// The codecs that come as WebAssembly, each loaded when it is first needed and kept.

import jpegWasm from "@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasm";
import j2kWasm from "@cornerstonejs/codec-openjpeg/wasm";
import { checkSize, Refused } from "./pixels.js";

const loaded = new Map();

function once(name, load) {
  if (!loaded.has(name)) {
    const loading = load();
    loaded.set(name, loading);
    loading.catch(() => loaded.delete(name)); // a dropped link: the next exam tries again
  }
  return loaded.get(name);
}

async function instance(factory, url) {
  const response = await fetch(url);
  if (!response.ok) throw new Refused("codec-missing");
  return factory({ wasmBinary: await response.arrayBuffer(), print() {}, printErr() {} });
}

/** OpenJPEG 2.5, the library that the Python client uses through Pillow. */
export const openjpeg = () =>
  once("openjpeg", async () => instance((await import("@cornerstonejs/codec-openjpeg/wasmjs")).default, j2kWasm));

const turbo = () =>
  once("turbo", async () => instance((await import("@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasmjs")).default, jpegWasm));

/** Code one image of 8 or 16 bits at a ratio: 9/7 wavelet, one layer, layer-progressive as Pillow writes it. */
export async function encodeJ2k(image, ratio) {
  if (image.channels === 3 && image.bits > 8) throw new Refused("deep-colour");
  const encoder = new (await openjpeg()).J2KEncoder();
  try {
    encoder.setProgressionOrder(0);
    encoder.setQuality(false, 1);
    encoder.setCompressionRatio(0, ratio);
    const { width, height, channels, bits } = image;
    const target = encoder.getDecodedBuffer({ width, height, bitsPerSample: bits, componentCount: channels, isSigned: false });
    target.set(new Uint8Array(image.pixels.buffer, image.pixels.byteOffset, image.pixels.byteLength));
    encoder.encode();
    return new Uint8Array(encoder.getEncodedBuffer());
  } catch (error) {
    throw new Refused("codec-failed", String(error?.message ?? ""));
  } finally {
    encoder.delete();
  }
}

/** Decode a stream whose header said its size: stored samples as bytes, and what they are. */
function decoded(decoder, data, sizeOf) {
  try {
    decoder.getEncodedBuffer(data.length).set(data);
    checkSize(...sizeOf(decoder));
    decoder.decode();
    const { width, height, componentCount, bitsPerSample, isSigned } = decoder.getFrameInfo();
    checkSize(width, height);
    return { data: new Uint8Array(decoder.getDecodedBuffer()), width, height, channels: componentCount, bits: bitsPerSample, isSigned };
  } catch (error) {
    throw error instanceof Refused ? error : new Refused("damaged");
  } finally {
    decoder.delete();
  }
}

export async function decodeJpeg(data) {
  return decoded(new (await turbo()).JPEGDecoder(), data, (decoder) => {
    decoder.readHeader();
    const { width, height } = decoder.getFrameInfo();
    return [width, height];
  });
}

/** A raw codestream, as DICOM holds it: SOC, then SIZ with the size of its grid. */
export async function decodeJ2k(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  if (data.length < 24 || view.getUint32(0) !== 0xff4fff51) throw new Refused("damaged");
  return decoded(new (await openjpeg()).J2KDecoder(), data, () => [view.getUint32(8), view.getUint32(12)]);
}
