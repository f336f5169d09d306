"""A model's stated beliefs and votes after each thought, by exact option probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from torch import Tensor

from agents.hooks.model import HookedModel
from agents.llm.beliefs import role_words
from games import load_game
from games.records import NOBODY
from harness.experiment.scoring.packed import PackedScorer
from harness.experiment.scoring.questions import Ask
from harness.model_evaluation.thinking.arms import Thinkers, Thought
from harness.model_evaluation.thinking.moments import Moment

CLIP = 0.005
"""Probabilities are kept between CLIP and 1 - CLIP before logarithms are taken."""
QUESTIONS = {
    "moment": pl.Int64, "game": pl.Int64, "day": pl.Int64, "viewer": pl.Int64, "subject": pl.Int64, "arm": pl.String,
    "rung": pl.String, "exact": pl.Float64, "stated": pl.Float64, "written": pl.Int64, "vote": pl.Float64,
    "bits": pl.Float64,
}  # fmt: skip
"""One row a question `Ada believes Ben` after a thought. written: tenths, null where no line states them. vote: the
probability of a vote for the subject. bits: from the exact posterior to the stated one, of the subject being a
werewolf."""
BALLOTS = {
    "moment": pl.Int64, "game": pl.Int64, "day": pl.Int64, "viewer": pl.Int64, "arm": pl.String, "rung": pl.String,
    "n_tokens": pl.Int64, "regret": pl.Float64, "hit": pl.Float64, "nobody": pl.Float64, "read": pl.Boolean,
    "text": pl.String,
}  # fmt: skip
"""One row a ballot after a thought. rung: `Moment.rung`. hit: the probability that it is for a werewolf, under the
exact posterior. regret: the best vote's probability minus `hit`. nobody: probability of a vote for nobody. read:
whether the line could be read."""
Scores = tuple[Mapping[int, float], Mapping[int, float]]
"""(P(vote) of each option, stated P(werewolf) of each subject)."""


class Scored:
    """A model's ballots and beliefs after thoughts; contexts that extend each other share computation."""

    def __init__(self, hooked: HookedModel, thinkers: Thinkers) -> None:
        self.thinkers, self.scorer = thinkers, PackedScorer(hooked)

    def ballot(self, moment: Moment, thought: Thought) -> tuple[int, ...]:
        """The prompt of the decision after a thought."""
        plain = self.thinkers.players["none"]
        return tuple(plain.asked(thought.context.copy(), moment.observation).ids)

    def question(self, moment: Moment, thought: Thought, subject: int) -> tuple[int, ...]:
        """The prompt that asks what the viewer believes of a player after a thought; its last token is the name's."""
        builder = self.thinkers.players["none"].builder(moment.observation)
        builder.read(moment.observation.records)
        whole = thought.context.copy()
        line = builder.text.belief((moment.viewer, subject), builder.words)
        builder.write(whole, line, "question", moment.viewer)
        return tuple(whole.ids)

    def unembedding(self, tokens: Sequence[int]) -> Tensor:
        """The unembedding of some tokens with the scale of the final norm folded in: float32 `(n_tokens, hidden)`."""
        model: Any = self.scorer.hooked.model
        head = model.get_output_embeddings().weight.detach()[list(tokens)]
        return (head * model.model.norm.weight.detach()).float().cpu()

    def score(self, moment: Moment, thoughts: Sequence[Thought]) -> list[Scores]:
        """For each thought before one decision: (P(vote) of each option, stated P(werewolf) of each subject)."""
        plain, observation = self.thinkers.players["none"], moment.observation
        roles = role_words(observation)
        options, votes = observation.request.options, plain.choice_answers(observation)
        answers = tuple((plain.encoder.encode(f" {word}")[0][0],) for word in roles.values())
        asks = []
        for thought in thoughts:
            asks.append(Ask(self.ballot(moment, thought), votes))
            asks += [Ask(self.question(moment, thought, j), answers) for j in moment.subjects]
        found, n = self.scorer.score(asks) if asks else [], 1 + len(moment.subjects)
        places = load_game(observation.game).belief_targets[0].places(list(roles))
        return [
            (
                dict(zip(options, _shares(found[i]).tolist(), strict=True)),
                {j: float(_shares(belief)[places].sum())
                 for j, belief in zip(moment.subjects, found[i + 1 : i + n], strict=True)},
            )
            for i in range(0, len(found), n)
        ]  # fmt: skip


def score_all(
    scored: Scored, moments: Sequence[Moment], found: dict[str, list[Thought]]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`QUESTIONS` and `BALLOTS` of all arms, moment by moment."""
    by_moment: dict[int, list[Thought]] = {}
    for thoughts in found.values():
        for thought in thoughts:
            by_moment.setdefault(thought.moment, []).append(thought)
    questions, ballots = list[dict[str, Any]](), list[dict[str, Any]]()
    for moment in moments:
        mine = by_moment.get(moment.id, [])
        for thought, (votes, stated) in zip(mine, scored.score(moment, mine), strict=True):
            of = {
                "moment": moment.id,
                "game": moment.game,
                "day": moment.day,
                "viewer": moment.viewer,
                "arm": thought.arm,
            }
            ballots.append(of | ballot_row(moment, thought, votes))
            belief = {} if thought.line is None else thought.line.belief
            for i, j in enumerate(moment.subjects):
                questions.append(of | {
                    "subject": j, "rung": moment.rungs[i], "exact": moment.exact[i], "stated": stated[j],
                    "written": belief.get(moment.names[j]), "vote": votes.get(j, 0.0),
                    "bits": bits(moment.exact[i], stated[j]),
                })  # fmt: skip
    return pl.DataFrame(questions, schema=QUESTIONS), pl.DataFrame(ballots, schema=BALLOTS)


def ballot_row(moment: Moment, thought: Thought, votes: Mapping[int, float]) -> dict[str, Any]:
    """How good a distribution of votes is under the exact posterior; a vote for nobody hits no werewolf."""
    p = dict(zip(moment.subjects, moment.exact, strict=True))
    hit = sum(q * p.get(j, 0.0) for j, q in votes.items())
    best = max((p[j] for j in votes if j in p), default=0.0)
    return {
        "rung": moment.rung, "n_tokens": thought.n_tokens, "regret": best - hit, "hit": hit,
        "nobody": votes.get(NOBODY, 0.0), "read": thought.line is not None, "text": thought.text,
    }  # fmt: skip


def _shares(logprobs: np.ndarray) -> np.ndarray:
    p = np.exp(logprobs - logprobs.max())
    return np.asarray(p / p.sum())


def bits(exact: float, stated: float) -> float:
    """Kullback-Leibler divergence of a stated probability from the exact one, of a yes-or-no question, in bits."""
    p, q = exact, min(max(stated, CLIP), 1.0 - CLIP)
    terms = ((p, q), (1.0 - p, 1.0 - q))
    return float(sum(a * np.log2(a / b) for a, b in terms if a > 0.0))
