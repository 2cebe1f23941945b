// Pulse of the stream: a tile for each metric, with its course in the last minutes.

import { el, svg, sync, unseen } from "./dom.js";
import { count, duration, number } from "./words.js";

const WIDTH = 120;
const HEIGHT = 30;

const latency = (name, what, title, target) => (pulse) => {
  const { p50_s, p99_s, recent, count: n } = pulse.latencies[name];
  const late = recent && p99_s > target;
  return {
    key: name,
    title,
    value: duration(p50_s),
    unit: p50_s === null ? "" : "median",
    detail: p50_s === null ? `no ${what} yet` : `p99 ${duration(p99_s)}${recent ? "" : ` · ${count(n, what)} in all`}`,
    state: late ? "late" : null,
    note: late ? `slower than ${duration(target)}` : null,
    line: pulse.history[`${name}_p50_s`],
    said: p50_s === null ? "" : `p99 target ${duration(target)}`,
  };
};

const TILES = [
  (pulse) => ({
    key: "events",
    title: "Events",
    value: number(pulse.events_per_s),
    unit: "per second",
    detail: pulse.topics
      .filter(({ per_s }) => per_s > 0)
      .map(({ topic, per_s }) => `${topic.replace("recommendation-", "")} ${number(per_s)}`)
      .join(" · ") || "quiet",
    line: pulse.history.events_per_s,
  }),
  latency("answer", "answer", "Request to answer", 0.1),
  latency("click", "click", "Click to vector", 1),
  latency("freshness", "article", "Published to recommendable", 2),
  (pulse) => ({
    key: "auc",
    title: "Rolling AUC",
    value: pulse.auc === null ? "–" : pulse.auc.toFixed(3),
    unit: "",
    detail: pulse.auc === null ? "no answer judged by clicks yet" : "0.5 is chance, 1 perfect",
    line: pulse.history.auc,
    floor: 0.4,
  }),
  (pulse) => ({
    key: "lag",
    title: "Lag",
    value: number(pulse.lag),
    unit: pulse.lag === null ? "" : "events behind",
    detail:
      [
        pulse.degraded ? `${number(pulse.degraded)} degraded answers` : "",
        pulse.dead_letters ? `${number(pulse.dead_letters)} dead letters` : "",
      ]
        .filter(Boolean)
        .join(" · ") || `${pulse.answering} of ${count(pulse.processes, "process", "processes")} answering`,
    line: pulse.history.lag,
  }),
];

/** Shows the pulse in the list `parent`. */
export function showPulse(parent, pulse) {
  if (!pulse.history) return;
  sync(parent, TILES.map((tile) => tile(pulse)), (tile) => tile.key, make, update);
}

function make(tile) {
  return el(
    "li",
    { class: "tile" },
    el("h3", {}, tile.title),
    el("p", { class: "value" }, el("strong"), " ", el("span", { class: "unit" })),
    el("p", { class: "detail" }),
    svg("svg", { class: "line", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("path", { class: "area" }), svg("path", { class: "stroke", "vector-effect": "non-scaling-stroke" })),
  );
}

function update(element, tile) {
  element.classList.toggle("late", tile.state === "late");
  element.querySelector("strong").textContent = tile.value;
  element.querySelector(".unit").textContent = tile.unit;
  const detail = element.querySelector(".detail");
  detail.replaceChildren(tile.detail, tile.note ? el("span", { class: "note" }, ` ${tile.note}`) : "");
  if (tile.said) detail.append(unseen(`, ${tile.said}`));
  draw(element.querySelector("svg"), tile.line ?? [], tile.floor ?? 0);
}

/** Draws a line from `floor` up and the area below it, with gaps where nothing was measured. */
function draw(chart, values, floor) {
  const top = Math.max(...values.filter((value) => value !== null).map((value) => value - floor), 0) || 1;
  const step = WIDTH / Math.max(1, values.length - 1);
  const point = (i) => {
    const share = Math.max(0, values[i] - floor) / top;
    return `${(i * step).toFixed(1)} ${(HEIGHT - 2 - share * (HEIGHT - 5)).toFixed(1)}`;
  };
  let stroke = "";
  let area = "";
  values.forEach((value, i) => {
    if (value === null) return;
    const goes = i > 0 && values[i - 1] !== null;
    // A single point is a dot.
    stroke += goes ? `L${point(i)}` : `M${point(i)}h0.01`;
    if (goes) area += `M${((i - 1) * step).toFixed(1)} ${HEIGHT}L${point(i - 1)}L${point(i)}V${HEIGHT}Z`;
  });
  chart.querySelector(".stroke").setAttribute("d", stroke);
  chart.querySelector(".area").setAttribute("d", area);
}
