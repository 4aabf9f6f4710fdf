// Transmission time on a link: the formulas of bitdose.links, for named links or the measured one.

const SEGMENT = 1460, WINDOW = 10 * SEGMENT, SETUP = 2, HELLO = [700, 3000], REQUEST = 400, ANSWER = 500, MATHIS = 0.93;
const MEASURED = "bitdose-link";

/** @param {{up_bps: number, down_bps: number, rtt_s: number, loss: number, overhead: number}} link */
export function seconds(link, bytes, fresh = true) {
  const lossless = (link.up_bps * (1 - link.loss)) / link.overhead;
  const rate = link.loss ? Math.min(lossless, (MATHIS * 8 * SEGMENT) / (link.rtt_s * Math.sqrt(link.loss))) : lossless;
  const sent = bytes + REQUEST;
  const total = link.rtt_s + (8 * ANSWER * link.overhead) / link.down_bps + (8 * sent) / rate;
  if (!fresh) return total;
  const hello = 8 * link.overhead * (HELLO[0] / link.up_bps + HELLO[1] / link.down_bps);
  return total + SETUP * link.rtt_s + hello + stalls(link, rate, sent);
}

function stalls(link, rate, sent) {
  const byte = 8 / rate;
  let window = WINDOW, passed = WINDOW, total = 0;
  for (let wait; (wait = link.rtt_s + (SEGMENT - window) * byte) > 0; window *= 2, passed += window) {
    if (sent > passed) total += wait;
  }
  return total;
}

/** Record an upload's duration; small ones measure the round trip rather than the rate. */
export function measured(bytes, took) {
  if (bytes >= 2000 && took > 0.05) localStorage.setItem(MEASURED, JSON.stringify({ bps: (8 * bytes) / took, took }));
}

/** Whether the last longer upload was slow: an image of half a megabyte would take a minute. */
export function creeps() {
  const found = JSON.parse(localStorage.getItem(MEASURED) ?? "null");
  return found !== null && found.took > 2 && found.bps < 100_000;
}

/** The link as it was last measured; null before the first upload. */
export function ownLink() {
  const found = JSON.parse(localStorage.getItem(MEASURED) ?? "null");
  return found && { up_bps: found.bps, down_bps: found.bps, rtt_s: 0.2, loss: 0, overhead: 1 };
}
