"""Named sites: which tokens of a decision's context to read.

prompt_last     the last token of the prompt: where the answer begins
output_last     the last token of the answer (the line break or end token excluded where it ends the answer)
output_mean     the mean over the answer's tokens
speech_last, speech_mean    the same, of the words said aloud (a chat model's notes around them left out)
reasoning_mean  the mean over the decision's thinking and private notes
mention         for each other seat, the last token of its name where the prompt mentions it last; mention:3 for one.
                Of a name of several tokens the last has read the whole name; `Run.mention_tokens` tells which token
                each row was read at.
mention_told    the same, where the moderator mentions it last: mentions in players' words are left out
option          for each other seat among the options of a choice, the last token of its name where the question of
                that choice shows it; option:3 for one. Where no line follows the question, `mention` reads the same
                token.
role_line       the mean over the line that tells the seat its role
belief_mention  for each living other seat, the last token of its name in the question what its role is, asked on a fork
                of the context before the decision (`harness.capture.belief_forks`); before the decisions
                of `beliefs.before`
tokens:SPAN     every token by itself, of output, speech, reasoning, role_line, or question: one row a token
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

import msgspec

from games.records import Decision, Record, Span
from harness.activations.format import SITES, no_site, split_site
from harness.activations.items import CaptureItem, Site
from harness.errors import ConfigurationError
from harness.extensions import load_extensions

BOUND = ("mention", "mention_told", "option")
"""Sites with one row per subject seat: `mention:3` reads seat 3's."""
SPOKEN = ("speech", "last_words", "whisper")
"""Kinds of events whose lines quote a player."""


class DecisionContext(msgspec.Struct, frozen=True):
    """One decision's whole context, original or of a variant."""

    decision: Decision
    ids: tuple[int, ...]
    n_prompt: int
    """Tokens before the output."""
    own: int
    """Index of the first token after the context that this one continues."""
    spans: tuple[Span, ...]


class NewSite(msgspec.Struct, frozen=True):
    """A user-defined site: one row per decision."""

    name: str
    """Lower-case letters, digits and `_`."""
    tokens: Callable[[DecisionContext], Sequence[int]]
    """Token indices in the whole context, averaged; none where a context lacks the site."""


REGISTERED: dict[str, NewSite] = {}


def register_site(site: NewSite) -> None:
    """Adds a site, which `activations.sites` and `wolfscope capture --site` can then name.

    Raises ConfigurationError for a name that is taken or malformed.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", site.name):
        raise ConfigurationError(f"{site.name!r} is no name of a site: use lower-case letters, digits and _")
    if site.name in SITES or REGISTERED.get(site.name, site) != site:
        raise ConfigurationError(f"there is a site {site.name!r} already: choose another name")
    REGISTERED[site.name] = site


def check_sites(sites: Sequence[str]) -> None:
    """Raises ConfigurationError for a site that does not exist. Loads user-defined sites (`harness.extensions`)."""

    def unknown() -> list[str]:
        known = {*SITES, *REGISTERED}
        return [site for site in sites if site not in known and not _is_of_a_seat(site)]

    wrong = unknown()
    if wrong:
        load_extensions()
        wrong = unknown()
    if wrong or not sites:
        raise ConfigurationError(no_site(wrong[0]) if wrong else "no site is named")


def _is_of_a_seat(site: str) -> bool:
    head, _, seat = site.partition(":")
    return head in BOUND and seat.isascii() and seat.isdigit() and seat == str(int(seat))


def views(records: Sequence[Record], model: str | None) -> Iterator[DecisionContext]:
    """The contexts of the decisions of the model `name@hash` in one game; None: of all models."""
    contexts: dict[int, tuple[list[int], list[Span]]] = {}
    for decision in records:
        if not isinstance(decision, Decision) or decision.trace is None:
            continue
        trace = decision.trace
        before, spans = ([], []) if trace.continues is None else contexts[trace.continues]
        prompt = [*before, *trace.prompt_ids]
        spans = [*spans, *trace.spans]
        context = [*prompt, *trace.output_ids]
        contexts[decision.seq] = (context, spans)
        if model is None or trace.model == model:
            yield DecisionContext(decision, tuple(context), len(prompt), len(before), tuple(spans))


def game_items(
    game_id: str,
    records: Sequence[Record],
    model: str,
    sites: Sequence[str],
    *,
    variant: str = "original",
    change: Callable[[DecisionContext], DecisionContext | None] | None = None,
) -> Iterator[CaptureItem]:
    """The items of one game. change: turns each context into the variant's (None: the context has no such
    variant)."""
    check_sites(sites)
    for view in views(records, model):
        changed = view if change is None else change(view)
        found = {} if changed is None else dict(sites_of(changed, sites))
        if changed is not None and found:
            decision = changed.decision
            yield CaptureItem(
                game_id, decision.seq, decision.seat, changed.ids, found, variant, changed.n_prompt
            )


def sites_of(view: DecisionContext, sites: Sequence[str]) -> Iterator[tuple[str, Site]]:
    """(name, where) of every site that the context has."""
    n_prompt, decision = view.n_prompt, view.decision
    if "prompt_last" in sites:
        yield "prompt_last", (None, (n_prompt - 1,))
    stretches = {
        "output": _output(view),
        "speech": _said(view),
        "reasoning": _inside(s for s in view.spans if s.kind == "reasoning" and s.start >= view.own),
        "role_line": _inside([s for s in view.spans if s.kind == "role_line" and s.end <= n_prompt][:1]),
        "question": _inside([s for s in view.spans if s.kind == "question" and s.end <= n_prompt][-1:]),
    }
    for kind, tokens in stretches.items():
        if not tokens:
            continue
        if f"{kind}_last" in sites:
            yield f"{kind}_last", (None, (tokens[-1],))
        if f"{kind}_mean" in sites:
            yield f"{kind}_mean", (None, tokens)
        if kind == "role_line" and kind in sites:
            yield kind, (None, tokens)
        if f"tokens:{kind}" in sites:
            for index in tokens:
                yield f"tokens:{kind}#{index}", (None, (index,))
    for site in sites:
        if site in REGISTERED and (own := tuple(REGISTERED[site].tokens(view))):
            yield site, (None, own)
    named = [s for s in view.spans if s.kind == "mention" and s.end <= n_prompt]
    shown = [s for s in named if stretches["question"] and s.start >= stretches["question"][0]]
    shown = [s for s in shown if s.seat in decision.options and s.start >= view.own]
    told: list[Span] = []
    if any(split_site(site)[0] == "mention_told" for site in sites):
        said = quoted(view.spans)
        told = [s for s in named if s.start not in said]
    for site, spans in (("mention", named), ("mention_told", told), ("option", shown)):
        last = {s.seat: s.end - 1 for s in spans}
        for seat in sorted(seat for seat in last if seat is not None and seat != decision.seat):
            if site in sites or f"{site}:{seat}" in sites:
                yield f"{site}:{seat}", (seat, (last[seat],))


def quoted(spans: Sequence[Span]) -> set[int]:
    """The first tokens of the mentions that stand in players' words. The speaker's name in front is the moderator's."""
    named = sorted((s for s in spans if s.kind == "mention"), key=lambda s: s.start)
    starts, found = [s.start for s in named], set()
    for line in (s for s in spans if s.kind in SPOKEN):
        inside = named[bisect_left(starts, line.start) : bisect_left(starts, line.end)]
        if inside and inside[0].seat == line.seat:
            inside = inside[1:]
        found |= {s.start for s in inside}
    return found


def _inside(spans: Iterator[Span] | Sequence[Span]) -> tuple[int, ...]:
    return tuple(sorted({i for s in spans for i in range(s.start, s.end)}))


def _output(view: DecisionContext) -> tuple[int, ...]:
    end = len(view.ids)
    trace = view.decision.trace
    if trace is not None and end - view.n_prompt > 1 and trace.output_text.endswith(("\n", ">")):
        end -= 1  # the token that ends the line carries no content
    return tuple(range(view.n_prompt, end))


def _said(view: DecisionContext) -> tuple[int, ...]:
    """The tokens of the words said aloud: the last span of own speech, or all of the output."""
    if not view.decision.action.text:
        return ()
    said = [s for s in view.spans if s.kind == "own_speech" and s.start >= view.own]
    if not said or (said[-1].start, said[-1].end) == (view.n_prompt, len(view.ids)):
        return _output(view)
    return tuple(range(said[-1].start, said[-1].end))
