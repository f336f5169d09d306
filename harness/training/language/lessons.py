"""The lessons of a run: one for each view of a seat, tokenized as the model would have played it.

The emitting backend (`harness.training.language.teacher`) marks the seat's own tokens, not the text, so templates
without delimiters around the assistant's words cause no errors. A lesson whose learned tokens lie in another's words
is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from agents.llm.transcript import TranscriptPlayer
from games.play import Answer, observe, stamp, waves
from games.records import Decision, Record, Request, Span
from harness.config.sections import AgentSection, BackendSection, Config, GameSection, RosterSection
from harness.errors import ConfigurationError
from harness.run.folder import Run
from harness.training.language.questions import ForkedQuestion, forks_of
from harness.training.language.settings import DataSection, FinetuneError, PlayerSection
from harness.training.language.teacher import Emission, Teacher, free_answer

COLUMNS = (
    *("game_id", "seq", "day", "phase", "seat", "kind", "agent", "model", "reasoning", "attempts"),
    *("role", "faction", "won", "winner", "preset", "n_days"),
)
"""The columns that `data.where` can use: a decision's, its seat's, its game's."""
OWN = frozenset({"output", "own_speech", "own_act", "reasoning", "answer", "mention"})
"""Kinds of spans that a learned token may lie in (a name in own words is a mention)."""


class Piece(msgspec.Struct, frozen=True):
    """A stretch of learned tokens, `start <= i < end`."""

    start: int
    end: int
    kind: str
    """`speech`, `choice`, `reasoning`, `belief`."""
    seq: int
    """The decision that it belongs to."""


class Lesson(msgspec.Struct, frozen=True):
    """One seat's context, up to the last decision that is learned."""

    run: str
    game_id: str
    seat: int
    agent: str
    role: str
    ids: tuple[int, ...]
    pieces: tuple[Piece, ...]
    forks: tuple[ForkedQuestion, ...] = ()
    """Questions asked along the view, each on its own continuation of the first `at` tokens."""
    template: tuple[tuple[int, int], ...] = ()
    """chat: token ranges of the template's own markers."""

    @property
    def n_tokens(self) -> int:
        """All tokens, questions included."""
        return len(self.ids) + sum(len(fork.ids) for fork in self.forks)

    @property
    def n_learned(self) -> int:
        """Tokens that are learned."""
        return sum(p.end - p.start for p in self.pieces) + sum(f.n_learned for f in self.forks)


class LeftOut(msgspec.Struct):
    """Decisions that could not become lessons."""

    fallbacks: int = 0
    """Decisions that were fallbacks: never learned."""
    unsaid: int = 0
    """Decisions that the prompt style cannot express."""
    why: str = ""
    """The first of those, in words."""


def learner(folder: Path, section: PlayerSection, game: str) -> tuple[Any, Teacher]:
    """The player as it will play, and the backend that teaches it. Raises ConfigurationError, ModelFilesError."""
    from agents.models.folder import model_name
    from harness.play.factory import make_agent

    config = Config(
        agents={
            "learner": AgentSection(
                kind="llm", backend="learner", prompt=section.prompt, retries=0, settings=section.settings
            )
        },
        backends={"learner": BackendSection(kind="mock", model=str(folder))},
        roster=RosterSection(seats=("learner",)),
        game=GameSection(name=game),
    )
    teacher = Teacher(model_name(folder))
    return make_agent("learner", config, {"learner": teacher}), teacher


def chosen(run: Run, where: str) -> tuple[dict[str, set[int]], int]:
    """(game id -> seqs of the learned decisions, number of chosen decisions left out as fallbacks).

    Raises ConfigurationError for an invalid expression, or unknown columns.
    """
    games = run.games.select("game_id", "winner", "preset", "n_days")
    seats = run.seats.select("game_id", "seat", "role", "faction", "won")
    table = run.decisions.join(seats, on=["game_id", "seat"], how="left", maintain_order="left")
    table = table.join(games, on="game_id", how="left", maintain_order="left")
    try:
        rows = table.filter(pl.sql_expr(where)).select("game_id", "seq", "fallback").collect()
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise ConfigurationError(
            f"data.where = {where!r} cannot be asked ({str(error).partition(chr(10))[0]}); write an SQL expression "
            f"over {', '.join(COLUMNS)}, e.g. \"agent = 'bayesian' AND won\""
        ) from error
    found: dict[str, set[int]] = {}
    n_fallbacks = 0
    for game_id, seq, fallback in rows.iter_rows():
        if fallback is None:
            found.setdefault(game_id, set()).add(seq)
        else:
            n_fallbacks += 1
    return found, n_fallbacks


def lessons_of(
    run: Run,
    folder: Path,
    player: PlayerSection,
    data: DataSection,
    seed: int,
    left_out: LeftOut,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[Lesson]:
    """All lessons of a run, game by game. Raises ConfigurationError, ModelFilesError, FinetuneError."""
    wanted, n_fallbacks = chosen(run, data.where)
    left_out.fallbacks += n_fallbacks
    players: dict[str, tuple[Any, Teacher]] = {}
    with asyncio.Runner() as runner:
        for n, (game_id, records) in enumerate(run.logs([g for g in run.game_ids if g in wanted])):
            game, config, game_seed = run.game(game_id)
            if game.name not in players:
                players[game.name] = learner(folder, player, game.name)
            view = _Game(run.path.name, game_id, game, config, game_seed, records, wanted[game_id])
            yield from runner.run(view.lessons(*players[game.name], data, seed, left_out))
            if n and n % 200 == 0:
                say(f"{run.path.name}: {n:,} of {len(wanted):,} games made into lessons")


class _Game(msgspec.Struct):
    """One game, the source of lessons."""

    run: str
    game_id: str
    game: Any
    config: Any
    seed: int
    records: Sequence[Record]
    wanted: set[int]

    async def lessons(
        self, player: Any, teacher: Teacher, data: DataSection, seed: int, left_out: LeftOut
    ) -> list[Lesson]:
        seats = sorted({r.seat for r in self.records if isinstance(r, Decision) and r.seq in self.wanted})
        found = []
        for seat in seats:
            found += await self._of_seat(seat, player, teacher, data, seed, left_out)
        return found

    async def _of_seat(
        self, seat: int, player: Any, teacher: Teacher, data: DataSection, seed: int, left_out: LeftOut
    ) -> list[Lesson]:
        """The lessons of a seat's view: one, or several where a prompt does not extend the previous one."""
        last = max(
            r.seq for r in self.records if isinstance(r, Decision) and r.seat == seat and r.seq in self.wanted
        )
        log = list(self.records)
        facts = self.game.seats(self.config, self.records)
        words = self.game.text.words_of(self.config, self.records)
        open_lesson = _Open(self.run, self.game_id, seat, facts[seat].role)
        for requests, wave, before in waves(self.game, self.config, self.seed, self.records):
            at = len(before)
            for request, decision in zip(requests, wave, strict=True):
                if decision.seat != seat:
                    continue
                if decision.seq > last:
                    return open_lesson.done()
                learned = decision.seq in self.wanted
                observation = observe(
                    self.game, f"{self.game_id}-{seat}", self.config, self.seed, log[:at], request
                )
                reply = await self._emit(player, teacher, observation, request, decision, words, data)
                if isinstance(reply, str):
                    left_out.unsaid += 1
                    left_out.why = left_out.why or f"game {self.game_id}, decision {decision.seq}: {reply}"
                    return open_lesson.done()
                log[decision.seq] = stamp(request, Answer(reply, decision.agent), decision.seq, log)
                open_lesson.extend(
                    teacher.emitted, decision, learned, self._spans(player, observation, reply)
                )
                if learned and decision.kind in data.beliefs.before:
                    found = forks_of(
                        player, observation, self.records[:at], facts, data.beliefs, seed, open_lesson.ids
                    )
                    open_lesson.forks += found
        return open_lesson.done()

    async def _emit(
        self,
        player: Any,
        teacher: Teacher,
        observation: Any,
        request: Request,
        decision: Decision,
        words: Any,
        data: DataSection,
    ) -> Any:
        """The player's reply when its backend returns the logged decision; a text says why there is none."""
        text, action = self.game.text, decision.action
        logged = data.reasoning == "logged" and decision.trace is not None and decision.trace.reasoning
        notes = str(logged).replace("\n", " ").strip() if logged else ""
        free, kind = free_answer(player, text, request, action, words, notes, data.silence)
        option = -1 if action.option is None else list(request.options).index(action.option)
        teacher.say(free, kind, option)
        reply = await player.act(observation)
        said = reply.action.text or ""
        same = reply.fallback is None and reply.action.option == action.option
        same = same and (
            said == action.text.strip() or (not action.text.strip() and said in ("", data.silence))
        )
        if same and reply.trace is not None and reply.trace.attempts == 1:
            return reply
        return f"{action} came back as {reply.action} ({reply.fallback or 'read otherwise'})"

    def _spans(self, player: Any, observation: Any, reply: Any) -> Sequence[Span]:
        """The spans of the decision's whole context, from the log."""
        builder = player.builder(observation)
        context = builder.context if isinstance(player, TranscriptPlayer) else builder.dialogue.context
        return (*context.spans, *reply.trace.spans)


class _Open:
    """A lesson under construction."""

    def __init__(self, run: str, game_id: str, seat: int, role: str) -> None:
        self.named = (run, game_id, seat)
        self.role, self.agent = role, ""
        self.ids: tuple[int, ...] = ()
        self.pieces: list[Piece] = []
        self.forks: list[ForkedQuestion] = []
        self.template: set[tuple[int, int]] = set()
        self.finished: list[Lesson] = []

    def extend(
        self, emitted: Sequence[Emission], decision: Decision, learned: bool, spans: Sequence[Span]
    ) -> None:
        """Add the answers of one decision. Raises FinetuneError where they overlap another's words."""
        self.agent = decision.agent
        for one in emitted:
            if one.prompt[: len(self.ids)] != self.ids:
                self._close()
            at = len(one.prompt)
            self.ids = (*one.prompt, *one.output)
            if learned:
                self.pieces.append(Piece(at, len(self.ids), one.kind, decision.seq))
                foreign = [s for s in spans if s.kind not in OWN and s.start < len(self.ids) and s.end > at]
                if foreign:
                    raise FinetuneError(
                        f"game {self.named[1]}, decision {decision.seq}: tokens {at} to {len(self.ids)} would be "
                        f"learned, but the log has {foreign[0].kind} at {foreign[0].start} to {foreign[0].end}: the "
                        "words of others are never learned; this is a fault of the prompt style"
                    )
        self.template |= {(s.start, s.end) for s in spans if s.kind == "template"}

    def _close(self) -> None:
        if self.pieces:
            run, game_id, seat = self.named
            end = max([p.end for p in self.pieces] + [f.at for f in self.forks])
            template = tuple(sorted(t for t in self.template if t[1] <= end))
            self.finished.append(
                Lesson(run, game_id, seat, self.agent, self.role, self.ids[:end], tuple(self.pieces),
                       tuple(self.forks), template)
            )  # fmt: skip
        self.ids, self.pieces, self.forks, self.template = (), [], [], set()

    def done(self) -> list[Lesson]:
        """All lessons."""
        self._close()
        return self.finished


def check_lessons(lessons: Sequence[Lesson], left_out: LeftOut) -> None:
    """Raises FinetuneError where there is nothing to learn."""
    if sum(lesson.n_learned for lesson in lessons):
        return
    unsaid = f"; {left_out.unsaid} decisions cannot be said in this style, the first: {left_out.why}"
    why = unsaid if left_out.unsaid else ""
    raise FinetuneError(
        f"nothing is learned: {left_out.fallbacks} of the chosen decisions are fallbacks{why}; choose others by "
        "data.where, or another prompt style"
    )


__all__ = [
    "COLUMNS",
    "ForkedQuestion",
    "LeftOut",
    "Lesson",
    "Piece",
    "check_lessons",
    "learner",
    "lessons_of",
]
