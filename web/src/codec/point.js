// Operating points in their text form, as bitdose.codecs.point reads them, as far as a browser can code them.

import { KERNELS } from "./resample.js";
import { Refused } from "./pixels.js";

const SYNTAX = /^(jpeg|jpeg2000):(?:q(\d+)|(\d+(?:\.\d+)?)x)((?:\+[a-z0-9]+)*)(?:@(\d+)(?:x(\d+))?(?::([a-z0-9]+))?(?::([a-z0-9]+))?)?$/;
const OPTIONS = { jpeg: ["optimize", "444", "420"], jpeg2000: [] };

/**
 * Read a point; throws `Refused` ("point") for one that a browser cannot code, for which there is `bitdose send`.
 *
 * @returns {{codec: string, quality: number, options: string[], width: number|null, height: number|null}}
 */
export function parsePoint(text) {
  const found = SYNTAX.exec(text);
  if (!found) throw new Refused("point", text);
  const [, codec, quality, ratio, options, width, height, kernel = "lanczos4"] = found;
  const asked = options.split("+").slice(1);
  const known = asked.every((option) => OPTIONS[codec].includes(option));
  const fits = (codec === "jpeg") === (quality !== undefined);
  if (!known || !fits || !KERNELS.includes(kernel)) throw new Refused("point", text);
  const side = (digits) => (digits === undefined ? null : Number(digits));
  return { codec, quality: Number(quality ?? ratio), options: asked, width: side(width), height: side(height ?? width) };
}
