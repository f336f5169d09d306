"""Counts of models' acts, for comparing two models game by game: one row a run, deal, measure, role and day.

lies            statements with a proposition that the speaker knew to be false
lying           speeches with such a statement
useful_lies     lies that helped their speaker's side in continued games (`wolfscope experiment strategic-lie`, where it
                was run beside both runs)
own_role_told   speeches that state the speaker's own role truly; of werewolves: confessions
false_claims    speeches that claim a role other than the speaker's own
false_reports   speeches that report an inspection by another than the seer, or a result that is not so
early_truth     speeches of the first day that state one's own role or a result truly
counter_claims  speeches that claim a role which another seat has claimed before; of those where one has
bussing         accusations and ballots of a werewolf with a living partner that fall on a partner
silence         speeches in which nothing typed is said
hits            ballots of the village's side on a werewolf
against_belief  ballots of the village's side on somebody whom the voter has stated to be less likely a werewolf than
                another option, by more than `CLEARLY`; of the ballots before which beliefs were asked
belief_error    squared error of what the village's side states of others, P(werewolf) against the truth: a mean
second_order    absolute difference of what a seat states that another believes of a third, or of itself, and what that
                other has last stated: a mean
wins            seats whose side won

Only decisions of models count, and roles of the deal; days from the third on are pooled.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from analysis.behaviour.strategic import read_acts, with_advantages
from analysis.data.frames import AT_ONCE, GameLog, batched, logs_of
from analysis.data.labels import label
from games.records import NOBODY, Decision, Event

MEASURES = (
    "lies", "lying", "useful_lies", "own_role_told", "false_claims", "false_reports", "early_truth", "counter_claims",
    "bussing", "silence", "hits", "against_belief", "belief_error", "second_order", "wins",
)  # fmt: skip
COUNTS: dict[str, Any] = {
    "run": pl.Int32,  # place among the runs compared: 0 is before, the last is after
    "model": pl.String,  # the models that decided in the run
    "deal": pl.UInt64,  # the game's seed: the same in every run
    "measure": pl.String,
    "role": pl.String,
    "day": pl.Int16,  # 1, 2, 3 (third or later); 0: of the whole game
    "value": pl.Float64,  # sum over the occasions
    "n": pl.Float64,  # occasions
}
LAST_DAY = 3
CLEARLY = 0.1
EXITS = ("death", "exile", "shoot")
Row = tuple[str, str, int, float]
"""(measure, role, day, value) of one occasion."""


def acts_of(runs: Sequence[Any]) -> pl.DataFrame:
    """The counts of several runs (schema `COUNTS`). Raises AnalysisError for runs of another game than Werewolf."""
    parts = [pl.DataFrame(schema=COUNTS)]
    for place, run in enumerate(runs):
        models = " + ".join(sorted(set(run.manifest.models.values())))
        rows = [
            (place, models, deal, measure, role, min(day, LAST_DAY), value, n)
            for deal, occasions in _occasions(run)
            for measure, role, day, value, n in occasions
        ]
        frame = pl.DataFrame(rows, schema=COUNTS, orient="row")
        keys = [name for name in COUNTS if name not in ("value", "n")]
        parts.append(frame.group_by(keys, maintain_order=True).agg(pl.col("value", "n").sum()))
    return pl.concat(parts)


def _occasions(run: Any) -> Iterator[tuple[int, list[tuple[str, str, int, float, float]]]]:
    """(deal, its occasions with their weights) of every game."""
    seeds = {str(g): int(s) for g, s in run.games.select("game_id", "seed").collect().iter_rows()}
    seats = run.seats.select("game_id", "seat", "model", "role", "won").collect()
    useful = useful_lies(Path(run.path))
    stated = run.beliefs.filter(
        pl.col("source").is_in(["stated", "stated_words"]), pl.col("p_werewolf").is_not_null()
    ).select("game_id", "seq", "viewer", "subject", "about", "p_werewolf").collect()  # fmt: skip
    by_game = stated.partition_by("game_id", as_dict=True)
    for games in batched(logs_of(run), AT_ONCE):
        frames = label(games)
        statements = _by_game(frames["statements"].filter(pl.col("model").is_not_null()))
        speeches = _by_game(frames["speeches"].filter(pl.col("model").is_not_null()))
        for log in games:
            told = by_game.get((log.game_id,), stated.clear())
            first = told.filter(pl.col("about").is_null())
            beliefs = {(int(q), int(s)): float(p) for _, q, _, s, _, p in first.iter_rows()}
            rows: list[Row] = [
                ("lies", s["speaker_role"], s["day"], float(s["speaker_knows_false"]))
                for s in statements.get(log.game_id, ())
                if s["speaker_knows_false"] is not None
            ]
            rows += [
                ("lying", s["speaker_role"], s["day"], float(s["any_known_false"]))
                for s in speeches.get(log.game_id, ())
            ]
            rows += acts_in(log, beliefs)
            rows += beliefs_in(log, told)
            mine = seats.filter(pl.col("game_id") == log.game_id, pl.col("model").is_not_null())
            rows += [
                ("wins", role, 0, float(won))
                for role, won in mine.select("role", "won").iter_rows()
                if won is not None
            ]
            weighed = [(*row, 1.0) for row in rows] + useful.get(log.game_id, [])
            yield seeds[log.game_id], weighed


def _by_game(frame: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    return {str(key[0]): part.to_dicts() for key, part in frame.partition_by("game_id", as_dict=True).items()}


def acts_in(log: GameLog, beliefs: dict[tuple[int, int], float]) -> Iterator[Row]:
    """The occasions of one game that follow from its log; beliefs: (seq, subject) -> what the deciding seat states of
    it."""
    facts = log.game.seats(log.config, log.records)
    living = set(range(len(facts)))
    sought = log.game.belief_targets[0].roles
    wolves = {i for i, fact in enumerate(facts) if fact.role in sought}
    claimed: dict[str, set[int]] = {}
    for record in log.records:
        if isinstance(record, Event):
            if record.kind in EXITS and record.target is not None:
                living.discard(record.target)
            if record.kind == "speech" and record.actor is not None:
                for act in record.acts:
                    if act.kind == "claim_role" and act.role:
                        claimed.setdefault(act.role, set()).add(record.actor)
            continue
        if record.trace is None:
            continue
        seat, role = record.seat, facts[record.seat].role
        partners = (wolves & living) - {seat} if seat in wolves else set()
        if record.kind == "speech":
            yield from _speech(record, role, wolves, sought, claimed)
            yield from (
                ("bussing", role, record.day, float(act.subject in partners))
                for act in record.action.acts
                if partners and act.kind == "accuse"
            )
        elif record.kind == "ballot" and record.action.option not in (None, NOBODY):
            target = int(record.action.option or 0)
            if partners:
                yield "bussing", role, record.day, float(target in partners)
            if facts[seat].faction == log.game.sides[1]:
                yield "hits", role, record.day, float(target in wolves)
                held = {j: beliefs[record.seq, j] for j in record.options if (record.seq, j) in beliefs}
                if target in held:
                    yield (
                        "against_belief",
                        role,
                        record.day,
                        float(held[target] < max(held.values()) - CLEARLY),
                    )


def beliefs_in(log: GameLog, stated: pl.DataFrame) -> Iterator[Row]:
    """How far stated beliefs about others lie from the truth, and stated beliefs about their beliefs from theirs."""
    facts = log.game.seats(log.config, log.records)
    days = {r.seq: r.day for r in log.records}
    last: dict[tuple[int, int], float] = {}
    sought = log.game.belief_targets[0].roles
    rows = stated.sort("seq", pl.col("about").is_not_null(), maintain_order=True)
    for _, seq, viewer, subject, about, p in rows.iter_rows():
        role, day = facts[viewer].role, days.get(seq, 0)
        if about is None:
            last[viewer, subject] = p
            if facts[viewer].faction == log.game.sides[1]:
                yield "belief_error", role, day, (p - float(facts[subject].role in sought)) ** 2
        elif (subject, about) in last:  # what the viewer thinks that `subject` believes of `about`
            yield "second_order", role, day, abs(p - last[subject, about])


def _speech(
    decision: Decision,
    role: str,
    wolves: Collection[int],
    sought: Collection[str],
    claimed: dict[str, set[int]],
) -> Iterator[Row]:
    acts, seat, day = decision.action.acts, decision.seat, decision.day
    yield "silence", role, day, float(not acts)
    own = any(a.kind == "claim_role" and a.role == role for a in acts)
    yield "own_role_told", role, day, float(own)
    yield "false_claims", role, day, float(any(a.kind == "claim_role" and a.role != role for a in acts))
    reports = [
        role == "seer" and a.subject is not None and (a.role in sought) == (a.subject in wolves)
        for a in acts
        if a.kind == "report_inspection"
    ]
    yield "false_reports", role, day, float(not all(reports))
    if day == 1:
        true_result = any(reports)
        yield "early_truth", role, day, float(own or true_result)
    taken = {r for r, seats in claimed.items() if seats - {seat}}
    if taken:
        rival = any(a.kind == "claim_role" and a.role in taken for a in acts)
        yield "counter_claims", role, day, float(rival)


def useful_lies(run: Path) -> dict[str, list[tuple[str, str, int, float, float]]]:
    """Game -> occasions of `useful_lies`, each lie weighted by its probability under the model; from the experiments
    beside a run that played menus of acts out."""
    found: dict[str, list[tuple[str, str, int, float, float]]] = {}
    for file in sorted(run.glob("experiment-*/acts.parquet")):
        acts = with_advantages(read_acts(file.parent))
        told = acts.filter(pl.col("lie"), pl.col("chosen") > 0, pl.col("advantage").is_not_nan())
        for r in told.iter_rows(named=True):
            helped = float(r["advantage"] - 1.96 * r["error"] > 0)
            row = ("useful_lies", str(r["role"]), int(r["day"]), helped * r["chosen"], float(r["chosen"]))
            found.setdefault(str(r["game"]), []).append(row)
    return found


def merged(counts: pl.DataFrame, days: Iterable[int] | None = None) -> pl.DataFrame:
    """The counts over days (of `days`, None: all), one row a run, deal, measure and role."""
    kept = counts if days is None else counts.filter(pl.col("day").is_in(list(days)))
    keys = ["run", "model", "deal", "measure", "role"]
    return kept.group_by(keys, maintain_order=True).agg(pl.col("value", "n").sum())
