"""Named sites: which tokens of a decision's context to read.

prompt_last     the last token of the prompt: where the answer begins
output_last     the last token of the answer (the line break or end token excluded where it ends the answer)
output_mean     the mean over the answer's tokens
speech_last, speech_mean    the same, of the words said aloud (a chat model's notes around them left out)
reasoning_mean  the mean over the decision's thinking and private notes
mention         for each other seat, the last token of its name where the prompt mentions it last
role_line       the mean over the line that tells the seat its role
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from games.records import Decision, Record, Span, Trace
from harness.capture_plan import CaptureItem, Site
from harness.errors import ConfigurationError
from harness.run_folder import Run

SITES = (
    "prompt_last",
    "output_last",
    "output_mean",
    "speech_last",
    "speech_mean",
    "reasoning_mean",
    "mention",
    "role_line",
)


def check_sites(sites: Sequence[str]) -> None:
    """Raises ConfigurationError for a site that does not exist."""
    wrong = [site for site in sites if site not in SITES]
    if wrong or not sites:
        raise ConfigurationError(
            f"no site is called {wrong[0]!r}; there are: {', '.join(SITES)}" if wrong else "no site is named"
        )


def capture_items(run: Run, model: str, sites: Sequence[str]) -> Iterator[CaptureItem]:
    """One item for each decision of the model `name@hash`, games in the order of the schedule."""
    check_sites(sites)
    for game_id, records in run.logs():
        yield from game_items(game_id, records, model, sites)


def game_items(
    game_id: str, records: Sequence[Record], model: str, sites: Sequence[str]
) -> Iterator[CaptureItem]:
    """The items of one game."""
    contexts: dict[int, tuple[list[int], list[Span]]] = {}
    for decision in records:
        if not isinstance(decision, Decision) or decision.trace is None:
            continue
        trace = decision.trace
        ids, spans = ([], []) if trace.continues is None else contexts[trace.continues]
        prompt = [*ids, *trace.prompt_ids]
        spans = [*spans, *trace.spans]
        context = [*prompt, *trace.output_ids]
        contexts[decision.seq] = (context, spans)
        if trace.model != model:
            continue
        found = dict(_sites(decision, trace, len(prompt), spans, sites))
        if found:
            yield CaptureItem(game_id, decision.seq, decision.seat, tuple(context), found)


def _sites(
    decision: Decision, trace: Trace, n_prompt: int, spans: Sequence[Span], sites: Sequence[str]
) -> Iterator[tuple[str, Site]]:
    n_output = len(trace.output_ids)
    if n_output > 1 and trace.output_text.endswith(("\n", ">")):
        n_output -= 1  # the token that ends the line says nothing of its own
    output = tuple(range(n_prompt, n_prompt + n_output))
    if "prompt_last" in sites:
        yield "prompt_last", (None, (n_prompt - 1,))
    for kind, tokens in (("output", output), ("speech", _said(decision, trace, n_prompt, output))):
        if not tokens:
            continue
        if f"{kind}_last" in sites:
            yield f"{kind}_last", (None, (tokens[-1],))
        if f"{kind}_mean" in sites:
            yield f"{kind}_mean", (None, tokens)
    thought = sorted({i for s in trace.spans if s.kind == "reasoning" for i in range(s.start, s.end)})
    if thought and "reasoning_mean" in sites:
        yield "reasoning_mean", (None, tuple(thought))
    if "mention" in sites:
        last = {s.seat: s.end - 1 for s in spans if s.kind == "mention" and s.end <= n_prompt}
        for seat in sorted(seat for seat in last if seat is not None and seat != decision.seat):
            yield f"mention:{seat}", (seat, (last[seat],))
    if "role_line" in sites:
        line = next((s for s in spans if s.kind == "role_line" and s.end <= n_prompt), None)
        if line is not None:
            yield "role_line", (None, tuple(range(line.start, line.end)))


def _said(decision: Decision, trace: Trace, n_prompt: int, output: tuple[int, ...]) -> tuple[int, ...]:
    """The tokens of the words said aloud: the last span of own speech, or all of the output."""
    if not decision.action.text:
        return ()
    said = [s for s in trace.spans if s.kind == "own_speech"]
    whole = (n_prompt, n_prompt + len(trace.output_ids))
    if not said or (said[-1].start, said[-1].end) == whole:
        return output
    return tuple(range(said[-1].start, said[-1].end))
