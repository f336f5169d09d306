"""A model's answers to the inquiries of `held_out`, and its activations where a belief might be read.

Both are obtained as for any model: the contexts are those of a tournament's player, the answers are log-probabilities
of whole answers as an experiment scores them, and the activations come from an offline extraction
(`harness.capture.passes`) into a store. Sites, each one token before anything that reveals the answer:

    mention         last mention of the subject in what was read
    option          the subject among the names that may be chosen, in the viewer's own decision right after; where that
                    offers none (a vote on a team), there is no such row
    belief_mention  the subject at the end of the question `Ada believes Ben`
    second_order    the viewer at the end of the question `Ada believes Ben believes Ada`
    character       the end of the question `Ada believes Ben plays`, where the model has that word
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.backends.base import Capabilities
from agents.backends.mock import MockBackend
from agents.exam import Exam
from agents.hooks.model import HookedModel
from agents.llm.beliefs import Question, questions, role_words
from agents.llm.transcript import TranscriptPlayer
from agents.llm.transcript_context import Context, mentions
from games import load_game
from games.base import Observation
from harness.activations.format import BELIEF_MENTION
from harness.activations.items import CaptureItem, Site
from harness.activations.store import open_activations
from harness.capture.passes import capture_pass
from harness.config.models import points_of
from harness.experiment.scoring.packed import PackedScorer
from harness.experiment.scoring.questions import Ask
from harness.model_evaluation.held_out import Sitting, in_targets, measured_targets

BELIEF_SITES = ("mention", "option", BELIEF_MENTION, "second_order")
SITES = (*BELIEF_SITES, "character")


class Reading:
    """One model that is questioned in the seats of scripted players, without deciding anything.

    exam: of the game that the seats play."""

    def __init__(self, hooked: HookedModel, tokenizer: Any, exam: Exam) -> None:
        self.hooked, self.scorer, self.exam = hooked, PackedScorer(hooked), exam
        silent = MockBackend(capabilities=Capabilities(steers=True))
        self.player = TranscriptPlayer("small", silent, tokenizer)
        asked = {exam.PLAYS, *exam.CHARACTERS}
        self.names_characters = bool(exam.CHARACTERS) and asked <= set(tokenizer.get_vocab())
        """Whether its vocabulary has the words of the question for characters."""

    def states(self, observation: Observation, chains: Sequence[Sequence[int]]) -> np.ndarray:
        """Stated probability of each role `(n_chains, n_roles)`, roles in the order of `role_words`.

        chains: (viewer, subject), or (viewer, subject, about), as `agents.llm.beliefs.chains` has them."""
        roles = role_words(observation)
        put = [question for question, *_ in questions(self.player, observation, chains, roles, orders=1)]
        return self._answered([Ask(question.prompt.ids, question.choices) for question in put])

    def characters(self, sitting: Sitting) -> np.ndarray:
        """Stated probability of each subject's character `(n_subjects, n_characters)`, in the order of
        `Exam.CHARACTERS`; NaN where the model has no words for them."""
        if not self.names_characters:
            return np.full((len(sitting.inquiries), len(self.exam.CHARACTERS)), np.nan)
        words = tuple(self.player.encoder.encode(f" {name}")[0] for name in self.exam.CHARACTERS)
        return self._answered([Ask(tuple(c.ids), words) for c in self._character_questions(sitting)])

    def _answered(self, asks: Sequence[Ask]) -> np.ndarray:
        scores = np.stack(self.scorer.score(asks))
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(p / p.sum(axis=1, keepdims=True))

    def _character_questions(self, sitting: Sitting) -> Iterator[Context]:
        observation = sitting.observation
        builder = self.player.builder(observation)
        builder.read(observation.records)
        names = builder.words.names
        for inquiry in sitting.inquiries:
            line = f"{names[inquiry.viewer]} believes {names[inquiry.subject]} {self.exam.PLAYS}"
            yield builder.fork(observation.records, line)

    def items(self, sittings: Iterable[Sitting]) -> Iterator[CaptureItem]:
        """The capture items of the sittings: the prompt of each decision, and the questions on forks before it."""
        for sitting in sittings:
            observation = sitting.observation
            prompt = self.player.context(observation)
            start = _question(prompt.spans)
            before = mentions([span for span in prompt.spans if span.end <= start])
            offered = mentions([span for span in prompt.spans if span.start >= start])
            sites: dict[str, Site] = {}
            for inquiry in sitting.inquiries:
                j = inquiry.subject
                sites[f"mention:{j}"] = (j, (before[j],))
                if j in offered:
                    sites[f"option:{j}"] = (j, (offered[j],))
            yield _item(sitting, prompt.ids, sites)
            chains = _first(sitting) + _second(sitting)
            put = questions(self.player, observation, chains, role_words(observation), orders=1)
            for (_, j, *about), (question,) in zip(chains, put, strict=True):
                site = "second_order" if about else BELIEF_MENTION
                yield _fork(sitting, site, j, question)
            if self.names_characters:
                asked = self._character_questions(sitting)
                for inquiry, context in zip(sitting.inquiries, asked, strict=True):
                    at: Site = (inquiry.subject, (len(context.ids) - 1,))
                    named = {f"character:{inquiry.subject}": at}
                    yield _item(sitting, context.ids, named, _question(context.spans))

    def capture(
        self, sittings: Sequence[Sitting], store: Path, hooked: HookedModel | None = None
    ) -> np.ndarray:
        """The residual stream `(n_inquiries, n_sites, n_layers + 1, d_model)` float32, read into the store at `store`;
        rows in the order of the sittings' inquiries. Layer 0 is the embedding, the last one is given as the unembedding
        reads it, after the model's final norm (the `hidden_states` of transformers).

        hooked: reads the same contexts instead of the model. NaN where there is no such token: a subject that may not
        be chosen, a model that has no word that asks for characters.
        """
        reader = hooked or self.hooked
        capture_pass(self.items(sittings), reader, store, points=points_of(reader, ("all",)), dtype="float32")
        opened = open_activations(store)
        place = {
            (s.observation.game_id, s.decision.seq, inquiry.subject): i
            for i, (s, inquiry) in enumerate((s, inquiry) for s in sittings for inquiry in s.inquiries)
        }
        found = np.full(
            (len(place), len(SITES), len(opened.layers), opened.d_model), np.nan, dtype=np.float32
        )
        lines = opened.index()
        keys = lines.select("game_id", "seq", "subject").iter_rows()
        rows = np.array([place[game, seq, subject] for game, seq, subject in keys])
        sites = np.array([SITES.index(site) for site in lines["site"]])
        found[rows, sites] = opened.read_rows(lines)
        norm: Any = reader.model.base_model.norm
        with torch.inference_mode():
            found[..., -1, :] = norm(torch.from_numpy(found[..., -1, :])).numpy()
        return found


class Stated:
    """A model's answers; row i belongs to inquiry i of all sittings in order."""

    def __init__(self, reading: Reading, sittings: Sequence[Sitting]) -> None:
        first, second, characters = [], [], []
        for sitting in sittings:
            observation, n = sitting.observation, len(sitting.inquiries)
            targets = measured_targets(load_game(observation.game))
            p = reading.states(observation, _first(sitting) + _second(sitting))
            told = in_targets(p, list(role_words(observation)), targets)
            first.append(told[:n])
            second.append(told[n:, 0])
            characters.append(reading.characters(sitting))
        self.first = np.concatenate(first)
        """P(target holds of the subject) `(n_inquiries, n_targets)`, in the order of `measured_targets`."""
        self.second = np.concatenate(second)
        """P(the first target holds of the viewer) in the subject's eyes `(n_inquiries,)`."""
        self.characters = np.concatenate(characters)
        """P(character of the subject) `(n_inquiries, n_characters)`; NaN where the model has no words for them."""


def _first(sitting: Sitting) -> list[tuple[int, ...]]:
    return [(inquiry.viewer, inquiry.subject) for inquiry in sitting.inquiries]


def _second(sitting: Sitting) -> list[tuple[int, ...]]:
    return [(inquiry.viewer, inquiry.subject, inquiry.viewer) for inquiry in sitting.inquiries]


def _question(spans: Sequence[Any]) -> int:
    """The index of the first token of the last question."""
    return max(span.start for span in spans if span.kind == "question")


def _fork(sitting: Sitting, site: str, subject: int, question: Question) -> CaptureItem:
    """The last token of the last name in a question."""
    last = max(span.end for span in question.spans if span.kind == "mention") - 1
    sites: dict[str, Site] = {f"{site}:{subject}": (subject, (last,))}
    return _item(sitting, question.prompt.ids, sites, _question(question.spans))


def _item(
    sitting: Sitting, ids: Sequence[int], sites: dict[str, Site], fork: int | None = None
) -> CaptureItem:
    decision = sitting.decision
    return CaptureItem(
        sitting.observation.game_id,
        decision.seq,
        decision.seat,
        tuple(ids),
        sites,
        n_prompt=len(ids),
        fork=fork,
    )
