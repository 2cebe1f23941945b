// The page shows one reader at a time, whose id is in the address (#reader=U42).

import { ask, Failure, Following, GONE } from "./api.js";
import { by, el } from "./dom.js";
import { about, changes, inWords, showFrontPage } from "./front-page.js";
import { showArticles, showRead, showReaders } from "./lists.js";
import { showPulse } from "./pulse.js";
import { age, duration, moment, number } from "./words.js";

const LENGTH = 10;
const READ = 8;
const AGAIN_MS = 3000;
const SEARCH_MS = 150;

const page = {
  reader: null,
  answer: null,
  asked: 0,
  busy: false,
  now: Date.now() / 1000,
  seen: [],
  read: [],
  trending: [],
  newest: [],
  link: "connecting",
  trouble: { stream: null, front: null, metrics: [] },
  again: 0,
};

const say = (text) => (by("said").textContent = text);

function showTrouble() {
  const { stream, front, metrics } = page.trouble;
  const gone = page.link === "gone" ? GONE : null;
  const texts = gone ? [gone] : [...new Set([stream, front, ...metrics].filter(Boolean))];
  const held = [...by("problems").children].map((child) => child.textContent);
  if (texts.length === held.length && texts.every((text, i) => text === held[i])) return;
  // `like this` is what to type.
  const withCode = (text) => text.split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part));
  by("problems").replaceChildren(...texts.map((text) => el("p", { class: "problem" }, ...withCode(text))));
}

function showLink() {
  const link = by("link");
  const state = page.link !== "connected" ? page.link : page.trouble.stream ? "waiting" : "connected";
  const words = { connecting: "connecting", connected: "connected", waiting: "waiting for Kafka", gone: "reconnecting" };
  link.dataset.state = state;
  link.textContent = words[state];
}

/** Requests the front page, based on more than `after` clicks if one was just published. */
async function refresh({ after = null, opened = null, since = 0 } = {}) {
  const reader = page.reader;
  if (reader === null) return;
  const turn = ++page.asked;
  clearTimeout(page.again);
  by("front").setAttribute("aria-busy", "true");
  const query = new URLSearchParams({ user: reader, k: LENGTH });
  if (after !== null) query.set("after", after);
  const start = performance.now();
  try {
    const answer = await ask(`/api/front-page?${query}`);
    if (turn !== page.asked) return;
    const took = duration((performance.now() - start) / 1000);
    const before = page.answer?.user_id === reader ? page.answer.items.map(({ news_id }) => news_id) : null;
    const changed = changes(before, answer.items);
    page.answer = answer;
    page.trouble.front = null;
    by("front-about").textContent = about(answer, took);
    showFrontPage(by("front"), answer, changed.moves, openListed);
    sayWhat({ answer, opened, changed, since });
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (turn !== page.asked) return;
    page.trouble.front = error.message;
    say(page.answer ? "The front page could not be refreshed; this is the previous one." : "");
    page.again = setTimeout(() => refresh({ after, opened, since }), AGAIN_MS);
  } finally {
    if (turn === page.asked) {
      by("front").setAttribute("aria-busy", "false");
      showTrouble();
    }
  }
}

function sayWhat({ answer, opened, changed, since }) {
  const notes = [];
  if (opened !== null) {
    const took = duration((performance.now() - since) / 1000);
    notes.push(
      answer.applied
        ? `You opened “${opened}”. ${took} later: ${inWords(changed)}.`
        : `You opened “${opened}”. The stream has not got to that click yet; refresh in a moment.`,
    );
  }
  if (answer.degraded) notes.push("The index did not answer: this list is a substitute.");
  for (const unmet of answer.unmet) notes.push(`Rule ${unmet}.`);
  if (!answer.items.length) notes.push("There is nothing to recommend. Publish articles, or replay a folder with `freshet replay`.");
  say(notes.join(" "));
}

/** Open an article of the front page; the focus goes to whatever takes its place. */
async function openListed(item, place) {
  const { request_id } = page.answer;
  const headlines = () => by("front").querySelectorAll(".headline");
  const wasFocused = headlines()[place] === document.activeElement;
  await open(item, request_id);
  if (wasFocused && (document.activeElement === document.body || !document.activeElement)) {
    (headlines()[Math.min(place, headlines().length - 1)] ?? by("front-heading")).focus({ preventScroll: true });
  }
}

async function open(article, request_id = null) {
  if (page.busy || page.reader === null) return;
  page.busy = true;
  const title = article.title || article.news_id;
  say(`Opening “${title}” …`);
  const since = performance.now();
  try {
    await ask("/api/open", { user_id: page.reader, news_id: article.news_id, request_id });
    page.trouble.front = null;
    const after = page.answer?.user_id === page.reader ? page.answer.user_clicks : null;
    await refresh({ after, opened: title, since });
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    page.trouble.front = error.message;
    say("");
    showTrouble();
  } finally {
    page.busy = false;
  }
}

const address = (reader) => `#reader=${encodeURIComponent(reader)}`;

function be(reader) {
  if (reader === page.reader) refresh();
  else location.hash = address(reader);
}

function newReader() {
  const [number] = crypto.getRandomValues(new Uint32Array(1));
  return `visitor-${number.toString(36)}`;
}

/** Shows the reader that the address names, or a new one if it names none. */
function arrive() {
  let reader = new URLSearchParams(location.hash.slice(1)).get("reader");
  if (!reader) {
    if (page.reader !== null) return;
    reader = newReader();
    history.replaceState(null, "", address(reader));
  }
  if (reader === page.reader) return;
  page.reader = reader;
  page.answer = null;
  page.read = [];
  by("front").replaceChildren();
  by("front-about").textContent = "";
  say("");
  by("front-heading").textContent = `Front page of ${reader}`;
  document.title = `${reader} · freshet console`;
  following.follow(reader);
  showAll();
  search();
  refresh();
}

/** Whether somebody may be choosing from a list, which must not change then. */
const chosenFrom = (list) => list.matches(":hover") || list.contains(document.activeElement);

function showAll() {
  showRead(by("read"), page.read.slice(0, READ), page.now);
  if (!chosenFrom(by("trending"))) {
    showArticles(by("trending"), page.trending, {
      aside: ({ clicks }) => `${number(clicks)} ${clicks === 1 ? "click" : "clicks"} lately`,
      open: (article) => open(article),
      empty: "No clicks at the moment.",
    });
  }
  if (!chosenFrom(by("newest"))) {
    showArticles(by("newest"), page.newest, {
      aside: ({ published_at_s }) => age(published_at_s, page.now),
      open: (article) => open(article),
      empty: "No article has a vector yet. Publish some: freshet publish, or freshet replay.",
    });
  }
  if (!chosenFrom(by("readers"))) search();
}

let searching = 0;

function search() {
  const typed = by("reader-id").value.trim();
  clearTimeout(searching);
  if (!typed) {
    by("readers-heading").textContent = "Seen last";
    showReaders(by("readers"), page.seen, { current: page.reader, be, empty: "No readers recently." });
    return;
  }
  searching = setTimeout(async () => {
    try {
      const { users } = await ask(`/api/users?${new URLSearchParams({ q: typed })}`);
      if (by("reader-id").value.trim() !== typed) return;
      by("readers-heading").textContent = "Seen lately";
      const empty = "No recent reader has such an id. You can use it anyway: an id need not be known.";
      showReaders(by("readers"), users, { current: page.reader, be, empty });
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
    }
  }, SEARCH_MS);
}

const following = new Following(
  {
    about: ({ stream, live, problem }) => {
      by("stream-name").textContent = stream;
      page.live = live;
      const was = page.trouble.stream;
      page.trouble.stream = problem;
      if (was && !problem) refresh();
      showLink();
      showTrouble();
    },
    time: ({ now_s }) => {
      page.now = now_s;
      by("clock").textContent = page.live === false ? `replaying ${moment(now_s)}` : moment(now_s);
      showAll();
    },
    pulse: (pulse) => {
      showPulse(by("pulse"), pulse);
      page.trouble.metrics = pulse.problems ?? [];
      showTrouble();
    },
    trending: (articles) => ((page.trending = articles), showAll()),
    newest: (articles) => ((page.newest = articles), showAll()),
    users: (users) => ((page.seen = users), showAll()),
    clicks: (clicks) => ((page.read = clicks), showAll()),
  },
  (state) => {
    const back = page.link === "gone" && state === "connected";
    page.link = state;
    showLink();
    showTrouble();
    if (back) refresh();
  },
);

by("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const typed = by("reader-id").value.trim();
  if (!typed) return by("reader-id").focus();
  if (/\s/u.test(typed)) {
    page.trouble.front = "A reader's id must not contain white space.";
    return showTrouble();
  }
  be(typed);
});
by("reader-id").addEventListener("input", search);
for (const id of ["trending", "newest", "readers"]) {
  by(id).addEventListener("mouseleave", showAll);
  by(id).addEventListener("focusout", () => setTimeout(showAll));
}
by("new-reader").addEventListener("click", () => be(newReader()));
by("refresh").addEventListener("click", () => refresh());
document.querySelector(".skip").addEventListener("click", (event) => {
  // The address names the reader.
  event.preventDefault();
  by("front-heading").focus();
});
addEventListener("hashchange", arrive);
arrive();
