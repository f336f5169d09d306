"use strict";
// The index of a run: every game a row; filters, sorting, pages of 100 rows.
(() => {
  const PAGE = 100;
  const { run, columns, effects } = data;
  const n = columns.id.length;
  const rows = Array.from({ length: n }, (_, i) => i);
  const at = (key, i) => columns[key][i];
  const haystack = rows.map((i) => [at("id", i), at("names", i), at("cast", i), at("winner", i), at("status", i), at("factors", i), at("index", i), at("error", i)].join(" ").toLowerCase());
  const state = { query: "", winner: "", status: "", agent: "", factors: "", mark: "", sort: "index", down: false, page: 0, cursor: -1 };
  const parse = () => { for (const [key, value] of new URLSearchParams(location.hash.slice(1))) if (key in state) state[key] = key === "page" ? +value || 0 : key === "down" ? value === "true" : value; };
  parse();
  const distinct = (key) => [...new Set(columns[key].flatMap((v) => (key === "cast" ? v.split(", ") : [v])).filter((v) => v !== null && v !== ""))].sort();
  const shownColumns = [
    ["index", "#", "num"], ["id", "game", "mono"], ["factors", "factors", "wide", distinct("factors").length > 1],
    ["winner", "won by", ""], ["days", "days", "num"], ["decisions", "decisions", "num wide"], ["lies", "lies", "num"], ["mistakes", "mistakes", "num wide"],
    ["fallbacks", "fallbacks", "num"], ["cast", "players", "cast"], ["status", "status", "", distinct("status").length > 1],
  ].filter((c) => c[3] !== false);
  let found = [];

  function filter() {
    const words = state.query.toLowerCase().split(/\s+/).filter(Boolean);
    found = rows.filter((i) =>
      words.every((word) => haystack[i].includes(word)) &&
      (!state.winner || at("winner", i) === state.winner) && (!state.status || at("status", i) === state.status) &&
      (!state.agent || at("cast", i).split(", ").includes(state.agent)) && (!state.factors || at("factors", i) === state.factors) &&
      (!state.mark || (state.mark === "lies" ? at("lies", i) > 0 : at("fallbacks", i) > 0)));
    const column = columns[state.sort] || columns.index;
    const order = (a, b) => { const x = column[a], y = column[b]; if (x === y) return a - b; if (x === null) return 1; if (y === null) return -1; return (x < y ? -1 : 1) * (state.down ? -1 : 1); };
    found.sort(order);
    state.page = Math.max(0, Math.min(state.page, Math.ceil(found.length / PAGE) - 1));
  }
  function draw() {
    filter();
    const body = document.createDocumentFragment();
    found.slice(state.page * PAGE, (state.page + 1) * PAGE).forEach((i, k) => body.append(row(i, k)));
    table.tBodies[0].replaceChildren(body);
    for (const head of table.tHead.rows[0].cells) head.setAttribute("aria-sort", head.dataset.key === state.sort ? (state.down ? "descending" : "ascending") : "none");
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    count.textContent = found.length === n ? `${n.toLocaleString("en")} games` : `${found.length.toLocaleString("en")} of ${n.toLocaleString("en")} games`;
    where.textContent = `page ${state.page + 1} of ${pages}`;
    back.disabled = state.page === 0; next.disabled = state.page >= pages - 1;
    winners();
    const link = new URLSearchParams();
    for (const key of ["query", "winner", "status", "agent", "factors", "mark", "page"]) if (state[key]) link.set(key, state[key]);
    if (state.sort !== "index" || state.down) { link.set("sort", state.sort); link.set("down", state.down); }
    history.replaceState(null, "", "#" + link);
  }
  function row(i, k) {
    return el("tr", { class: k === state.cursor ? "cursor" : null }, shownColumns.map(([key, , cls]) => {
      const value = at(key, i);
      if (key === "id") return el("td", { class: cls }, at("page", i) ? el("a", { href: "games/" + at("id", i) + ".html" }, at("id", i).slice(0, 8)) : at("id", i).slice(0, 8));
      if (key === "winner") return el("td", {}, el("span", { class: "badge win-" + kind(value) }, value || "nobody yet"));
      if (key === "fallbacks" && value > 0) return el("td", { class: cls }, el("span", { class: "badge warn" }, value));
      if (key === "status" && value === "failed") return el("td", {}, el("span", { class: "badge fail", title: shown(at("error", i) || "") }, value));
      return el("td", { class: cls, title: key === "cast" ? shown(value) : null }, value === null ? "" : shown(value));
    }));
  }
  const kind = (winner) => (winner === "werewolf" || winner === "village" ? winner : "other");
  function winners() {
    const counts = new Map();
    for (const i of found) counts.set(at("winner", i) || "nobody yet", (counts.get(at("winner", i) || "nobody yet") || 0) + 1);
    const parts = [...counts].sort((a, b) => b[1] - a[1]);
    const stack = el("div", { class: "stack" }, parts.map(([w, c]) => { const s = el("span", { class: "win-" + kind(w), title: `${w}: ${c}` }); s.style.width = (100 * c) / found.length + "%"; return s; }));
    won.replaceChildren(el("h2", {}, "won by"), el("div", {}, parts.map(([w, c]) => `${w} ${((100 * c) / found.length).toFixed(found.length < 1000 ? 0 : 1)}%`).join("   ") || "\u2014"), stack);
  }
  function pick(key, label) {
    const values = key === "agent" ? distinct("cast") : distinct(key);
    if (values.length < 2) return null;
    const box = el("select", { "aria-label": label, on: { change: (e) => { state[key] = e.target.value; state.page = 0; draw(); } } },
      el("option", { value: "" }, label + ": all"), values.map((v) => el("option", { value: v }, shown(v))));
    box.value = state[key];
    return box;
  }
  function sortBy(key) { state.down = state.sort === key ? !state.down : ["lies", "mistakes", "fallbacks", "days", "decisions"].includes(key); state.sort = key; draw(); }

  const search = el("input", { type: "search", placeholder: "search id, player, winner\u2026", "aria-label": "search", class: "grow", on: { input: (e) => { state.query = e.target.value; state.page = 0; draw(); } } });
  search.value = state.query;
  const mark = el("select", { "aria-label": "with", on: { change: (e) => { state.mark = e.target.value; state.page = 0; draw(); } } },
    el("option", { value: "" }, "any game"), el("option", { value: "lies" }, "with lies"), el("option", { value: "fallbacks" }, "with fallbacks"));
  mark.value = state.mark;
  const count = el("span", { class: "big" });
  const where = el("span", { class: "soft" });
  const turn = (d) => { state.page += d; state.cursor = -1; draw(); scrollTo(0, 0); };
  const back = el("button", { on: { click: () => turn(-1) } }, "\u2190 back"), next = el("button", { on: { click: () => turn(1) } }, "next \u2192");
  const won = el("div", { class: "panel" });
  const table = el("table", { class: "games" }, el("thead", {}, el("tr", {}, shownColumns.map(([key, label, cls]) =>
    el("th", { "data-key": key, scope: "col", class: cls.replace("mono", "") }, el("button", { on: { click: () => sortBy(key) } }, label))))), el("tbody", {}));
  const keys = help([["/", "search"], ["j k", "next, previous game"], ["Enter", "open it"], ["n p", "next, previous page"], ["t", "light or dark"], ["?", "this help"]]);

  document.body.append(
    el("header", { class: "top" }, el("div", { class: "bar" }, el("h1", {}, shown(run.name)), el("span", { class: "badge" }, run.status), el("span", { class: "soft optional" }, shown(run.what)), el("span", { class: "grow" }), el("button", { "aria-label": "keys", on: { click: () => keys.showModal() } }, "?"), themeButton())),
    el("main", { class: "index" },
      run.branch ? el("div", { class: "panel" }, el("h2", {}, "branch"), el("p", {}, "Game ", run.branch.link ? el("a", { href: run.branch.link }, run.branch.game) : el("span", { class: "mono" }, run.branch.game), ` of ${shown(run.branch.run)}, from decision ${run.branch.seq} on: `, el("b", { class: "bidi" }, shown(run.branch.what))), effects ? effectTable() : null) : null,
      el("div", { class: "cards" }, el("div", { class: "panel" }, el("h2", {}, "shown"), count), won,
        el("div", { class: "panel" }, el("h2", {}, "made"), el("div", {}, run.created), el("div", { class: "soft mono" }, shown(run.revision || ""))),
        el("div", { class: "panel" }, el("h2", {}, "models"), el("div", { class: "bidi" }, shown(run.models || "none: scripted players")))),
      el("div", { class: "bar" }, search, pick("winner", "won by"), pick("agent", "player"), pick("factors", "factors"), pick("status", "status"), mark),
      el("div", { class: "pager" }, where, back, next), el("div", { class: "table" }, table)), keys);

  function effectTable() {
    const paired = effects.effects.some((e) => e.difference !== null && e.difference !== undefined);
    const titles = { outcome: "outcome", decision: "the decision itself", next_exile: "next exile", votes: "others' next ballots", belief: "others' beliefs" };
    const body = el("tbody", {});
    for (const [key, title] of Object.entries(titles)) {
      const some = effects.effects.filter((e) => e.kind === key).sort((a, b) => Math.abs(b.difference ?? b.unchanged) - Math.abs(a.difference ?? a.unchanged)).slice(0, 8);
      if (!some.length) continue;
      const scale = Math.max(...some.map((e) => Math.max(Math.abs(e.low), Math.abs(e.high))), key === "votes" ? 0 : 1);
      body.append(el("tr", {}, el("th", { colspan: 5 }, title)));
      for (const e of some) body.append(el("tr", {}, el("td", { class: "bidi" }, shown(e.what)), el("td", {}, e.unchanged.toFixed(2)), paired ? el("td", {}, e.changed.toFixed(2)) : null,
        el("td", {}, forest(e, scale, paired)), el("td", { class: "wide" }, paired ? `${signed(e.difference)} (${signed(e.low)} to ${signed(e.high)})` : `${e.low.toFixed(2)} to ${e.high.toFixed(2)}`)));
    }
    const bits = Object.entries(effects.bits).map(([key, v]) => `${key.replace("_", " ")} ${v.toFixed(2)}`).join(", ");
    return el("div", { class: "scroll-x" }, el("p", { class: "soft" }, `${effects.n} continuations ${paired ? "with the change and without" : "without any change"}; recorded: ${effects.recorded || "?"} won; left open without the change, in bits: ${bits}` + (effects.n_failed ? `; failed: ${effects.n_failed}` : "")),
      el("table", { class: "effects" }, el("thead", {}, el("tr", {}, el("th", {}, ""), el("th", {}, paired ? "without" : "share"), paired ? el("th", {}, "with") : null, el("th", {}, paired ? "difference, 95% interval" : "95% interval"), el("th", { class: "wide" }, ""))), body));
  }
  function signed(v) { return (v < 0 ? "\u2212" : "+") + Math.abs(v).toFixed(2); }
  function forest(e, scale, paired) {
    const x = (v) => (paired ? 60 + (55 * v) / scale : 5 + (110 * v) / scale);
    const clear = paired && (e.low > 0 || e.high < 0);
    return el("svg", { viewBox: "0 0 120 12", class: "forest" + (clear ? " clear" : ""), role: "img", "aria-label": `${e.low} to ${e.high}` },
      el("line", { class: "zero", x1: x(0), x2: x(0), y1: 0, y2: 12 }), el("line", { class: "ci", x1: x(e.low), x2: x(e.high), y1: 6, y2: 6 }), el("circle", { class: "dot", cx: x(paired ? e.difference : e.unchanged), cy: 6, r: 3 }));
  }
  addEventListener("keydown", (event) => {
    if (typing(event)) { if (event.key === "Escape") event.target.blur(); return; }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const here = Math.min(PAGE, found.length - state.page * PAGE);
    const move = (d) => { state.cursor = Math.max(0, Math.min(here - 1, state.cursor + d)); draw(); table.tBodies[0].rows[state.cursor]?.scrollIntoView({ block: "nearest" }); };
    const act = { "/": () => search.focus(), j: () => move(1), k: () => move(-1), n: () => !next.disabled && turn(1), p: () => !back.disabled && turn(-1), t: toggleTheme, "?": () => keys.showModal(),
      Enter: () => { const link = table.tBodies[0].rows[state.cursor]?.querySelector("a"); if (link && event.target === document.body) link.click(); } }[event.key];
    if (act) { if (event.key !== "Enter") event.preventDefault(); act(); }
  });
  draw();
})();
