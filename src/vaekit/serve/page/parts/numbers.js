// Numbers as reports write them.
const MINUS = "\u2212";

export function fixed(value, digits) {
  if (value === null || Number.isNaN(value)) return "\u2013";
  if (!Number.isFinite(value)) return value > 0 ? "\u221e" : `${MINUS}\u221e`;
  const text = value.toFixed(digits);
  return (Number(text) ? text : text.replace("-", "")).replace("-", MINUS); // no "-0.0"
}

export function signedFixed(value, digits) {
  if (!Number(value.toFixed(digits))) return `\u00b1${fixed(value, digits)}`;
  return value > 0 ? `+${fixed(value, digits)}` : fixed(value, digits);
}

export function percent(share) {
  if (!share) return "0 %";
  return share < 0.0005 ? "< 0.05 %" : `${(100 * share).toFixed(1)} %`;
}

export function fileSize(bytes) {
  const units = ["bytes", "KiB", "MiB", "GiB"];
  const power = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), units.length - 1);
  return `${(bytes / 1024 ** power).toFixed(power && bytes / 1024 ** power < 100 ? 1 : 0)} ${units[power]}`;
}
