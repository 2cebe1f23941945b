// Formats of numbers and times for people.

/** Formats the time since `time`, both Unix seconds: `4 min`, `3 h`, `2 d`. */
export function age(time, now) {
  if (time === null || time === undefined) return "";
  const seconds = Math.max(0, now - time);
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 2 * 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/** Formats a count: `3 clicks`. */
export const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

/** Formats a duration: `48 ms`, `1.3 s`; a dash if unknown. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.0095) return `${(seconds * 1000).toFixed(1)} ms`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  return seconds < 99.5 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds)} s`;
}

/** Formats a number without decimals, or with one if it is small; a dash if unknown. */
export function number(value) {
  if (value === null || value === undefined) return "–";
  if (value < 9.95 && !Number.isInteger(value)) return value.toFixed(1);
  return Math.round(value).toLocaleString("en");
}

/** Formats a signed number: `+0.52`, with a typographic minus. */
export const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;

/** Formats a time of the stream, in UTC. */
export function moment(seconds) {
  const format = { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZone: "UTC" };
  return `${new Date(seconds * 1000).toLocaleString("en-GB", format)} UTC`;
}

/** Assigns one of eight colours to a category, always the same. */
export function hue(category) {
  let sum = 0;
  for (const letter of category) sum = (sum * 31 + letter.codePointAt(0)) % 997;
  return sum % 8;
}
