"""A small model along its training: looking up, counting by the rules, and inferring from behaviour, each by itself.

Run it with `wolfscope eval-small-model --course`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import torch
from sklearn.metrics import r2_score

from agents.hooks.model import load_hooked_model
from agents.llm.transcript_context import document, document_lengths
from agents.models.folder import load_tokenizer
from agents.models.small import unpack_checkpoints
from agents.werewolf.observer import Observer
from agents.werewolf.vocabulary import lexicon_of
from games import chance, load_game
from games.records import Decision
from games.werewolf.lexicon import lexicon as load_lexicon
from harness.model_evaluation.held_out import Sitting, sittings, stack
from harness.model_evaluation.readings import BELIEF_SITES, p_werewolf, read
from harness.model_evaluation.readouts import auroc, best_read_out, log_odds
from harness.training.batches import BELIEF, Row, collate
from harness.training.curriculum import View
from harness.training.games import HELD_OUT, scripted_game
from harness.training.questions import Fork, in_words, living, opens_ballot


class Stage(msgspec.Struct, frozen=True):
    """What one checkpoint does."""

    name: str
    look_up: float
    """Probability on the truth, where the viewer was told it or it follows from that: whether the subject is a
    werewolf."""
    rules: float
    """Mean distance of P(werewolf) from what the rules make it, asked before anyone has spoken, of those in doubt."""
    behaviour: float
    """AUROC of P(werewolf) before ballots, plain villagers asked, living others."""
    excess: float
    """The share that is of the exact observer's, both above one half."""
    stated: float
    """R2 of the stated log-odds against the exact posterior's."""
    represented: float
    """R2 of a ridge probe of those, the site and layer chosen on the games it is fitted on, measured on others."""
    second: float
    """R2 of the stated log-odds of what the subject believes of the viewer."""


class Known(msgspec.Struct, frozen=True):
    """One view with its questions, and of each the rules' probability that the subject is a werewolf `(n_asked,)`."""

    view: View
    p: tuple[float, ...]
    spoken: tuple[bool, ...]
    """Whether anyone had spoken when it was asked `(n_asked,)`."""


def known(preset: str, n_games: int, lexicon: str) -> Iterator[Known]:
    """What every seat is asked before the first word and before each ballot of held-out games, with the rules' answer
    as the question's."""
    game = load_game("werewolf")
    config = game.configure(preset=preset, lexicon=lexicon)
    terms = load_lexicon(lexicon).terms
    for index in range(n_games):
        log = scripted_game(config, chance.key(HELD_OUT, "known", index) >> 1)
        facts = game.seats(config, log)
        before = [document_lengths(game.text, log, seat, config) for seat in range(config.n_players)]
        observer = Observer("rules", config)
        found: dict[int, list[tuple[Fork, list[float], bool]]] = {}
        spoken = False
        for i, record in enumerate(log):
            first = not spoken and isinstance(record, Decision) and record.kind == "speech"
            if first or opens_ballot(log, i):
                alive = living(log[:i], config.n_players)
                for viewer in alive:
                    beliefs = observer.beliefs(viewer)
                    others = [j for j in alive if j != viewer]
                    asked = [(facts[j].name, in_words(beliefs[j], observer.roles, terms)) for j in others]
                    p = [answer.get(terms["werewolf"], 0.0) for _, answer in asked]
                    fork = Fork(before[viewer][i], facts[viewer].name, asked)
                    found.setdefault(viewer, []).append((fork, p, not first))
                spoken = True
            observer.update(record)
        for viewer, items in found.items():
            view = View(document(game.text, log, viewer, config), [fork for fork, _, _ in items])
            yield Known(
                view,
                tuple(x for _, p, _ in items for x in p),
                tuple(late for _, p, late in items for _ in p),
            )


def stated(model: Any, tokenizer: Any, views: Sequence[View], lexicon: str, batch: int = 16) -> np.ndarray:
    """P(werewolf) `(n_asked,)` of the role words, in the order of the views and their questions."""
    words = tokenizer.get_vocab()
    found = []
    for start in range(0, len(views), batch):
        b = collate([Row(view, words, tokenizer) for view in views[start : start + batch]])
        with torch.inference_mode():
            logits = model(
                input_ids=b.ids, attention_mask=b.mask(), position_ids=b.position, use_cache=False
            ).logits
        found.append(p_werewolf(logits[b.kind == BELIEF], words, lexicon).numpy())
    return np.concatenate(found)


def stage(
    name: str, model: Any, tokenizer: Any, told: Sequence[Known], held_out: Sequence[Sitting], lexicon: str
) -> Stage:
    """One row of the course."""
    p = stated(model, tokenizer, [item.view for item in told], lexicon)
    rules = np.array([x for item in told for x in item.p])
    spoken = np.array([x for item in told for x in item.spoken])
    certain = (rules < 1e-9) | (rules > 1 - 1e-9)
    counted = ~certain & ~spoken
    asked = stack([item for sitting in held_out for item in sitting.inquiries])
    readings = read(model, tokenizer, held_out, lexicon)
    truth, games, target = asked["is_werewolf"], asked["game"], log_odds(asked["exact"])
    ours, best = (auroc(truth, x) for x in (readings.stated, asked["exact"]))
    x = readings.activations
    _, measured, guess = best_read_out(x, target, games, BELIEF_SITES, range(1, x.shape[2]))
    return Stage(
        name=name,
        look_up=float(np.where(rules[certain] > 0.5, p[certain], 1.0 - p[certain]).mean()),
        rules=float(np.abs(p - rules)[counted].mean()),
        behaviour=ours,
        excess=(ours - 0.5) / (best - 0.5),
        stated=float(r2_score(target, log_odds(readings.stated))),
        represented=float(r2_score(target[measured], guess)),
        second=float(r2_score(log_odds(asked["expected"]), log_odds(readings.second))),
    )


def course(folder: Path, n_games: int, preset: str = "classic-7") -> Iterator[Stage]:
    """The stages of a model's kept checkpoints, earliest first. Raises FileNotFoundError where none was kept."""
    torch.set_num_threads(1)
    tokenizer = load_tokenizer(folder)
    lexicon = lexicon_of(tokenizer)
    told, held_out = list(known(preset, n_games, lexicon)), list(sittings(preset, n_games, lexicon))
    with TemporaryDirectory() as scratch:
        for path in unpack_checkpoints(folder, Path(scratch)):
            yield stage(path.name, load_hooked_model(path).model, tokenizer, told, held_out, lexicon)


def print_course(folder: Path, n_games: int, say: Any) -> None:
    """The course as a table."""
    say(
        f"along training ({n_games} held-out classic-7 games): probability on the truth where it was told; distance "
        "from the rules' probability before anyone has spoken; before ballots AUROC, its share of the exact "
        "observer's excess, and R2 of the log-odds stated, represented, and of second order"
    )
    say(f"  {'':22} told   rules  AUROC  share  stated  repr.   second")
    for s in course(folder, n_games):
        say(
            f"  {s.name:22} {s.look_up:.3f}  {s.rules:.3f}  {s.behaviour:.3f}  {s.excess:5.2f}  {s.stated:6.2f}  "
            f"{s.represented:6.2f}  {s.second:6.2f}"
        )
