"""The report's headline: the first question, its answer in words, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from analysis.data.targets import OWN_LIE
from analysis.evaluation.evaluate import Evaluation, Skipped
from analysis.report import verdicts
from analysis.report.sections.planted import control_words, planted_table


def headline_of(evaluations: Sequence[Evaluation | Skipped]) -> Evaluation | None:
    """The evaluation of the first question; None where it could not be evaluated."""
    first = evaluations[0] if evaluations else None
    return first if isinstance(first, Evaluation) else None


def answer_of(
    evaluations: Sequence[Evaluation | Skipped], lies: pl.DataFrame, causal: str, models: Sequence[str]
) -> dict[str, list[str]]:
    """The page's answer in sentences: `models` (do they model each other), `acts` (do they act on it), `control` (what
    the planted truths say of the method).

    lies: the frame of `analysis.report.sections.deception.windows_block`. causal: the experiments in words. models:
    those that played.
    """
    own = next((e for e in evaluations if e.target.name.startswith(OWN_LIE)), None)
    if not evaluations:
        return {"models": ["No question could be asked of these games."], "acts": [causal], "control": []}
    first = evaluations[0]
    said = verdicts.models_answer(first)
    if isinstance(first, Evaluation):
        frame = first.target.frame
        said.append(verdicts.said_words(first.evidence))
        agents = (
            frame.filter(pl.col("model").is_not_null())["agent"].unique(maintain_order=True).sort().to_list()
        )
        rows_of = frame["model"].drop_nulls().unique(maintain_order=True).sort().to_list()
        said.append(
            verdicts.pooled_words(rows_of, agents) if rows_of else "No model's decision is among the rows."
        )
    elif not models:
        said.append("No seat was played by a model: there is nothing to probe, only the game and its labels.")
    return {
        "models": said,
        "acts": verdicts.acts_answer(first, lies, causal, own),
        "control": [control_words(planted_table())],
    }


def next_step(done: Sequence[Evaluation], *, causal_shown: bool) -> str:
    """What to do next. done: the evaluated questions; causal_shown: whether the page has effects of experiments."""
    if not done:
        return "capture activations (wolfscope capture RUN) and play at least 15 games"
    if any(s.verdict == "unclear" for s in done[0].rungs[:3]):
        return "play more games: a rung of the first question is not settled"
    if not causal_shown:
        return "test what the belief does: wolfscope experiment belief-drives-ballot RUN, then wolfscope report again"
    return "the causal table, and the rows where surface and ideal reader disagree"
