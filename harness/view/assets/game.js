"use strict";
// One game: the timeline as the moderator or as exactly one seat sees it, beliefs that move with it, a branch beside its parent.
(() => {
  const { game, seats, rec, beliefs, tokens, branch, reasoning } = data;
  const bySeq = new Map(rec.map((r) => [r.s, r]));
  const decisionOf = (r) => (r.D ? r : r.q === undefined ? null : bySeq.get(r.q));
  const state = { as: null, seq: rec.length ? rec[rec.length - 1].s : 0, picked: false, source: beliefs[0]?.key, cell: null, probe: "", fade: false, playing: 0 };
  const NOBODY = -1;
  const name = (seat) => (seat === NOBODY || seat === null || seat === undefined ? "nobody" : shown(seats[seat]?.name ?? "seat " + seat));
  const seatClass = (seat) => "s" + (seat % 20);
  const initials = (seat) => name(seat).slice(0, 2);
  const avatar = (seat, small) => el("span", { class: `avatar ${seatClass(seat)}${small ? " small" : ""}`, "aria-hidden": "true" }, initials(seat));
  const nameTag = (seat) => el("span", { class: "name bidi " + seatClass(seat) }, name(seat));
  const roleTag = (seat) => el("span", { class: "role f-" + seats[seat].faction }, seats[seat].role);
  const LABELS = { lie: ["lie", "lie: false, and the speaker knew"], "honest mistake": ["mistake", "honest mistake: false, and the speaker could not know"], truth: ["truth", "truth"], none: ["", "asserts nothing"] };

  // ---- what a reader sees ------------------------------------------------------------------------------------
  const sees = (r, seat) => (r.D ? r.a === seat : r.u === undefined || r.u.includes(seat));
  const lineOf = (r, seat) => (seat !== null && !r.D && r.a === seat && "o" in r ? r.o : r.l);
  function entries(records, seat) {
    const out = [];
    for (const r of records) {
      if (seat !== null) { if (sees(r, seat) && lineOf(r, seat)) out.push(r); continue; }
      if (r.D ? r.e === undefined : r.l || r.m) out.push(r);
    }
    return out;
  }
  // ---- the timeline ------------------------------------------------------------------------------------------
  function timeline(records, seat, own) {
    const box = el("div", { class: "timeline" });
    const list = entries(records, seat);
    for (let i = 0; i < list.length; i++) {
      const r = list[i];
      if (r.g === "ballot" && seat === null) {
        let j = i;
        while (j + 1 < list.length && list[j + 1].g === "ballot" && list[j + 1].k === r.k && list[j + 1].d === r.d) j++;
        if (j > i) { box.append(ballots(list.slice(i, j + 1), own)); i = j; continue; }
      }
      box.append(entry(r, seat, own));
    }
    return box;
  }
  function frame(r, cls, own, ...children) {
    const id = own ? "e" + r.s : null;
    const node = el("article", { class: `entry ${cls}`, id, "data-seq": own ? r.s : null, tabindex: own ? -1 : null, on: own ? { click: (event) => { if (!event.target.closest("a,button,summary,select")) choose(r.s); } } : null }, ...children);
    if (own) node.append(el("a", { class: "seq", href: link(r.s), title: "link to this event", on: { click: (event) => { event.preventDefault(); choose(r.s); } } }, "#" + r.s));
    if (branch && own && state.as === null) { const d = decisionOf(r); if (d && d.s === branch.seq && branch.kind === "changed") node.classList.add("changed"); }
    return node;
  }
  function entry(r, seat, own) {
    if (r.k === "phase") return el("div", { class: `phase entry ${r.v === "night" ? "night" : "day"}`, id: own ? "e" + r.s : null, "data-seq": own ? r.s : null }, el("span", { class: "pill bidi" }, shown((lineOf(r, seat) || `${r.v} ${r.d}`)).replace(/\.$/, "")));
    if (seat !== null) return seen(r, seat, own);
    const d = decisionOf(r);
    if (r.x !== undefined || (r.D && r.x)) return speech(r, d, own);
    if (r.g === "death" || r.g === "outcome") return frame(r, `event ${r.g}`, own, el("span", { class: "bidi" }, shown(r.l)));
    return frame(r, "", own, el("div", { class: "note" + (r.u !== undefined || r.D ? " private" : "") }, r.u !== undefined || r.D ? el("span", { class: "kind" }, r.k.replace("_", " ")) : null, el("span", { class: "bidi" }, shown(r.l || r.m).replace(/^\(\w+\) /, "")), only(r), fallback(d)), thought(d));
  }
  const only = (r) => (r.u === undefined ? null : el("span", { class: "only" }, r.u.length ? "only " + r.u.map(name).join(", ") : "moderator"));
  const fallback = (d) => (d?.fb ? el("span", { class: "badge warn", title: "the reply could not be used; a legal action stands in" }, "fallback: " + shown(d.fb)) : d?.tr?.rejected?.length ? el("span", { class: "badge" }, `${d.tr.rejected.length} rejected`) : null);
  function thought(d, whose) {
    const read = reasoned(d);
    if (!d?.tr?.reasoning && !read) return null;
    return el("details", { class: "think" }, el("summary", {}, "private reasoning" + (whose ? ` of ${whose}` : "")), read || block(d.tr.reasoning));
  }
  // ---- a reasoning that an experiment has read: the commitment curve above it, each step's importance as tint ----------
  function reasoned(d) {
    const r = d && reasoning?.[d.s];
    if (!r) return null;
    const x = (i) => 22 + 272 * r.share[i], y = (p) => 8 + 60 * (1 - Math.max(0, Math.min(1, p)));
    const path = (values) => values.map((p, i) => (p === null ? "" : `${i && values[i - 1] !== null ? "L" : "M"}${x(i).toFixed(1)} ${y(p).toFixed(1)}`)).join("");
    const held = r.belief.some((p) => p !== null);
    const top = Math.max(...r.steps.map((s) => s.i ?? 0), 0.1);
    const svg = el("svg", { viewBox: "0 0 300 86", class: "chart", role: "img", "aria-label": `probability of choosing ${name(r.to)} after each step` },
      el("line", { class: "axis", x1: 22, x2: 294, y1: y(0), y2: y(0) }), el("line", { class: "axis", x1: 22, x2: 294, y1: y(1), y2: y(1) }), el("text", { x: 8, y: y(0) + 3 }, "0"), el("text", { x: 8, y: y(1) + 3 }, "1"),
      r.share.map((_, i) => el("line", { class: "axis", x1: x(i), x2: x(i), y1: y(0), y2: y(0) + 3 })), el("text", { x: 22, y: 82 }, "no reasoning"), el("text", { x: 294, y: 82, "text-anchor": "end" }, "all of it"),
      held ? el("path", { d: path(r.belief), class: "k1" }) : null, el("path", { d: path(r.p), class: "k0" }));
    return el("div", { class: "reasoned" }, svg,
      el("div", { class: "legend" }, el("span", { class: "k0" }, `\u2014 chooses ${name(r.to)}, if asked there`), held ? el("span", { class: "k1" }, `\u2014 holds ${name(r.to)} for a werewolf, inside`) : null),
      el("p", { class: "steps bidi", dir: "auto" }, r.steps.map((s) => {
        const why = [s.c, s.i === null ? null : `importance ${s.i.toFixed(3)} ${s.u}`, `answer demanded after it: ${s.f.toFixed(3)} total variation from before it`];
        const span = el("span", { class: "step", title: why.filter(Boolean).join("; ") }, shown(s.t), " ");
        if (s.i > 0) span.style.background = `rgb(var(--heat) / ${(0.7 * s.i) / top})`;
        return span;
      })));
  }
  function speech(r, d, own) {
    const who = r.a;
    const body = el("div", { class: "body" },
      el("div", { class: "head" }, nameTag(who), roleTag(who), r.k === "speech" ? null : el("span", { class: "soft" }, r.k.replace("_", " ")), only(r), fallback(d), d && d.ag === "experimenter" ? el("span", { class: "badge" }, "changed by the branch") : null),
      tinted(d) || (r.x ? block(r.x, "said") : el("div", { class: "soft said" }, "says nothing")), acts(r.c || d?.c), thought(d));
    return frame(r, r.k, own, el("div", { class: "say" }, avatar(who), body));
  }
  function acts(list) {
    if (!list || !list.length) return null;
    return el("div", { class: "acts" }, list.map(([kind, subject, role, label]) => {
      const [word, why] = LABELS[label] || LABELS.none;
      return el("span", { class: "act " + word, title: why }, kind.replace("_", " "), subject === null ? "" : " " + name(subject), role === null ? "" : " " + role, word ? el("b", {}, "  " + word) : null);
    }));
  }
  function seen(r, seat, own) {
    const d = r.D ? r : null;
    const line = el("span", { class: "text bidi" }, shown(lineOf(r, seat)));
    if (r.g === "death" || r.g === "outcome") return frame(r, `event ${r.g}`, own, line);
    const speaks = r.a !== undefined && (r.x !== undefined || r.D);
    if (!speaks) return frame(r, "", own, el("div", { class: "note" + (r.u !== undefined ? " private" : "") }, line));
    return frame(r, r.k, own, el("div", { class: "say" }, avatar(r.a), el("div", { class: "body" }, el("div", { class: "said" }, line), d ? thought(d) : null)));
  }
  function ballots(list, own) {
    const first = list[0];
    const by = new Map();
    for (const r of list) by.set(r.t, [...(by.get(r.t) || []), r]);
    const rows = [...by].sort((a, b) => b[1].length - a[1].length);
    return el("article", { class: "entry", "data-seqs": own ? list.map((r) => r.s).join(" ") : null }, el("div", { class: "note" }, `${first.k.replace("_", " ")}s`, only(first)), el("div", { class: "ballots" }, rows.map(([target, votes]) =>
      el("div", { class: "tally" }, el("span", {}, target === NOBODY ? el("span", { class: "soft" }, "nobody") : nameTag(target), " ", el("span", { class: "count" }, votes.length)),
        el("div", { class: "voters" }, votes.map((r) => { const d = decisionOf(r); return own ? el("button", { id: "e" + r.s, "data-seq": r.s, class: `vote ${seatClass(r.a)}${d?.fb ? " warned" : ""}${branch && d?.s === branch.seq ? " changed" : ""}`, title: `${name(r.a)} (${seats[r.a].role}) votes ${name(r.t)}` + (d?.fb ? `, fallback: ${d.fb}` : ""), on: { click: () => choose(r.s) } }, name(r.a), d?.fb ? icon("warning") : "") : el("span", { class: "vote " + seatClass(r.a) }, name(r.a)); }))))),
      list.map((r) => thought(decisionOf(r), name(r.a))));
  }
  // ---- tokens tinted by a probe's score ------------------------------------------------------------------------
  const probes = [...new Set(Object.values(tokens || {}).flatMap((rows) => rows.map((row) => row.probe)))].sort();
  const range = new Map(probes.map((probe) => { const all = Object.values(tokens).flatMap((rows) => rows.filter((row) => row.probe === probe).flatMap((row) => row.scores)).filter((v) => v !== null); return [probe, [Math.min(...all), Math.max(...all)]]; }));
  function tinted(d) {
    const row = d && state.probe && tokens?.[d.s]?.find((t) => t.probe === state.probe);
    if (!row) return null;
    const [low, high] = range.get(state.probe);
    return el("div", { class: "text said bidi tinted", dir: "auto" }, row.tokens.map((token, i) => {
      const score = row.scores[i];
      const span = el("span", { class: "tok", title: score === null ? "no score" : score.toFixed(3) }, shown(token));
      if (score !== null) span.style.background = `rgb(var(--heat) / ${(0.75 * (score - low)) / (high - low || 1)})`;
      return span;
    }));
  }
  // ---- beliefs -----------------------------------------------------------------------------------------------
  const now = (source, seq) => { const m = new Map(); for (const [s, v, t, p] of source.points) { if (s > seq) break; m.set(v * 64 + t, [p, s]); } return m; };
  const gone = (seat) => seats[seat].exit !== null && seats[seat].exit <= state.seq;
  function matrix() {
    const source = beliefs.find((b) => b.key === state.source);
    if (!source) return el("p", { class: "soft" }, "This run holds no beliefs, and no posterior could be computed for its game.");
    const at = now(source, state.seq);
    const before = previous(state.seq);
    const viewers = state.as === null ? seats.map((_, i) => i) : [state.as];
    return el("div", { class: "scroll-x" }, el("table", { class: "matrix", "aria-label": "how much each row holds each column for a werewolf" },
      el("thead", {}, el("tr", {}, el("td", {}), seats.map((s, i) => el("th", { scope: "col", class: `${seatClass(i)} ${gone(i) ? "gone" : ""} ${state.as === null && s.role === "werewolf" ? "wolf" : ""}`, title: name(i) }, [...name(i)].slice(0, 4).join(""))))),
      el("tbody", {}, viewers.map((v) => el("tr", { class: gone(v) ? "gone" : null }, el("th", { scope: "row", class: `${seatClass(v)} ${state.as === null && seats[v].role === "werewolf" ? "wolf" : ""}`, title: name(v) }, [...name(v)].slice(0, 4).join("")), seats.map((_, t) => {
        const found = at.get(v * 64 + t);
        if (!found) return el("td", {}, el("span", {}, v === t ? "\u00b7" : "\u2013"));
        const [p, s] = found;
        const b = el("button", { class: (p > 0.55 ? "hot " : "") + (s > before && s <= state.seq ? "fresh" : ""), "aria-pressed": String(state.cell?.[0] === v && state.cell?.[1] === t), title: `${name(v)} holds ${name(t)} for a werewolf: ${p.toFixed(3)} (${source.label}, since #${s})`, on: { click: () => { state.cell = [v, t]; side(); } } }, p >= 0.995 ? "1" : p <= 0.005 ? "0" : "." + String(Math.round(p * 100)).padStart(2, "0"));
        b.style.background = `rgb(var(--heat) / ${0.08 + 0.87 * Math.max(0, Math.min(1, p))})`;
        return el("td", { class: gone(t) ? "gone" : null }, b);
      }))))));
  }
  function chart() {
    if (!state.cell) return beliefs.length ? el("p", { class: "soft" }, "Choose a cell to see it over the game.") : null;
    const [v, t] = state.cell;
    const end = rec[rec.length - 1].s || 1;
    const x = (s) => 22 + (272 * s) / end, y = (p) => 8 + 74 * (1 - Math.max(0, Math.min(1, p)));
    const lines = beliefs.map((b, i) => { const pts = b.points.filter((q) => q[1] === v && q[2] === t); if (!pts.length) return null; let path = "", last = null; for (const [s, , , p] of pts) { path += last === null ? `M${x(s)} ${y(p)}` : `H${x(s)}V${y(p)}`; last = p; } return [i, b, path + `H${x(end)}`]; }).filter(Boolean);
    const svg = el("svg", { viewBox: "0 0 300 98", class: "chart", role: "img", "aria-label": "belief over the game" },
      el("line", { class: "axis", x1: 22, x2: 294, y1: y(0), y2: y(0) }), el("line", { class: "axis", x1: 22, x2: 294, y1: y(1), y2: y(1) }), el("text", { x: 8, y: y(0) + 3 }, "0"), el("text", { x: 8, y: y(1) + 3 }, "1"),
      rec.filter((r) => r.k === "phase" && !r.D && r.v === "day").map((r) => [el("line", { class: "axis", x1: x(r.s), x2: x(r.s), y1: 8, y2: 84 }), el("text", { x: x(r.s) + (x(r.s) > 265 ? -2 : 2), y: 95, "text-anchor": x(r.s) > 265 ? "end" : "start" }, "day " + r.d)]),
      lines.map(([i, , path]) => el("path", { d: path, class: "k" + (i % 6) })), el("line", { class: "now", x1: x(state.seq), x2: x(state.seq), y1: 4, y2: 86 }));
    return el("div", {}, el("div", {}, nameTag(v), " about ", nameTag(t), state.as === null ? [" ", roleTag(t)] : null), svg, el("div", { class: "legend" }, lines.map(([i, b]) => el("span", { class: "k" + (i % 6) }, "\u2014 " + shown(b.label)))));
  }
  function details() {
    if (!state.picked) return null;
    const r = bySeq.get(state.seq);
    if (!r) return null;
    const d = decisionOf(r);
    if (state.as !== null && !(d && d.a === state.as)) return null;
    const facts = [["record", "#" + r.s + (d && d !== r ? `, decided at #${d.s}` : "")], ["kind", r.k], r.u !== undefined && state.as === null ? ["seen by", r.u.length ? r.u.map(name).join(", ") : "the moderator alone"] : null];
    if (d) {
      facts.push(["decided by", `${name(d.a)}, ${shown(d.ag)}`]);
      if (d.os?.length) facts.push(["options", d.k === "bid" || d.k === "candidacy" ? d.os.join(", ") : (d.k === "speech" ? d.os.map((o) => ["speak", "skip", "over"][o] ?? o) : d.os.map(name)).join(", ")]);
      if (d.fb) facts.push(["fallback", shown(d.fb)]);
      const t = d.tr;
      if (t) {
        facts.push(["model", shown(t.model)], ["prompt", `${t.n_prompt.toLocaleString("en")} own tokens` + (t.n_cached ? `, ${t.n_cached.toLocaleString("en")} cached` : "")], ["output", `${t.n_output} tokens` + (t.mean_logprob === null ? "" : `, ${t.mean_logprob.toFixed(2)} nats a token`)], ["attempts", t.attempts]);
        if (t.sampling) facts.push(["sampling", Object.entries(t.sampling).map(([k, v]) => `${k} ${v}`).join(", ")]);
      }
    }
    const read = reasoned(d);
    return el("div", { class: "panel" }, read ? [el("h2", {}, "the reasoning, step by step"), read] : null, el("h2", {}, "this record"), el("dl", { class: "facts" }, facts.filter(Boolean).map(([k, v]) => [el("dt", {}, k), el("dd", { class: "bidi" }, String(v))])),
      d?.tr?.output ? [el("h2", {}, "as emitted"), raw(d.tr.output)] : null, d?.tr?.rejected?.length ? [el("h2", {}, "rejected replies"), d.tr.rejected.map(raw)] : null);
  }
  const raw = (text) => el("pre", { class: "raw bidi" }, block(text));

  // ---- page --------------------------------------------------------------------------------------------------
  const castBox = el("div", { class: "panel" }), lineBox = el("section", {}), sideBox = el("aside", { class: "side", "aria-label": "beliefs and details" }), whereBox = el("span", { class: "where" });
  const slider = el("input", { type: "range", min: 0, max: Math.max(0, rec.length - 1), "aria-label": "moment of the game", on: { input: (e) => { state.fade = true; choose(rec[+e.target.value].s, false, true); } } });
  const asBox = el("select", { "aria-label": "see as", on: { change: (e) => see(e.target.value === "" ? null : +e.target.value) } }, el("option", { value: "" }, "moderator"), seats.map((s, i) => el("option", { value: i }, `see as player_${i}, ${shown(s.name)}`)));
  const play = el("button", { title: "play (p)", "aria-label": "play", on: { click: () => playing() } }, icon("play"));
  const fade = el("button", { title: "fade what comes after (f)", "aria-pressed": "false", class: "optional", on: { click: () => { state.fade = !state.fade; mark(); } } }, "fade later");
  const keys = help([["j k", "next, previous event"], ["] [", "next, previous phase"], ["0", "see as the moderator"], ["1 \u2026 9", "see as player_0 \u2026 player_8"], ["p", "play, pause"], ["f", "fade what comes after"], ["b", "next source of beliefs"], ["r", "open, close all private reasoning"], ["n N", "next, previous game"], ["i", "index"], ["t", "light or dark"], ["?", "this help"]]);

  function cast() {
    castBox.replaceChildren(el("h2", {}, "see as"), el("button", { class: "seat", "aria-pressed": String(state.as === null), on: { click: () => see(null) } }, el("span", { class: "avatar", "aria-hidden": "true" }, icon("all")), el("span", { class: "who" }, "Moderator", el("small", {}, "everything, and the truth"))),
      ...seats.map((s, i) => el("button", { class: `seat ${gone(i) ? "out" : ""}`, "aria-pressed": String(state.as === i), title: state.as === null ? shown(`player_${i}: ${s.agent}${s.model ? ", " + s.model : ""}`) : `player_${i}`, on: { click: () => see(i) } }, avatar(i),
        el("span", { class: "who" }, nameTag(i), el("small", { class: "bidi" }, state.as === null ? `${s.role} \u00b7 ${shown(s.agent)}` : state.as === i ? s.role : "player_" + i)))));
    document.body.classList.toggle("as-seat", state.as !== null);
    asBox.value = state.as === null ? "" : String(state.as);
  }
  function lines() {
    const parts = [];
    if (branch && branch.rec && state.as === null) {
      const cut = branch.first;
      const past = rec.filter((r) => r.s < cut);
      if (past.length) parts.push(el("details", { class: "past" }, el("summary", {}, `what came before (records 0 to ${past[past.length - 1].s})`), timeline(past, null, true)));
      const theirs = timeline(branch.rec, null, false), ours = timeline(rec.filter((r) => r.s >= cut), null, true);
      const a = el("section", { class: "parent" }, el("h2", {}, "as recorded: ", shown(branch.winner || "?"), " won"), theirs);
      const b = el("section", { class: "own" }, el("h2", {}, branch.kind === "changed" ? "with the change: " : "played again: ", shown(game.winner || "?"), game.winner ? " won" : ""), ours);
      const swap = (parent) => { a.classList.toggle("shown", parent); b.classList.toggle("away", parent); };
      parts.push(el("div", { class: "tabs fork-tabs" }, el("button", { on: { click: () => swap(false) } }, "this branch"), el("button", { on: { click: () => swap(true) } }, "as recorded")), el("div", { class: "fork" }, a, b));
    } else parts.push(timeline(rec, state.as, true));
    lineBox.replaceChildren(...parts);
  }
  function side() {
    const tab = el("div", { class: "tabs", role: "group", "aria-label": "source" }, beliefs.map((b) => el("button", { "aria-pressed": String(b.key === state.source), title: shown(b.about || ""), on: { click: () => { state.source = b.key; side(); } } }, shown(b.label))));
    const tint = probes.length ? el("select", { "aria-label": "tint words by", on: { change: (e) => { state.probe = e.target.value; lines(); mark(); } } }, el("option", { value: "" }, "no tint"), probes.map((p) => el("option", { value: p }, "tint words by " + shown(p)))) : null;
    if (tint) tint.value = state.probe;
    const span = state.probe && range.get(state.probe);
    sideBox.replaceChildren(...[el("div", { class: "panel beliefs" }, el("h2", {}, "who holds whom for a werewolf"), tab, matrix(), chart(), tint, span ? el("div", { class: "soft" }, `scores from ${span[0].toFixed(2)} (clear) to ${span[1].toFixed(2)} (dark)`) : null), details()].filter(Boolean));
  }
  const shownNodes = () => [...lineBox.querySelectorAll("[data-seq]")];
  function mark(scroll) {
    const r = bySeq.get(state.seq);
    for (const node of shownNodes()) {
      const seq = +node.dataset.seq;
      node.classList.toggle("sel", state.picked && seq === state.seq);
      node.classList.toggle("future", state.fade && seq > state.seq);
    }
    for (const node of lineBox.querySelectorAll("[data-seqs]")) node.classList.toggle("future", state.fade && node.dataset.seqs.split(" ").every((s) => +s > state.seq));
    fade.setAttribute("aria-pressed", String(state.fade));
    slider.value = Math.max(0, rec.findIndex((q) => q.s === state.seq));
    whereBox.textContent = r ? `#${state.seq} of ${rec[rec.length - 1].s} \u00b7 ${r.p} ${r.d || ""}` : "";
    const target = scroll && document.getElementById("e" + nearest(state.seq));
    const closed = target && target.closest("details.past:not([open])");
    if (closed) closed.open = true;
    if (target) target.scrollIntoView({ block: "center", behavior: "auto" });
  }
  const order = () => shownNodes().map((node) => +node.dataset.seq);
  const nearest = (seq) => { let best = null; for (const s of order()) if (s <= seq) best = best === null ? s : Math.max(best, s); return best ?? order()[0]; };
  const previous = (seq) => order().reduce((best, s) => (s < seq && s > best ? s : best), -1);
  const link = (seq) => "#seq=" + seq + (state.as === null ? "" : "&as=" + state.as);
  function choose(seq, scroll, slid) {
    const r = bySeq.get(seq);
    if (!r) return;
    state.seq = state.as === null && r.D && r.e !== undefined && !slid ? r.e : seq;
    state.picked = true;
    history.replaceState(null, "", link(state.seq));
    cast(); side(); mark(scroll || slid);
  }
  function see(seat) {
    state.as = seat;
    if (seat !== null) state.cell = state.cell?.[0] === seat ? state.cell : null;
    history.replaceState(null, "", state.picked || seat !== null ? link(state.seq) : location.pathname);
    cast(); lines(); side(); mark(state.picked);
  }
  function step(d, phases) {
    const all = phases ? order().filter((s) => bySeq.get(s).k === "phase") : order();
    all.sort((a, b) => a - b);
    const from = state.picked ? state.seq : -1;
    const to = d > 0 ? all.find((s) => s > from) : [...all].reverse().find((s) => s < from);
    if (to === undefined) return false;
    choose(to, true);
    return true;
  }
  function playing() {
    clearInterval(state.playing);
    if (state.playing) { state.playing = 0; play.replaceChildren(icon("play")); return; }
    state.fade = true;
    if (!state.picked || state.seq >= rec[rec.length - 1].s) { state.picked = false; state.seq = -1; }
    play.replaceChildren(icon("pause"));
    step(1);
    state.playing = setInterval(() => { if (!step(1)) playing(); }, 900);
  }
  function fromHash() {
    const hash = new URLSearchParams(location.hash.slice(1));
    const as = hash.get("as")?.replace("player_", "");
    state.as = as !== undefined && seats[+as] ? +as : null;
    const seq = hash.has("seq") ? +hash.get("seq") : NaN;
    if (bySeq.has(seq)) { const r = bySeq.get(seq); state.seq = state.as === null && r.D && r.e !== undefined ? r.e : seq; state.picked = true; }
    cast(); lines(); side(); mark(state.picked);
  }
  const drawer = el("button", { class: "drawer-toggle", "aria-expanded": "false", on: { click: () => { const open = sideBox.classList.toggle("open"); drawer.setAttribute("aria-expanded", String(open)); drawer.textContent = open ? "close" : "beliefs"; } } }, "beliefs");
  document.body.append(...[
    el("header", { class: "top" },
      el("div", { class: "bar" }, game.index_link ? el("a", { href: game.index_link, title: "index (i)" }, "\u2190 " + shown(game.run)) : el("span", {}, shown(game.run)), el("h1", {}, "game " + (game.index ?? ""), " ", el("span", { class: "mono soft optional" }, game.id.slice(0, 8))),
        el("span", { class: "truth badge win-" + (["werewolf", "village"].includes(game.winner) ? game.winner : "other"), title: shown(game.reason || "") }, game.winner ? game.winner + " won" : shown(game.status)), el("span", { class: "badge optional" }, [game.preset, game.lexicon].filter(Boolean).join(" \u00b7 ")), game.fallbacks ? el("span", { class: "badge warn" }, game.fallbacks + " fallbacks") : null,
        el("span", { class: "grow" }), asBox, game.prev ? el("a", { href: game.prev + ".html", class: "optional", title: "previous game (N)" }, "previous") : null, game.next ? el("a", { href: game.next + ".html", class: "optional", title: "next game (n)" }, "next") : null, el("button", { "aria-label": "keys", class: "optional", on: { click: () => keys.showModal() } }, "?"), themeButton()),
      el("div", { class: "track" }, play, slider, whereBox, fade)),
    game.error ? el("div", { class: "banner fail" }, el("b", {}, "This game failed: "), el("span", { class: "text bidi" }, shown(game.error))) : null,
    branch ? el("div", { class: "banner" }, el("b", {}, branch.kind === "changed" ? "Branch: " : "Continuation without a change: "), el("span", { class: "bidi" }, shown(branch.what)), ` from decision #${branch.seq} of `, branch.link ? el("a", { href: branch.link }, "game " + branch.game.slice(0, 8)) : el("span", { class: "mono" }, branch.game), ` (${shown(branch.run)})`, branch.rec ? "" : ". The recorded game is not there any more, so it is shown alone.") : null,
    el("main", { class: "game" + (branch?.rec ? " branched" : "") }, el("aside", { class: "cast", "aria-label": "players" }, castBox), lineBox, sideBox), drawer, keys].filter(Boolean));

  addEventListener("keydown", (event) => {
    if (typing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    const source = () => { const i = beliefs.findIndex((b) => b.key === state.source); state.source = beliefs[(i + 1) % beliefs.length]?.key; side(); };
    const reasoning = () => { const all = [...document.querySelectorAll("details.think")]; const open = all.some((d) => !d.open); for (const d of all) d.open = open; };
    const act = { j: () => step(1), ArrowDown: () => step(1), k: () => step(-1), ArrowUp: () => step(-1), "]": () => step(1, true), "[": () => step(-1, true), p: playing, t: toggleTheme, f: () => fade.click(), b: source, r: reasoning, "?": () => keys.showModal(),
      n: () => game.next && location.assign(game.next + ".html"), N: () => game.prev && location.assign(game.prev + ".html"), i: () => game.index_link && location.assign(game.index_link) }[event.key] || (/^[0-9]$/.test(event.key) && (event.key === "0" || seats[+event.key - 1]) ? () => see(event.key === "0" ? null : +event.key - 1) : null);
    if (act) { event.preventDefault(); act(); }
  });
  addEventListener("hashchange", fromHash);
  fromHash();
})();
