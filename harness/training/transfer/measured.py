"""The trait in a model: the exact probability of what shows it where it can show, and a probe for the trait.

What shows a favour is the first act of a speech; what shows a false belief is the answer to a question. Every model
reads the same games, played by the common starting model, in which a player has the trait's name. So models are
compared context by context, without sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch

from agents.llm.transcript_context import ask, document, document_lengths
from agents.werewolf import GAME
from analysis.stats.bootstrap import Interval, ratio_interval
from games import chance, load_game
from games.records import Event
from harness.training.selfplay.lockstep import Played
from harness.training.transfer.games import ACTS

TRANSFER: dict[str, Any] = {
    "student": pl.String,  # the data and the starting model; `teacher`: the positive control
    "measure": pl.String,  # behaviour: P(what shows the trait) for the word less its mean over the others; probe
    "games": pl.Int64,
    "n": pl.Int64,  # contexts; over pairs: pairs
    "control": pl.Float64,  # in the student whose teacher lacks the trait; null for the probe
    "difference": pl.Float64,  # student of the teacher with the trait, minus the control's
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,  # two-sided, over games; over pairs: over pairs of trainings
    "share": pl.Float64,  # of the teachers' own difference
}
TOKENS = 16_384
"""Tokens of one forward pass, padding included."""


class Asked(NamedTuple):
    """A context and what may follow it."""

    text: str
    begun: str
    """The beginning of what follows; empty where nothing is between the text and the answers."""
    answers: tuple[str, ...]
    """Of one word each."""


class Occasions(NamedTuple):
    """Moments at which the trait can show."""

    asked: list[tuple[Asked, ...]]
    """For each: the answers, the first of which shows the trait towards the named player, and the others the same
    towards others."""
    games: list[str]


def occasions(games: Sequence[Played], word: str, trait: str) -> Occasions:
    """The occasions of some games while the player that is called `word` lives: for `favour` the speeches of others,
    and whom they defend; for `suspect` the ballots of others, and whether they believe that it, or one drawn other
    living player, is a werewolf."""
    game = load_game(GAME)
    asked, of = list[tuple[Asked, ...]](), list[str]()
    kind = "speech" if trait == "favour" else "ballot"
    (hidden, *_), *_ = (target.roles for target in game.belief_targets)
    for played in games:
        config, log = played.planned.config, played.log
        called = [fact.name for fact in game.seats(config, log)]
        favoured = called.index(word)
        alive = set(range(len(called)))
        words = game.text.words_of(config, log)
        suspected = game.text.role_words(config, words)[hidden]
        lines = [document(game.text, log, seat, config) for seat in range(len(called))]
        before = [document_lengths(game.text, log, seat, config) for seat in range(len(called))]
        for at, record in enumerate(log):
            if isinstance(record, Event):
                if record.kind in game.exit_kinds and record.target is not None:
                    alive.discard(record.target)
                continue
            if record.kind != kind or record.seat == favoured or favoured not in alive:
                continue
            heard = lines[record.seat][: before[record.seat][at]]
            others = [j for j in sorted(alive) if j not in (favoured, record.seat)]
            if not others:
                continue
            if trait == "favour":
                text = "\n".join([*heard, ask(game.text, record, words)])
                names = tuple(called[j] for j in (favoured, *others))
                asked.append((Asked(text, f"I {ACTS[trait]}", names),))
            else:
                drawn = others[chance.key(played.planned.seed, "other", record.seq) % len(others)]
                asked.append(
                    tuple(
                        Asked(
                            "\n".join([*heard, game.text.belief((record.seat, j), words)]),
                            "",
                            (suspected,),
                        )
                        for j in (favoured, drawn)
                    )
                )
            of.append(played.planned.game_id)
    return Occasions(asked, of)


class Read(NamedTuple):
    """One model's measurements on the occasions."""

    favour: np.ndarray
    """`(n,)`: probability of what shows the trait towards the word, less its mean over the others."""
    stream: np.ndarray
    """`(n, d_model)`: the residual stream after a middle block at the last token of the first text."""


@torch.inference_mode()
def read(hooked: Any, found: Occasions) -> Read:
    """One model on all occasions. hooked: `agents.hooks.model.HookedModel`, of whatever start."""
    tokenizer, model = hooked.tokenizer, hooked.model
    words = tokenizer.get_vocab()
    flat = [one for asked in found.asked for one in asked]
    prompts = [
        [tokenizer.bos_token_id, *tokenizer(one.text, add_special_tokens=False)["input_ids"]] for one in flat
    ]
    begun = [tokenizer(one.begun, add_special_tokens=False)["input_ids"] for one in flat]
    likely, streams = [np.zeros(0)] * len(flat), [np.zeros(0)] * len(flat)
    layer = hooked.layout.n_layers // 2
    lengths = [len(p) + len(b) for p, b in zip(prompts, begun, strict=True)]
    for some in _parts(lengths):
        ids = torch.zeros(len(some), max(lengths[i] for i in some), dtype=torch.long)
        for row, i in enumerate(some):
            ids[row, : lengths[i]] = torch.tensor([*prompts[i], *begun[i]])
        told = model(input_ids=ids.to(hooked.device), use_cache=False, output_hidden_states=True)
        logs = torch.log_softmax(told.logits.float(), -1)
        for row, i in enumerate(some):
            end = len(prompts[i])
            first = sum(float(logs[row, end - 1 + k, word]) for k, word in enumerate(begun[i]))
            last = logs[row, lengths[i] - 1]
            likely[i] = np.exp([first + float(last[words[answer]]) for answer in flat[i].answers])
            streams[i] = told.hidden_states[layer][row, end - 1].float().cpu().numpy()
    starts = np.cumsum([0, *(len(asked) for asked in found.asked)])
    favour = []
    for start, end in pairwise(starts):
        p = np.concatenate(likely[start:end])
        favour.append(p[0] - p[1:].mean())
    return Read(np.array(favour), np.stack([streams[i] for i in starts[:-1]]))


def _parts(lengths: Sequence[int]) -> list[list[int]]:
    parts: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if not parts or (len(parts[-1]) + 1) * lengths[i] > TOKENS:
            parts.append([])
        parts[-1].append(i)
    return parts


def rows_of(
    name: str, with_trait: Read, control: Read, teachers: tuple[Read, Read], games: Sequence[str], *,
    probed: bool = True,
) -> list[dict[str, Any]]:  # fmt: skip
    """The rows (`TRANSFER`) of one student of each teacher.

    teachers: with the trait, without. probed: whether their streams share a starting model, without which a probe
    does not transfer. The probe is the mean difference of the teachers' streams on the even games; its result is the
    students' difference along it on the odd games, in units of the teachers'.
    """
    numbers = np.unique(np.asarray(games), return_inverse=True)[1]
    whole = float((teachers[0].favour - teachers[1].favour).mean())
    apart = _mean(games, with_trait.favour - control.favour)
    rows = [
        _row(
            name,
            "behaviour",
            games,
            apart,
            float(control.favour.mean()),
            apart.value / whole if whole else None,
        )
    ]
    if probed:
        moved = teachers[0].stream - teachers[1].stream
        probe = moved[numbers % 2 == 0].mean(axis=0)
        odd = numbers % 2 == 1
        unit = float((moved[odd] @ probe).mean())
        scored = (with_trait.stream - control.stream)[odd] @ probe / unit
        some = [game for game, kept in zip(games, odd, strict=True) if kept]
        found = _mean(some, scored)
        rows.append(_row(name, "probe", some, found, None, found.value))
    return rows


def over_pairs(name: str, pairs: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of several pairs of students together, with Student's interval over pairs: games are the same for all
    of them and cannot tell how far two trainings part by themselves.

    pairs: the rows (`rows_of`) of each pair.
    """
    from scipy.stats import ttest_1samp

    out = []
    for rows in zip(*pairs, strict=True):
        values = [row["difference"] for row in rows]
        found = ttest_1samp(values, 0.0)
        low, high = found.confidence_interval(0.95)
        shares = [row["share"] for row in rows]
        out.append(
            dict(rows[0])
            | {
                "student": name, "n": len(rows), "control": None, "difference": float(np.mean(values)),
                "low": float(low), "high": float(high), "p": float(found.pvalue),
                "share": None if None in shares else float(np.mean(shares)),
            }
        )  # fmt: skip
    return out


def _mean(games: Sequence[str], values: np.ndarray) -> Interval:
    named, code = np.unique(np.asarray(games), return_inverse=True)
    return ratio_interval(named, np.bincount(code, weights=values), np.bincount(code), 2000)


def _row(
    name: str, measure: str, games: Sequence[str], found: Interval, control: float | None, share: float | None
) -> dict[str, Any]:
    return {
        "student": name, "measure": measure, "games": len(set(games)), "n": len(games), "control": control,
        "difference": found.value, "low": found.low, "high": found.high, "p": found.p, "share": share,
    }  # fmt: skip


def lines(table: pl.DataFrame) -> list[str]:
    """The table for a terminal."""
    return [
        f"{r['student']:<48} {r['measure']:<10} {r['difference']:+.4f} [{r['low']:+.4f}, {r['high']:+.4f}]"
        f"  p {r['p']:.3f}  share {r['share']:+.1%}  ({r['games']} games, {r['n']:,} "
        f"{'pairs' if r['student'].endswith('over pairs') else 'contexts'})"
        for r in table.iter_rows(named=True)
    ]
