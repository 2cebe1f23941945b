// Numbers and times as people read them.

/** `4 min`, `3 h`, `2 d`; how long `time` lies before `now`, both Unix seconds. */
export function age(time, now) {
  if (time === null || time === undefined) return "";
  const seconds = Math.max(0, now - time);
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 2 * 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/** `3 clicks`. */
export const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

/** `48 ms`, `1.3 s`; a dash where nothing is known. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.0095) return `${(seconds * 1000).toFixed(1)} ms`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  return seconds < 99.5 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds)} s`;
}

/** Whole, or with one digit behind the point where it is small. */
export function number(value) {
  if (value === null || value === undefined) return "–";
  if (value < 9.95 && !Number.isInteger(value)) return value.toFixed(1);
  return Math.round(value).toLocaleString("en");
}

/** `+0.52`, with a true minus. */
export const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;

/** A moment of the stream, in UTC. */
export function moment(seconds) {
  const format = { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZone: "UTC" };
  return `${new Date(seconds * 1000).toLocaleString("en-GB", format)} UTC`;
}

/** One of eight colours of a category, always the same. */
export function hue(category) {
  let sum = 0;
  for (const letter of category) sum = (sum * 31 + letter.codePointAt(0)) % 997;
  return sum % 8;
}
