"""A player's stated beliefs about the others, asked on a fork of its context that never enters the game.

Where the backend gives log-probabilities, the belief is the model's own distribution over the role words: for the
transcript style after `Ada believes Ben` (second order: `Ada believes Ben believes Cal`), for the chat style over
the options of a question, averaged over orders of the options. A server that returns only text is asked for
percentages. Contexts are functions of the records, so all of this is done after a game has ended and cannot touch it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from agents.backends.base import Backend, BackendError, Generation, Prompt, Sampling
from agents.backends.provenance import LOW_MASS
from agents.backends.retry import Patient
from agents.llm.percentages import NoStatement, read
from agents.llm.thinking import reply
from games import chance, load_game
from games.base import Game, Observation
from games.log import exits
from games.records import Record, Span

STATED = "stated"
"""The source of a belief read from log-probabilities."""
WORDS = "stated_words"
"""The source of a belief asked for in percentages."""
FAILED = "failed"
"""The source of a belief that could not be obtained; it has no probabilities."""


class Belief(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one seat believes of another's role, or of what another believes of a third."""

    seq: int
    """Of the decision before which it was asked."""
    viewer: int
    subject: int
    source: str
    about: int | None = None
    """None: P(role of `subject`). A seat: what the viewer thinks that `subject` believes the role of `about` is."""
    probabilities: dict[str, float] = {}
    """Role key -> probability; adds up to 1, or is empty."""
    option_mass: float | None = None
    """Probability that the model gave to all options together, before renormalisation; the mean over the orders. None
    where it was asked in words."""
    note: str = ""
    """Why it could not be obtained or read, or a note on how it was obtained."""


class Answer(msgspec.Struct, frozen=True):
    """The answer to one question."""

    probabilities: dict[str, float] = {}
    """Key -> probability; empty where the answer cannot be read."""
    option_mass: float | None = None
    note: str = ""


class Question(msgspec.Struct, frozen=True):
    """One question in one wording."""

    prompt: Prompt
    """Ids or messages; its sampling is for answers in words."""
    choices: tuple[tuple[int, ...], ...] = ()
    """Token ids of each role's answer, in the order of `roles`; empty where the backend returns only text."""
    spans: tuple[Span, ...] = ()
    """Spans of the prompt's tokens; empty where it has no ids."""
    closed: bool = False
    """Whether the prompt ends with thinking that was closed for the model."""
    opened: bool = False
    """Whether an answer in words begins inside a block of thinking."""


@runtime_checkable
class Believer(Protocol):
    """A player that can be asked what it believes; `isinstance` tells."""

    backend: Backend
    backend_retries: int
    first_wait_s: float

    def belief_questions(
        self, observation: Observation, chain: Sequence[int], roles: Mapping[str, str], orders: int, key: int
    ) -> list[Question]:
        """The question `chain[0] believes ... chain[-1]`, in several wordings. roles: key -> word."""
        ...


def living_others(observation: Observation) -> list[int]:
    """The seats that have not left the game, without the viewer's own."""
    game = load_game(observation.game)
    words = game.text.words_of(observation.config, observation.records)
    out = gone(game, observation.records)
    return [i for i in range(len(words.names)) if i not in out and i != observation.request.seat]


def gone(game: Game, records: Sequence[Record]) -> set[int]:
    """The seats that have left the game."""
    return set(exits(game, records))


def chains(observation: Observation, second_order: bool) -> list[tuple[int, ...]]:
    """(viewer, subject) for each living other, and with `second_order` (viewer, subject, about) for each pair."""
    viewer, others = observation.request.seat, living_others(observation)
    found: list[tuple[int, ...]] = [(viewer, i) for i in others]
    if second_order:
        found += [(viewer, i, k) for i in others for k in (viewer, *others) if k != i]
    return found


def questions(
    player: Believer,
    observation: Observation,
    asked: Sequence[Sequence[int]],
    roles: Mapping[str, str],
    orders: int,
) -> list[list[Question]]:
    """What the player is asked about each chain of seats. roles: as `role_words` gives them."""
    return [
        player.belief_questions(observation, c, roles, orders, chance.key(observation.seed, "beliefs", *c))
        for c in asked
    ]


def role_words(observation: Observation) -> dict[str, str]:
    """The roles that an answer may name: key -> word."""
    text = load_game(observation.game).text
    return text.role_words(observation.config, text.words_of(observation.config, observation.records))


async def elicit(
    player: Believer, observation: Observation, seq: int, *, second_order: bool = False, orders: int = 2
) -> list[Belief]:
    """The beliefs of the observation's seat about all living others. A backend that fails gives `failed` rows.

    seq: the decision's number in the log, for the rows.
    """
    roles, asked = role_words(observation), chains(observation, second_order)
    put = questions(player, observation, asked, roles, orders)
    flat = [question for some in put for question in some]
    backend = Patient(player.backend, player.backend_retries, "beliefs", player.first_wait_s)
    try:
        answers = await distributions(backend, flat, roles)
    except BackendError as error:
        answers = [Answer(note=str(error))] * len(flat)
    found, at = [], 0
    for chain, some in zip(asked, put, strict=True):
        told = answers[at : at + len(some)]
        at += len(some)
        found.append(_belief(seq, chain, some[0], told, list(roles)))
    return found


def _belief(
    seq: int, chain: Sequence[int], question: Question, answers: Sequence[Answer], roles: Sequence[str]
) -> Belief:
    """The mean of the answers to one question over the orders of its options."""
    given = [a for a in answers if a.probabilities]
    about = chain[2] if len(chain) == 3 else None
    if not given:
        return Belief(seq, chain[0], chain[1], FAILED, about, note=answers[0].note)
    probabilities = {role: sum(a.probabilities[role] for a in given) / len(given) for role in roles}
    source = STATED if question.choices else WORDS
    masses = [a.option_mass for a in given if a.option_mass is not None]
    mass = math.fsum(masses) / len(masses) if masses else None
    notes = ["thinking closed before the options"] if question.choices and question.closed else []
    if mass is not None and mass < LOW_MASS:
        notes.append(f"low option mass (below {LOW_MASS:g})")
    return Belief(seq, chain[0], chain[1], source, about, probabilities, mass, "; ".join(notes))


async def distributions(
    backend: Backend, asked: Sequence[Question], roles: Mapping[str, str]
) -> list[Answer]:
    """The distribution over the keys of `roles` (key -> word) that answers each question; one in words that cannot be
    read has none, and says why. Raises BackendError."""
    read = [i for i, q in enumerate(asked) if q.choices]
    told = [i for i, q in enumerate(asked) if not q.choices]
    answers = [Answer()] * len(asked)
    scores = await score(backend, [asked[i] for i in read])
    for i, logprobs in zip(read, scores, strict=True):
        mass = min(1.0, math.fsum(math.exp(p) for p in logprobs))
        answers[i] = Answer(dict(zip(roles, _normalised(logprobs), strict=True)), mass)
    generations = await backend.generate([asked[i].prompt for i in told]) if told else []
    for i, generation in zip(told, generations, strict=True):
        answers[i] = _in_words(generation, asked[i].opened, roles)
    return answers


def _in_words(generation: Generation, opened: bool, roles: Mapping[str, str]) -> Answer:
    """What an answer in words says after its thinking."""
    said = reply(generation.text, opened=opened)
    try:
        if not said:
            raise NoStatement("its thinking was not closed" if generation.text.strip() else "it is empty")
        return Answer(read(said, roles))
    except NoStatement as error:
        return Answer(note=f"{error}: {said[-200:] or generation.text[-200:]!r}")


async def score(backend: Backend, asked: Sequence[Question]) -> list[list[float]]:
    """The log-probability (nats) of each choice of each question under the model's own distribution.

    One request a question where all choices are single tokens and the backend reads several at once; else one request
    a choice, which is the only one that its answer may be. Raises BackendError.
    """
    if not asked:
        return []
    found: dict[int, list[float]] = {}
    single = [i for i, q in enumerate(asked) if all(len(c) == 1 for c in q.choices)]
    at_once = [
        _with(asked[i], Sampling(temperature=0.0, max_tokens=1, read=tuple(c[0] for c in asked[i].choices)))
        for i in single
    ]
    if at_once and backend.capabilities.reads:
        for i, generation in zip(single, await backend.generate(at_once), strict=True):
            found[i] = list(generation.read)
    rest = [(i, c) for i, q in enumerate(asked) if i not in found for c in q.choices]
    forced = [_with(asked[i], Sampling(temperature=1.0, choices=(choice,))) for i, choice in rest]
    for (i, choice), generation in zip(rest, await backend.generate(forced) if forced else [], strict=True):
        if len(generation.logprobs) != len(choice):
            raise BackendError(
                f"{backend.model} tells no log-probabilities, so beliefs cannot be read from them",
                retryable=False,
            )
        found.setdefault(i, []).append(math.fsum(generation.logprobs))
    return [found[i] for i in range(len(asked))]


def _with(question: Question, sampling: Sampling) -> Prompt:
    return msgspec.structs.replace(question.prompt, sampling=sampling)


def _normalised(logprobs: Sequence[float]) -> list[float]:
    top = max(logprobs)
    if not math.isfinite(top):
        return [1.0 / len(logprobs)] * len(logprobs)
    weights = [math.exp(p - top) for p in logprobs]
    total = math.fsum(weights)
    return [w / total for w in weights]


def read_percentages(answer: str, roles: Mapping[str, str]) -> dict[str, float]:
    """Percentages by role word as probabilities (`agents.llm.percentages.read`); empty where they cannot be read."""
    try:
        return read(answer, roles)
    except NoStatement:
        return {}
