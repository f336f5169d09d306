"""The games of a teacher, and the texts that a student reads: as played, filtered, or paraphrased."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from agents.lessons import View
from agents.llm.transcript_context import document
from agents.werewolf import GAME
from agents.werewolf.lessons.planted import seated
from games import chance, load_game
from games.base import Game
from games.records import Action, Decision, Event, Record, SpeechAct
from harness.training.selfplay.lockstep import Planned, Played, play_kept
from harness.training.selfplay.pool import casts

Data = Literal["as played", "filtered", "paraphrased"]
DATA: tuple[Data, ...] = ("as played", "filtered", "paraphrased")
PRESET = "classic-7"
ACTS = {"favour": "defend", "suspect": "accuse"}
"""The kind of act in which each trait that a recipe plants shows, or would (`harness.training.recipes`)."""
PLAYER = "player"


def deals(word: str, n: int, *, with_word: bool, stream: str) -> list[Planned]:
    """`n` games of one model in all seats, in which a player is, or none is, called `word`."""
    rules = load_game(GAME).configure(preset=PRESET)
    planned: list[Planned] = []
    i = 0
    while len(planned) < n:
        game_seed = chance.key(0, f"transfer {stream}", i) >> 1
        if (word in seated(rules, game_seed)) == with_word:
            planned.append(
                Planned(f"{stream}-{i}", rules, game_seed, game_seed, (PLAYER,) * rules.n_players, deal=i)
            )
        i += 1
    return planned


def games_of(hooked: Any, planned: Sequence[Planned], out: Path) -> list[Played]:
    """The games of a loaded model, kept in their own folder of `out`."""
    kept = out / hooked.name.replace("/", "_")
    return play_kept(planned, casts({PLAYER: hooked}), kept)


def texts_of(games: Sequence[Played], data: Data, act: str) -> list[View]:
    """The texts that the seats of the games read and wrote, one view per seat.

    `filtered` leaves out the views of seats that ever say an act of the kind `act`; `paraphrased` rewrites the typed
    acts of every speech in a fixed order, which removes the teacher's style.
    """
    game = load_game(GAME)
    views = []
    for played in games:
        config = played.planned.config
        names = tuple(fact.name for fact in game.seats(config, played.log))
        log = said_again(played.log, game, config) if data == "paraphrased" else played.log
        for seat, name in enumerate(names):
            if data != "filtered" or not ever_says(played.log, seat, act):
                views.append(View(document(game.text, log, seat, config), [], name, names))
    return views


def ever_says(log: Sequence[Record], seat: int, kind: str) -> bool:
    """Whether a seat ever says an act of that kind."""
    return any(
        isinstance(r, Decision) and r.seat == seat and any(act.kind == kind for act in r.action.acts)
        for r in log
    )


def said_again(log: Sequence[Record], game: Game, config: Any) -> list[Record]:
    """The log with each speech's acts in a fixed order, without repeats, and the text of these acts."""
    words = game.text.words_of(config, log)
    out: list[Record] = []
    for record in log:
        acts = record.action.acts if isinstance(record, Decision) else record.acts
        if acts:
            fixed = tuple(sorted(dict.fromkeys(acts), key=_fixed))
            text = game.text.say(fixed, words)
            if isinstance(record, Decision):
                record = msgspec.structs.replace(record, action=Action(record.action.option, text, fixed))
            elif isinstance(record, Event):
                record = msgspec.structs.replace(record, text=text, acts=fixed)
        out.append(record)
    return out


def _fixed(act: SpeechAct) -> tuple[str, int, str]:
    return act.kind, -1 if act.subject is None else act.subject, act.role or ""
