// Short lists: readers, articles read, trending and newest articles.

import { el, sync, unseen } from "./dom.js";
import { age, count, hue } from "./words.js";

const dot = (category) => el("span", { class: `dot hue-${hue(category)}`, "aria-hidden": "true" });

/** Shows articles with a button each; `aside(article)` stands beside the category. */
export function showArticles(parent, articles, { aside, open, empty }) {
  if (!articles.length) {
    parent.replaceChildren(el("li", { class: "nothing" }, empty));
    return;
  }
  parent.querySelector(".nothing")?.remove();
  sync(
    parent,
    articles,
    (article) => article.key ?? article.news_id,
    () => el("li", {}, el("button", { type: "button", class: "headline" }), el("p", { class: "meta" })),
    (item, article) => {
      const button = item.querySelector("button");
      button.textContent = article.title || article.news_id;
      button.onclick = () => open(article);
      const parts = [article.category ? dot(article.category) : "", article.category];
      const more = aside(article);
      item.querySelector(".meta").replaceChildren(...parts, more && article.category ? ` · ${more}` : more);
    },
  );
}

/** Shows a user's clicks with their articles, without buttons. */
export function showRead(parent, clicks, now) {
  if (!clicks.length) {
    parent.replaceChildren(el("li", { class: "nothing" }, "Nothing yet. Open an article, and it appears here within a second."));
    return;
  }
  parent.querySelector(".nothing")?.remove();
  sync(
    parent,
    clicks,
    (click) => `${click.time_s} ${click.news_id}`,
    () => el("li", {}, el("p", { class: "headline" }), el("p", { class: "meta" })),
    (item, click) => {
      item.querySelector(".headline").textContent = click.title || click.news_id;
      const when = age(click.time_s, now);
      const parts = [click.category ? dot(click.category) : "", click.category, click.category ? " · " : ""];
      item.querySelector(".meta").replaceChildren(...parts, when === "just now" ? when : `${when} ago`);
    },
  );
}

/** Shows readers to choose from; `current` is the page's. */
export function showReaders(parent, readers, { current, be, empty }) {
  if (!readers.length) {
    parent.replaceChildren(el("li", { class: "nothing" }, empty));
    return;
  }
  parent.querySelector(".nothing")?.remove();
  sync(
    parent,
    readers,
    (reader) => reader.user_id,
    () => el("li", {}, el("button", { type: "button" }, el("span", { class: "id" }), el("span", { class: "count" }))),
    (item, reader) => {
      const button = item.querySelector("button");
      button.querySelector(".id").textContent = reader.user_id;
      button.querySelector(".count").replaceChildren(
        ...(reader.clicks === null ? [] : [unseen(", "), count(reader.clicks, "click")]),
      );
      if (reader.user_id === current) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
      button.onclick = () => be(reader.user_id);
    },
  );
}
