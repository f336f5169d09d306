"""The questions of a moment: the prompt, its options, its belief questions, unchanged and changed."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import msgspec

from agents.base import ModelPlayer
from agents.llm.beliefs import gone, role_words
from agents.llm.encoder import Encoder
from games import chance
from games.base import GameError, Observation
from games.play import observe
from games.records import Action, Decision, Request, Span, SpeechAct
from games.statements import Statement
from harness.activations.sites import DecisionContext
from harness.capture.contexts import Players, asked
from harness.capture.variants import GameVariants
from harness.config.files import with_agent_settings
from harness.errors import ConfigurationError
from harness.experiment.arms import Arm
from harness.experiment.design import ExperimentError, Where
from harness.experiment.moments import Moment
from harness.experiment.reasoned import asked_behind, played_of
from harness.experiment.words import changed_records, renamed_records, said_before, speaker_of
from harness.reasoning.played import Played
from harness.run.folder import Run
from harness.schedule.branched import schedule_of

OPTIONS = "options"


class Prompted(msgspec.Struct, frozen=True):
    """One question as token ids."""

    ids: tuple[int, ...]
    spans: tuple[Span, ...]
    choices: tuple[tuple[int, ...], ...]
    answers: tuple[Any, ...]
    """The meaning of each choice: an option, or a role's key."""


class Game:
    """One game of a run, read once."""

    def __init__(self, run: Run, game_id: str) -> None:
        self.game_id = game_id
        self.game, self.config, self.seed = run.game(game_id)
        self.records = run.records(game_id)
        every = asked(self.game, self.config, self.seed, self.records)
        self.asked = {d.seq: (request, d, before) for request, d, before in every}
        self._variants: GameVariants | None = None

    def variants(self, encoder: Encoder) -> GameVariants:
        """The variants of the game's contexts."""
        if self._variants is None:
            self._variants = GameVariants(
                self.game_id, self.game, self.config, self.seed, self.records, encoder, lambda name: None
            )
        return self._variants


class Scenes:
    """The moments of one run. Games are read as they are needed; the last one is kept."""

    def __init__(self, run: Run, reasons: bool = False) -> None:
        """reasons: whether decisions are asked after their reasoning as played."""
        self.run, self.reasons = run, reasons
        self.schedule = schedule_of(run.manifest)
        self.players = Players(self.schedule.configs)
        self._game: Game | None = None
        self.taking: dict[tuple[int, str, str], Any] = {}
        """(cell, agent, arm) -> its player, made to answer (`Scene.taking`)."""

    def game(self, game_id: str) -> Game:
        """One of the run's games."""
        if self._game is None or self._game.game_id != game_id:
            self._game = Game(self.run, game_id)
        return self._game

    def scene(self, moment: Moment) -> Scene:
        """The moment's scene. Raises ExperimentError where its player cannot be made."""
        return Scene(self, moment, self.game(moment.game_id))


class Scene:
    """One moment."""

    def __init__(self, scenes: Scenes, moment: Moment, kept: Game) -> None:
        request, self.decision, before = kept.asked[moment.seq]
        self._scenes, self.moment, self._kept, self.game = scenes, moment, kept, kept.game
        self.observation = observe(kept.game, moment.game_id, kept.config, kept.seed, before, request)
        self.words = kept.game.text.words_of(kept.config, before)
        self.cell = scenes.run.manifest.cells.index(scenes.run.cell(moment.game_id))
        self.player = self._player(self.decision.agent)
        self.left = gone(kept.game, before)
        self._renamings: dict[str | None, Observation] = {}

    def _player(self, agent: str) -> Any:
        player = self._scenes.players.get(self.cell, agent)
        if not isinstance(player, ModelPlayer):
            why = "; ".join(self._scenes.players.skipped) or "its prompts are not token ids"
            raise ExperimentError(f"the contexts of the player {agent!r} cannot be made again: {why}")
        return player

    @property
    def encoder(self) -> Encoder:
        """The encoder of the model's tokenizer."""
        encoder: Encoder = self.player.encoder
        return encoder

    @property
    def living(self) -> list[int]:
        """Living others."""
        return [i for i in range(len(self.words.names)) if i not in self.left and i != self.moment.seat]

    def options(self, arm: Arm) -> Prompted | None:
        """The decision's own question under an arm; None where the moment has no such change."""
        changed = self.changed(arm)
        if changed is None:
            return None
        player, observation = changed
        if self._scenes.reasons:
            behind = asked_behind(self, arm, player, observation)
            return behind and self._spliced(arm, *behind, self.played.choices, self.played.answers)
        choices = player.legal_answers(observation)
        if not choices:
            raise ExperimentError(
                f"a {observation.request.kind} of {self.decision.agent!r} is no bare choice among options, so it has "
                'no exact distribution: choose another moments.kind, or play with choice = "constrained" and no notes'
            )
        context = player.context(observation)
        return self._spliced(
            arm, tuple(context.ids), tuple(context.spans), choices, tuple(observation.request.options)
        )

    @cached_property
    def factions(self) -> list[str]:
        """The truth: the faction of every seat."""
        kept = self._kept
        return [fact.faction for fact in self.game.seats(kept.config, kept.records)]

    def said(self, action: Action) -> list[Statement]:
        """The engine's truth labels of what the decision would have said with another action."""
        decision = msgspec.structs.replace(self.decision, action=action)
        before = self._kept.asked[self.moment.seq][2]
        told = self.game.statements(self._kept.config, [*before, decision])
        return [statement for statement in told if statement.seq == decision.seq]

    @cached_property
    def played(self) -> Played:
        """The decision's reasoning. Raises NoReasoning."""
        return played_of(self)

    @property
    def run(self) -> Run:
        """The run that it belongs to."""
        return self._scenes.run

    @property
    def asked(self) -> dict[int, tuple[Request, Decision, Any]]:
        """seq -> (request, decision, the records before it), of the whole game."""
        return self._kept.asked

    def of(self, decision: Decision) -> Scene:
        """The scene of another decision of the game."""
        moment = msgspec.structs.replace(self.moment, seq=decision.seq, seat=decision.seat)
        return Scene(self._scenes, moment, self._kept)

    def belief(self, arm: Arm, subject: int) -> Prompted | None:
        """The belief question about a subject, under an arm; None where the arm changes a reasoning, which the
        question lacks."""
        if arm.kind == "reasoning":
            return None
        changed = self.changed(arm)
        if changed is None:
            return None
        player, observation = changed
        roles = role_words(observation)
        (question,) = player.belief_questions(observation, (self.moment.seat, subject), roles, 1, 0)
        if not question.choices:
            raise ExperimentError(
                f"the beliefs of {self.decision.agent!r} cannot be read from its probabilities"
            )
        return self._spliced(arm, question.prompt.ids, question.spans, question.choices, tuple(roles))

    def changed(self, arm: Arm) -> tuple[Any, Observation] | None:
        """(the player, what it observes) under an arm that changes words or settings."""
        m = self.moment
        if arm.kind == "player":
            return self._with_settings(arm), self._named(arm, self.observation)
        if arm.kind == "lexicon":
            if arm.lexicon not in self._renamings:
                self._renamings[arm.lexicon] = self._renamed(arm)
            return self.player, self._named(arm, self._renamings[arm.lexicon])
        if arm.kind != "utterance":
            return self.player, self.observation
        records = list(self.observation.records)
        text = self.game.text
        if arm.do in ("add", "neutral"):
            # sorted by name, so that the draw is reproducible
            draw = chance.key(self.observation.seed, "speaker")
            speaker = speaker_of(arm.by, m.belief, self.living, m.subject, draw)
            if speaker is None:
                return None
            act = SpeechAct(arm.act if arm.do == "add" else "question", m.subject)  # type: ignore[arg-type]
            new = said_before(records, speaker, act, self.words, text, self.decision.day, self.decision.phase)
        else:
            found = changed_records(records, arm.do, m.seat, m.subject, self.words, text, self.encoder)
            if found is None:
                return None
            new = found
        return self.player, self._named(arm, msgspec.structs.replace(self.observation, records=tuple(new)))

    def _named(self, arm: Arm, observation: Observation) -> Observation:
        """The observation under another game id, as players cache contexts by game id."""
        return msgspec.structs.replace(
            observation, game_id=f"{observation.game_id}#{self.moment.id}#{arm.id}"
        )

    def _renamed(self, arm: Arm) -> Observation:
        """What the player observes in the words of another lexicon. Raises ExperimentError for an unknown lexicon,
        ConfigurationError where the model lacks its words."""
        seen, text = self.observation, self.game.text
        config = seen.config.model_copy(update={"lexicon": arm.lexicon})
        try:
            words = dict(zip(text.words_in(seen.config), text.words_in(config), strict=True))
        except GameError as error:
            raise ExperimentError(f"arm {arm.of}: {error}") from error
        lacking = [word for word in words.values() if self.encoder.unknown_words(f" {word}")]
        if lacking:
            raise ConfigurationError(
                f"arm {arm.of}: the model's tokenizer ({len(self.encoder.tokenizer)} words) lacks {len(lacking)} of "
                f"the {len(words)} words of the lexicon {arm.lexicon!r} ({', '.join(lacking[:3])}, ...); name a "
                "lexicon that it was taught, or take a model with a general vocabulary"
            )
        return msgspec.structs.replace(
            seen, config=config, records=tuple(renamed_records(seen.records, words))
        )

    def _with_settings(self, arm: Arm, backend: Any = None) -> Any:
        from harness.play.factory import make_agent

        config = self._scenes.schedule.configs[self.cell]
        made = with_agent_settings(config, self.decision.agent, arm.settings, f"arm {arm.of}")
        name = made.agents[self.decision.agent].backend or ""
        try:
            return make_agent(self.decision.agent, made, {name: backend or self.player.backend})
        except ConfigurationError as error:
            raise ExperimentError(
                f"arm {arm.of}: {error} (advice, persona and monitored are words for players in chat style)"
            ) from error

    def taking(self, arm: Arm, backend: Any) -> tuple[Any, Observation]:
        """(the player under an arm of settings, made to answer by a backend; what it observes). Raises ExperimentError,
        ConfigurationError for words that the model lacks."""
        key = (self.cell, self.decision.agent, arm.id)
        if key not in self._scenes.taking:
            self._scenes.taking[key] = self._with_settings(arm, backend)
        player, observation = self._scenes.taking[key], self._named(arm, self.observation)
        self._check_words(arm, tuple(player.context(observation).ids))
        return player, observation

    def _spliced(
        self, arm: Arm, ids: tuple[int, ...], spans: tuple[Span, ...], choices: Any, answers: tuple[Any, ...]
    ) -> Prompted | None:
        if arm.kind == "role_line":
            view = DecisionContext(self.decision, ids, len(ids), 0, spans)
            variants = self._kept.variants(self.encoder)
            name = {"remove": "no_role_line", "swap": "swapped_role", "random_span": "random_span"}[arm.do]
            changed = getattr(variants, name)(view)
            if changed is None:
                return None
            ids, spans = changed.ids, changed.spans
        self._check_words(arm, ids)
        return Prompted(ids, spans, tuple(choices), answers)

    def _check_words(self, arm: Arm, ids: tuple[int, ...]) -> None:
        unknown = self.encoder.tokenizer.unk_token_id
        if arm.kind in ("utterance", "player", "role_line") and unknown is not None and unknown in ids:
            before = self.player.context(self.observation).ids
            if unknown not in before:
                raise ConfigurationError(
                    f"arm {arm.of}: the model's tokenizer ({len(self.encoder.tokenizer)} words) lacks words of this "
                    "change; name words that it has, or a model with a larger vocabulary"
                )


def positions(asked: Prompted, seat: int, at: Where) -> tuple[int, ...] | None:
    """Token indices of a position by meaning, about a seat; None where the prompt has no such place."""
    if at == "answer":
        return (len(asked.ids) - 1,)
    if at == "all":
        return tuple(range(len(asked.ids)))
    named = sorted({s.end - 1 for s in asked.spans if s.kind == "mention" and s.seat == seat})
    if at == "option":
        start = max((s.start for s in asked.spans if s.kind == "question"), default=None)
        return None if start is None else tuple(i for i in named if i >= start)[-1:] or None
    return tuple(named[-1:] if at == "last_mention" else named) or None
