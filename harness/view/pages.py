"""Writes the viewer's pages of a run: `view/index.html`, `view/games/<id>.html`, `view/assets`."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.atomic import storage
from harness.branch.branch import parent_of
from harness.gate import check_links
from harness.replay.posteriors import Posterior
from harness.replay.replay import Replay
from harness.run.derived import Inputs, inputs_in, inputs_of, write_page
from harness.run.folder import Run, load_run
from harness.run.typed import factors_in_words
from harness.schedule.branched import Origin, origin_of
from harness.view.game_data import game_records, seat_rows
from harness.view.html import ASSETS, page
from harness.view.reasoning import reasoning_of
from harness.view.sources import Sources


def write_view(
    run: str | Path,
    out: str | Path | None = None,
    games: Sequence[str] = (),
    portable: bool = False,
    posteriors: Mapping[str, Posterior] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Write the pages of a run and return the index's path.

    out: the folder (default: `view` in the run folder). games: only these get pages of their own (numbers, ids or
    beginnings of ids; default: all). portable: every page holds its scripts and can be sent on alone. posteriors: name
    -> function that computes beliefs from a log, beside those that the run folder holds.

    Raises RunFolderError where there is no run or no such game, StorageError.
    """
    opened = load_run(run)
    folder = Path(out) if out is not None else opened.path / "view"
    if folder.is_dir():
        check_links(folder)
    with storage(folder):
        (folder / "games").mkdir(parents=True, exist_ok=True)
        if not portable:
            shutil.copytree(ASSETS, folder / "assets", dirs_exist_ok=True)
    writer = _Writer(opened, folder, portable, Sources(opened, posteriors))
    wanted = {opened.game_id(word) for word in games} or None
    writer.write_games(wanted, say)
    index = writer.write_index()
    for name, reason in writer.sources.skipped.items():
        say(f"not shown: {name} ({reason})")
    return index


INPUTS = ("*.parquet", "derived/probe_scores.parquet", "branch.json")
"""The pages' inputs in the run folder."""


class _Writer:
    def __init__(self, run: Run, folder: Path, portable: bool, sources: Sources) -> None:
        self.run, self.folder, self.portable, self.sources = run, folder, portable, sources
        self.games = run.games.sort("index", maintain_order=True).collect().to_dicts()
        self.seats = {
            str(key[0]): part.sort("seat", maintain_order=True).to_dicts()
            for key, part in run.seats.collect().partition_by("game_id", as_dict=True).items()
        }
        self.reasoning = reasoning_of(run.path)
        self.origin: Origin | None = origin_of(run.manifest)
        self.parent: Replay | None = parent_of(run.path) if self.origin is not None else None
        self._parent_rows: list[dict[str, Any]] | None = None
        self.counts: dict[str, tuple[int, int]] = {}
        """game id -> (lies, honest mistakes)."""
        self.written: set[str] = set()
        self.files: list[Path] = []
        """Game pages that have been written."""

    def write_games(self, wanted: set[str] | None, say: Callable[[str], None]) -> None:
        """A page for each wanted game; lies are counted in all."""
        ids = [row["game_id"] for row in self.games]
        rows = {row["game_id"]: row for row in self.games}
        pages = [game_id for game_id in ids if wanted is None or game_id in wanted]
        after = dict(itertools.pairwise(pages))
        before = {b: a for a, b in after.items()}
        for done, (game_id, records) in enumerate(self.run.logs(), 1):
            replay = Replay(self.run, game_id, records)
            labels = [s.label for some in replay.statements.values() for s in some]
            self.counts[game_id] = labels.count("lie"), labels.count("honest mistake")
            if wanted is None or game_id in wanted:
                value = self.game(replay, rows[game_id], before.get(game_id), after.get(game_id))
                self._write(f"games/{game_id}.html", "game", f"game {rows[game_id]['index']}", value)
                self.written.add(game_id)
            if done % 500 == 0:
                say(f"{done:,} of {len(ids):,} games")
        for game_id in sorted((wanted or set()) - self.written):  # still being played
            self._write(
                f"games/{game_id}.html", "game", game_id, self.game(Replay(self.run, game_id), {}, None, None)
            )

    def game(
        self, replay: Replay, row: Mapping[str, Any], before: str | None, after: str | None
    ) -> dict[str, Any]:
        """The data of one game's page."""
        run = self.run
        factors = run.cell(replay.game_id).factors
        return {
            "game": {
                "id": replay.game_id,
                "index": row.get("index"),
                "run": run.manifest.name,
                "status": row.get("status", "being played"),
                "error": row.get("error"),
                "winner": row.get("winner"),
                "reason": row.get("reason"),
                "preset": row.get("preset"),
                "lexicon": row.get("lexicon"),
                "seed": str(replay.seed),
                "fallbacks": row.get("n_fallbacks", 0),
                "factors": factors,
                "prev": before,
                "next": after,
                "index_link": "../index.html",
            },
            "seats": seat_rows(replay, self.seats.get(replay.game_id, [])),
            "rec": game_records(replay),
            "beliefs": self.sources.beliefs(replay),
            "tokens": self.sources.tokens(replay),
            "reasoning": self.reasoning.get(replay.game_id, {}),
            "branch": self.branch(factors.get("arm")),
        }

    def branch(self, arm: str | None) -> dict[str, Any] | None:
        """The game's origin and how the recorded one continued; None for a run that is not a branch."""
        origin = self.origin
        if origin is None:
            return None
        found: dict[str, Any] = {
            "kind": arm,
            "what": origin.what if arm == "changed" else "no change",
            "seq": origin.seq,
            "first": min(origin.first, origin.seq),
            "run": origin.name,
            "game": origin.game_id,
            "link": self._parent_link(f"games/{origin.game_id}.html"),
        }
        if self.parent is not None:
            if origin.change["type"] == "roles":
                found["first"] = 0  # the deal itself differs
            if self._parent_rows is None:
                self._parent_rows = game_records(self.parent, found["first"])
            outcome = [r["v"] for r in self._parent_rows if r["k"] == "outcome"]
            found |= {"rec": self._parent_rows, "winner": outcome[-1] if outcome else None}
        return found

    def _parent_link(self, place: str, up: int = 1) -> str | None:
        if self.origin is None or not (Path(self.origin.run) / "view" / place).is_file():
            return None
        here = self.folder / "games" if up else self.folder
        return os.path.relpath(Path(self.origin.run) / "view" / place, here)

    def write_index(self) -> Path:
        """The index of all games."""
        manifest = self.run.manifest
        cast = {game_id: sorted({s["agent"] for s in seats}) for game_id, seats in self.seats.items()}
        names = {game_id: " ".join(s["name"] for s in seats) for game_id, seats in self.seats.items()}
        rows = self.games
        columns: dict[str, list[Any]] = {
            "index": [row["index"] for row in rows],
            "id": [row["game_id"] for row in rows],
            "page": [int((self.folder / "games" / f"{row['game_id']}.html").is_file()) for row in rows],
            "factors": [factors_in_words(row["factors"]) for row in rows],
            "winner": [row["winner"] for row in rows],
            "days": [row["n_days"] for row in rows],
            "decisions": [row["n_decisions"] for row in rows],
            "lies": [self.counts.get(row["game_id"], (0, 0))[0] for row in rows],
            "mistakes": [self.counts.get(row["game_id"], (0, 0))[1] for row in rows],
            "fallbacks": [row["n_fallbacks"] for row in rows],
            "cast": [", ".join(cast.get(row["game_id"], [])) for row in rows],
            "names": [names.get(row["game_id"], "") for row in rows],
            "status": [row["status"] for row in rows],
            "error": [row["error"] for row in rows],
        }
        config = manifest.config
        what = [config.get("game", {}).get("preset"), f"{manifest.n_games:,} games scheduled"]
        value = {
            "run": {
                "name": manifest.name,
                "status": manifest.status,
                "created": manifest.created[:16].replace("T", " "),
                "revision": (manifest.sessions[0].revision or "")[:12] if manifest.sessions else "",
                "models": ", ".join(sorted(set(manifest.models.values()))),
                "what": " \N{MIDDLE DOT} ".join(str(one) for one in what if one),
                "branch": self._branch_head(),
            },
            "columns": columns,
            "effects": self._effects(),
        }
        return self._write("index.html", "index", f"{manifest.name}: games", value)

    def _branch_head(self) -> dict[str, Any] | None:
        if self.origin is None:
            return None
        origin = self.origin
        return {
            "run": origin.name,
            "game": origin.game_id,
            "seq": origin.seq,
            "what": origin.what,
            "link": self._parent_link(f"games/{origin.game_id}.html", up=0),
        }

    def _effects(self) -> Any:
        path = self.run.path / "branch.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def _write(self, place: str, kind: str, title: str, value: Any) -> Path:
        assets = None if self.portable else "../assets" if "/" in place else "assets"
        path = self.folder / place
        html = page(kind, f"{title} \N{MIDDLE DOT} Wolfscope", value, assets)
        if kind == "index" and self.folder == self.run.path / "view":
            write_page(path, html, self._inputs(path), [*self.files, *self.folder.glob("assets/*")])
            return path
        with storage(path):
            path.write_text(html, encoding="utf-8")
        self.files.append(path)
        return path

    def _inputs(self, index: Path) -> Inputs:
        """The index's inputs, and the digests of game pages that an earlier call wrote."""
        before = inputs_in(index)
        return msgspec.structs.replace(
            inputs_of([self.run.path], INPUTS), parts={} if before is None else before.parts
        )
