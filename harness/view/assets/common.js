"use strict";
// Shared by the pages of the viewer. Text of agents reaches the page through textContent alone, never as markup.
function el(tag, attributes, ...children) {
  const svg = ["svg", "path", "line", "circle", "text"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "on") for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}
// Drawn, not written: a machine without a font for signs would show boxes.
const ICONS = {
  play: "M3 2 13 8 3 14z",
  pause: "M3 2h4v12H3zM9 2h4v12H9z",
  theme: "M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1zm0 1.5v11a5.5 5.5 0 0 0 0-11z",
  warning: "M8 1 16 15H0zM7 6v4.5h2V6zM7 12v1.6h2V12z",
  all: "M7 1h2v5.2l4.5-2.6 1 1.8L10 8l4.5 2.6-1 1.8L9 9.8V15H7V9.8l-4.5 2.6-1-1.8L6 8 1.5 5.4l1-1.8L7 6.2z",
};
const icon = (name) => el("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, el("path", { d: ICONS[name], "fill-rule": "evenodd" }));
// Characters that hide or reorder text are shown by their code; the stored text keeps them.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]/g;
const shown = (text) => String(text).replace(UNSEEN, (c) => "\u2039U+" + c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0") + "\u203a");
const LONG = 1200;
// A text block; a long one is cut until the reader asks for all of it.
function block(text, cls) {
  const whole = shown(text);
  const box = el("div", { class: "text bidi " + (cls || ""), dir: "auto" });
  if (whole.length <= LONG) { box.textContent = whole; return box; }
  box.textContent = whole.slice(0, LONG) + " \u2026";
  const open = el("button", { class: "more", on: { click: (event) => { event.stopPropagation(); box.textContent = whole; open.remove(); } } },
    "show all " + whole.length.toLocaleString("en") + " characters");
  return el("div", {}, box, open);
}
const data = JSON.parse(document.getElementById("data").textContent);
const store = {
  get(key) { try { return localStorage.getItem(key); } catch { return null; } },
  set(key, value) { try { localStorage.setItem(key, value); } catch { /* a page from disk may have no storage */ } },
};
function theme(next) {
  const now = next || store.get("wolfscope-theme") || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.documentElement.dataset.theme = now;
  if (next) store.set("wolfscope-theme", next);
}
theme();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme());
const toggleTheme = () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
const themeButton = () => el("button", { title: "light or dark (t)", "aria-label": "light or dark", on: { click: toggleTheme } }, icon("theme"));
function help(keys) {
  const box = el("dialog", { "aria-label": "keys" }, el("h1", {}, "Keys"),
    el("dl", {}, keys.flatMap(([key, what]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, what)])),
    el("p", {}, el("button", { on: { click: () => box.close() } }, "close")));
  document.body.append(box);
  return box;
}
const typing = (event) => /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "range";
