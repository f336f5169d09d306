"""Sources of the numbers beside a game: stated beliefs, posteriors, probes, scores of single tokens.

All of it is optional. A run folder may hold, besides its own tables, `derived/probe_scores.parquet`:

    game_id      str     the game
    seq          i32     the decision or event at which the probe was read
    seat         i16     whose activations were read (the viewer)
    subject      i16     whom the probe is about; null: nobody in particular
    token_index  i32     index into the decision's `output_ids`; null: not a score of one output token
    probe        str     the probe's name
    score        f64     probabilities for probes about a subject; any scale for tokens

Rows with a subject and no token are beliefs (a matrix cell); rows with a token tint that token. A further column
`token` (str) may give the tokens' text; without it the run's own tokenizer gives it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import polars as pl

from games.base import GameError
from games.records import Decision
from harness.errors import WolfscopeError
from harness.replay.posteriors import Points, Posterior
from harness.replay.replay import Replay
from harness.run.derived import read_table
from harness.run.folder import Run

SCORES = "derived/probe_scores.parquet"
COLUMNS = {
    "game_id": pl.String, "seq": pl.Int32, "seat": pl.Int16, "subject": pl.Int16, "token_index": pl.Int32,
    "probe": pl.String, "score": pl.Float64,
}  # fmt: skip

ABOUT = {
    "stated": "asked on a fork of the player's context",
    "rules": "what the rules alone leave possible, all of it equally likely",
    "exact": "the Bayesian posterior under the players' true policies",
    "fitted": "the Bayesian posterior under a policy fitted on other games",
}


class Sources:
    """The beliefs and scores of one run, read by game."""

    def __init__(self, run: Run, posteriors: Mapping[str, Posterior] | None = None) -> None:
        """posteriors: name -> function. Raises RunFolderError for a malformed table of scores."""
        self.run = run
        self.posteriors = dict(posteriors or {})
        self.skipped: dict[str, str] = {}
        """Posterior that could not be computed -> why (the first game's reason)."""
        self._beliefs = _by_game(
            run.beliefs.filter(pl.col("about").is_null(), pl.col("p_werewolf").is_not_null()).collect()
        )
        path = run.path / SCORES
        self._scores: dict[str, pl.DataFrame] = {}
        if path.is_file():
            self._scores = _by_game(read_table(path, COLUMNS))

    def beliefs(self, replay: Replay) -> list[dict[str, Any]]:
        """Every source of beliefs about one game: key, label, about, points."""
        found: dict[str, Points] = {}
        rows = self._beliefs.get(replay.game_id)
        if rows is not None:
            for (source,), part in (
                rows.sort("seq", maintain_order=True)
                .partition_by("source", as_dict=True, maintain_order=True)
                .items()
            ):
                columns = part.select("seq", "viewer", "subject", "p_werewolf")
                found[str(source)] = [(s, v, t, round(p, 4)) for s, v, t, p in columns.iter_rows()]
        for name, compute in self.posteriors.items():
            if name in found:
                continue
            try:
                points = compute(replay)
            except (GameError, WolfscopeError, ValueError) as error:
                self.skipped.setdefault(name, str(error))
                continue
            if points:
                found[name] = points
        scores = self._scores.get(replay.game_id)
        if scores is not None:
            about = scores.filter(pl.col("subject").is_not_null(), pl.col("token_index").is_null()).sort(
                "seq", maintain_order=True
            )
            for (probe,), part in about.partition_by("probe", as_dict=True, maintain_order=True).items():
                columns = part.select("seq", "seat", "subject", "score")
                found[f"probe: {probe}"] = [
                    (s, v, t, round(p, 4)) for s, v, t, p in columns.iter_rows() if p is not None
                ]
        order = {name: i for i, name in enumerate(("stated", "exact", "fitted", "rules"))}
        return [
            {"key": key, "label": key, "about": ABOUT.get(key, "a probe of activations"), "points": points}
            for key, points in sorted(found.items(), key=lambda item: (order.get(item[0], 9), item[0]))
        ]

    def tokens(self, replay: Replay) -> dict[str, list[dict[str, Any]]]:
        """seq of a decision -> for each probe the output's tokens and their scores."""
        scores = self._scores.get(replay.game_id)
        if scores is None:
            return {}
        rows = scores.filter(pl.col("token_index").is_not_null()).sort(
            "seq", "token_index", maintain_order=True
        )
        decisions = {r.seq: r for r in replay.records if isinstance(r, Decision)}
        out: dict[str, list[dict[str, Any]]] = {}
        for (seq, probe), part in rows.partition_by(
            "seq", "probe", as_dict=True, maintain_order=True
        ).items():
            decision = decisions.get(replay.echoes.get(seq, seq))
            if decision is None:
                continue
            n = max(_n_output(decision), 1 + max(part["token_index"].to_list()))
            by_token: dict[int, float] = dict(part.select("token_index", "score").iter_rows())
            words = self._words(decision, part, n)
            row = {"probe": probe, "tokens": words, "scores": [_round(by_token.get(i)) for i in range(n)]}
            out.setdefault(str(decision.seq), []).append(row)
        return out

    def _words(self, decision: Decision, part: pl.DataFrame, n: int) -> list[str]:
        if "token" in part.columns:
            given = dict(part.select("token_index", "token").iter_rows())
            return [given.get(i) or "\N{MIDDLE DOT}" for i in range(n)]
        trace = decision.trace
        tokenizer = None if trace is None else self._tokenizers.get(trace.model)
        if trace is None or tokenizer is None:
            return [f"[{i}]" for i in range(n)]
        return pieces(tokenizer, trace.output_ids)

    @cached_property
    def _tokenizers(self) -> dict[str, Any]:
        """Model name -> its tokenizer, for the run's models that still exist."""
        from agents.models.folder import load_tokenizer
        from harness.config.files import parse_config
        from harness.config.models import model_folder

        config = parse_config(self.run.manifest.config, "manifest.json")
        found = {}
        for name, model in self.run.manifest.models.items():
            try:
                found[model] = load_tokenizer(model_folder(config.backends[name]))
            except (WolfscopeError, ValueError, OSError, KeyError) as error:
                self.skipped.setdefault(f"the tokens of {model}", str(error))
        return found


def pieces(tokenizer: Any, ids: Iterable[int]) -> list[str]:
    """The text of each token such that they join to the whole text; the rest of a split character comes as ''."""
    texts, before, seen = [], "", []
    for one in ids:
        seen.append(one)
        now = str(tokenizer.decode(seen, skip_special_tokens=False))
        whole = now.removesuffix("\N{REPLACEMENT CHARACTER}")
        texts.append(whole[len(before) :] if whole.startswith(before) else whole)
        before = whole
    return texts


def _n_output(decision: Decision) -> int:
    return 0 if decision.trace is None else len(decision.trace.output_ids)


def _by_game(frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    if frame.is_empty():
        return {}
    return {str(key[0]): part for key, part in frame.partition_by("game_id", as_dict=True).items()}


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
