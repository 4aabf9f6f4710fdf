// Check of an exam against the profile's limits; the service's check is authoritative.

const within = (value, range) => !range || (value >= range[0] && value <= range[1]);

/** The limits that an exam violates; empty for none. */
export function outside(meta, limits) {
  const found = [];
  if (!within(meta.rows, limits.height) || !within(meta.columns, limits.width)) found.push(`${meta.columns}x${meta.rows}`);
  if (!within(meta.slices, limits.slices)) found.push(`${meta.slices} slices`);
  if (limits.bits.length && !limits.bits.includes(meta.bits)) found.push(`${meta.bits} bit`);
  if (limits.photometric.length && !limits.photometric.includes(meta.photometric)) found.push(meta.photometric);
  if (limits.modalities.length && meta.modality && !limits.modalities.includes(meta.modality)) found.push(meta.modality);
  return found.join(", ");
}
