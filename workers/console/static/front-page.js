// Front page: articles with their reasons, and the changes since the previous list.

import { el, sync, unseen } from "./dom.js";
import { age, count, hue, signed } from "./words.js";

const MOVE_MS = 420;
const CHIPS = 2;
const FEATURES = 3;
const LEAST = 0.005;

const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Compares `items` with the ids `before` of the previous list; `null` if there was none. */
export function changes(before, items) {
  const changed = { fresh: 0, up: 0, down: 0, gone: 0, moves: new Map() };
  if (before === null) return changed;
  items.forEach(({ news_id }, i) => {
    const was = before.indexOf(news_id);
    if (was < 0) changed.fresh += 1;
    else if (was > i) changed.up += 1;
    else if (was < i) changed.down += 1;
    changed.moves.set(news_id, was < 0 ? "new" : was - i);
  });
  changed.gone = before.filter((id) => !items.some(({ news_id }) => news_id === id)).length;
  return changed;
}

/** Describes the changes in a sentence. */
export function inWords({ fresh, up, down, gone }) {
  const parts = [
    fresh ? `${fresh} new` : "",
    up ? `${up} moved up` : "",
    down ? `${down} moved down` : "",
    gone && !fresh ? `${gone} gone` : "",
  ].filter(Boolean);
  return parts.length ? parts.join(", ") : "the order is the same";
}

/** Shows an answer's items in the list `parent`; articles that moved glide to their places. */
export function showFrontPage(parent, answer, moves, open) {
  const was = new Map([...parent.children].map((child) => [child, child.getBoundingClientRect().top]));
  sync(
    parent,
    answer.items,
    (item) => item.news_id,
    make,
    (element, item, i) => update(element, item, i, { answer, move: moves.get(item.news_id), open }),
  );
  if (!was.size || still()) return;
  for (const child of parent.children) {
    const before = was.get(child);
    if (before === undefined) {
      child.animate([{ opacity: 0, transform: "translateY(0.6rem)" }, { opacity: 1, transform: "none" }], {
        duration: MOVE_MS,
        easing: "ease-out",
      });
      continue;
    }
    const by = before - child.getBoundingClientRect().top;
    if (Math.abs(by) > 1) {
      child.animate([{ transform: `translateY(${by}px)` }, { transform: "none" }], {
        duration: MOVE_MS,
        easing: "cubic-bezier(0.2, 0.7, 0.2, 1)",
      });
    }
  }
}

function make() {
  return el(
    "li",
    { class: "article" },
    el("p", { class: "meta" }),
    el("h3", {}, el("button", { type: "button", class: "headline" })),
    el("p", { class: "because" }),
    el(
      "details",
      {},
      el("summary", {}, el("span", { class: "chips" }), el("span", { class: "ask" }, "Why this?")),
      el("div", { class: "why" }),
    ),
  );
}

function update(element, item, i, { answer, move, open }) {
  element.querySelector(".meta").replaceChildren(...meta(item, answer.time_s, move));
  const title = item.title || item.news_id;
  const button = element.querySelector(".headline");
  button.textContent = title;
  button.onclick = () => open(item, i);
  const because = element.querySelector(".because");
  because.hidden = item.because === null;
  because.replaceChildren(...(item.because ? ["Because you read ", el("q", {}, item.because.title)] : []));
  const speaking = item.why.filter(({ effect }) => effect > 0).slice(0, CHIPS);
  element
    .querySelector(".chips")
    .replaceChildren(...speaking.map(({ sentence }) => el("span", { class: "chip" }, sentence)));
  element.querySelector(".ask").replaceChildren("Why this?", unseen(` ${title}`));
  element.querySelector(".why").replaceChildren(why(item));
}

function meta(item, now, move) {
  const old = age(item.published_at_s, now);
  const parts = [];
  if (item.category) {
    parts.push(el("span", { class: `dot hue-${hue(item.category)}`, "aria-hidden": "true" }), item.category);
  }
  if (old) parts.push(`${parts.length ? " · " : ""}${old === "just now" ? old : `${old} old`}`);
  for (const rule of item.rules) parts.push(el("span", { class: "rule" }, `rule ${rule}`));
  if (move === "new") parts.push(el("span", { class: "move new" }, "new"));
  else if (move) {
    const arrow = el("span", { "aria-hidden": "true" }, move > 0 ? "▲ " : "▼ ");
    const way = move > 0 ? "up" : "down";
    parts.push(el("span", { class: `move ${way}` }, arrow, `${Math.abs(move)}`, unseen(` ${Math.abs(move) === 1 ? "place" : "places"} ${way}`)));
  }
  return parts;
}

function why(item) {
  const most = Math.max(...item.why.map(({ effect }) => Math.abs(effect)), 0.01);
  const rows = item.why.map(({ sentence, effect, features }) => {
    const bar = el("span", { class: `bar ${effect < 0 ? "against" : "for"}` });
    bar.style.inlineSize = `${(50 * Math.abs(effect)) / most}%`;
    const told = features.filter(({ effect: part }) => Math.abs(part) >= LEAST).slice(0, FEATURES);
    const parts = told.map(({ name, value, effect: part }) => `${name} ${signed(value)} adds ${signed(part)}`);
    const rest = features.length - told.length;
    if (rest && parts.length) parts.push(`${rest} more`);
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, sentence, el("span", { class: "features" }, parts.join(" · "))),
      el("td", { class: "bars", "aria-hidden": "true" }, bar),
      el("td", { class: "number" }, signed(effect)),
    );
  });
  const table = el(
    "table",
    {},
    el("caption", { class: "unseen" }, `What the score of ${item.title || item.news_id} is made of`),
    el("thead", { class: "unseen" }, el("tr", {}, ...["Reason", "", "Adds"].map((name) => el(name ? "th" : "td", name ? { scope: "col" } : {}, name)))),
    el("tbody", {}, ...rows),
    el("tfoot", {}, el("tr", {}, el("th", { scope: "row" }, "Score"), el("td"), el("td", { class: "number" }, signed(item.score)))),
  );
  const found = item.sources.length ? `Found among: ${item.sources.join(", ")}.` : "";
  const drawn =
    item.propensity !== null && item.propensity < 1 ? ` Drawn with probability ${item.propensity.toFixed(2)}.` : "";
  return el("div", {}, table, el("p", { class: "found" }, `${found}${drawn} ${item.news_id}`));
}

/** Describes the basis of the list, for the line below its heading. */
export function about(answer, took) {
  const rests = answer.user_clicks
    ? `Based on ${count(answer.user_clicks, "click")}`
    : "No clicks of this reader yet: everybody's front page";
  const variant = answer.experiment ? ` · experiment ${answer.experiment}, variant ${answer.variant ?? "none"}` : "";
  const ranker = answer.ranker.startsWith(`${answer.bundle}-`)
    ? `revision ${answer.ranker.slice(answer.bundle.length + 1)}`
    : answer.ranker;
  return `${rests} · answered in ${took} · vectors ${answer.bundle} · ranker ${ranker}${variant}`;
}
