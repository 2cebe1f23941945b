// Elements without markup: text from the stream becomes text or a property, never HTML.

const SVG = "http://www.w3.org/2000/svg";

/** Makes an element with properties, attributes (those with a dash, `role`, `class`) and children. */
export function el(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "class" || key === "role" || key.includes("-")) element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Makes an SVG element with attributes. */
export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Makes text for screen readers only. */
export const unseen = (text) => el("span", { class: "unseen" }, text);

/** Finds the element with an id. */
export const by = (id) => document.getElementById(id);

/**
 * Makes the children of `parent` those of `items`, in their order, by key: an element that stays is the same
 * element, so that it keeps the focus.
 */
export function sync(parent, items, keyOf, make, update) {
  const held = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const wanted = items.map((item, i) => {
    const key = String(keyOf(item));
    const child = held.get(key) ?? make(item, i);
    held.delete(key);
    child.dataset.key = key;
    update(child, item, i);
    return child;
  });
  for (const child of held.values()) child.remove();
  wanted.forEach((child, i) => {
    // An element that is moved loses the focus: move only what is not in its place.
    if (parent.children[i] !== child) parent.insertBefore(child, parent.children[i] ?? null);
  });
}
