"""Runs as typed frames: one row per (game, viewer, decision, subject), with the truth and everything public
beside it.

A row exists where the subject lives and its role was neither told to the viewer nor follows from what it was told: rows
whose answer is in the prompt are no evidence of a model of others. The columns that every baseline needs are beside the
truth: counts of public acts up to the decision, seat, name, turn, length, the rules posterior, and the lines about the
subject that the viewer could read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal

import polars as pl
from scipy import sparse

from analysis.data.roster import Characters, characters_of
from analysis.stats.errors import AnalysisError
from games.base import Game
from games.records import NOBODY, Decision, Event, Record
from games.statements import Reading

ROWS: dict[str, Any] = {
    "game_id": pl.String,
    "seq": pl.Int32,  # of the decision
    "viewer": pl.Int16,
    "subject": pl.Int16,
    "viewer_role": pl.String,
    "subject_role": pl.String,
    "is_werewolf": pl.Boolean,  # whether the subject is what the game's first belief target asks
    "kind": pl.String,  # of the decision
    "day": pl.Int16,
    "turn": pl.Int32,  # decisions that the viewer has made before
    "n_living": pl.Int16,
    "length": pl.Int32,  # records that the viewer has seen
    "name": pl.String,  # the subject's
    "agent": pl.String,
    "model": pl.String,
    "p_rules": pl.Float64,  # probability of `is_werewolf`, by the rules alone
}
"""Columns of every game; `rows_schema` adds `p_rules_NAME` of further belief targets, `preset`, and the public
counts."""


def rows_schema(game: Game, features: Sequence[str]) -> dict[str, Any]:
    """The columns of the central frame for a game. features: names of its public counts (`Reading.features`)."""
    others = {f"p_rules_{target.name}": pl.Float64 for target in game.belief_targets[1:]}
    return {**ROWS, **others, "preset": pl.String, **dict.fromkeys(features, pl.Int16)}


FORETOLD = "foretold_"
"""Prefix of the columns with outcomes (`Reading.foretold`), in rows about oneself; null where the game does not ask."""


def counts_in(frame: pl.DataFrame) -> list[str]:
    """The names of the public counts among the columns of a central frame."""
    return frame.columns[frame.columns.index("preset") + 1 :]


@dataclass(frozen=True)
class GameLog:
    """One game's whole log and the configuration that it was played under."""

    game_id: str
    game: Any
    """The rules (`games.base.Game`)."""
    config: Any
    records: Sequence[Record]
    mix: Characters | None = None
    """Observers' prior over the players' characters; None: uniform."""


@dataclass(frozen=True)
class Rows:
    """The central frame and the text behind it."""

    frame: pl.DataFrame
    """Schema `rows_schema`."""
    lines: list[str]
    """Lines about one subject, the subject's name replaced by `subject`, other names by `other`."""
    reads: sparse.csr_matrix
    """`(n_rows, n_lines)`: which lines about its subject each row's viewer had read."""
    foretold: Mapping[str, str] = field(default_factory=dict)
    """`Reading.foretold` of the game; the columns `foretold_NAME` hold the answers."""


def logs_of(run: Any, ids: Sequence[str] | None = None) -> Iterator[GameLog]:
    """Every ended game of a run (`harness.load_run(path)`), or those of `ids`, in the order of the run. The traces of
    their decisions hold no token ids."""
    mixes, cells = characters_of(run), run.manifest.cells
    places = {id(cell): number for number, cell in enumerate(cells)}
    for game_id, records in run.logs(ids, tokens=False):
        game, config, _ = run.game(game_id)
        yield GameLog(game_id, game, config, records, mixes.get(places[id(run.cell(game_id))]))


AT_ONCE = 200
"""Number of games whose rows are collected before they become a frame."""


def batched(logs: Iterable[GameLog], n: int) -> Iterator[list[GameLog]]:
    """The games in lists of at most `n`."""
    games = iter(logs)
    while some := list(islice(games, n)):
        yield some


HELD = 500
"""Number of games that are kept in memory once they were read."""


class Logs(Iterable[GameLog]):
    """The ended games of several runs. Up to `HELD` of them stay in memory; more than that are read again, a few at a
    time, in each iteration."""

    def __init__(self, runs: Sequence[tuple[str, Any]], ids: Collection[str] | None = None) -> None:
        """runs: (prefix of the game ids, run). ids: only these games, with their prefix."""
        self.runs = tuple(runs)
        self.ids = [prefix + game for prefix, run in runs for game in run.game_ids]
        """The games in order, with their prefix."""
        if ids is not None:
            wanted = frozenset(ids)
            self.ids = [game for game in self.ids if game in wanted]
        self._whole = ids is None
        self._held: list[GameLog] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def game(self) -> Game:
        """The game that is played in all runs. Raises AnalysisError where there are several."""
        cells = [cell for _, run in self.runs for cell in run.manifest.cells]
        names = dict.fromkeys(cell.game for cell in cells)
        if len(names) > 1:
            raise AnalysisError(f"the runs are of {' and of '.join(names)}: analyse each game by itself")
        found: Game = cells[0].rules()[0]
        return found

    def __iter__(self) -> Iterator[GameLog]:
        if self._held is not None:
            yield from self._held
        elif len(self.ids) <= HELD:
            self._held = list(self._read())
            yield from self._held
        else:
            yield from self._read()

    def _read(self) -> Iterator[GameLog]:
        wanted = frozenset(self.ids)
        for prefix, run in self.runs:
            mine = None if self._whole else [game for game in run.game_ids if prefix + game in wanted]
            for log in logs_of(run, mine):
                yield replace(log, game_id=prefix + log.game_id)

    def some(self, ids: Collection[str]) -> Logs:
        """The games of `ids` alone."""
        return Logs(self.runs, frozenset(ids) & frozenset(self.ids))

    @property
    def mixes(self) -> dict[tuple[int, int], Characters | None]:
        """(run, cell) -> prior over characters."""
        return {
            (number, cell): mix
            for number, (_, run) in enumerate(self.runs)
            for cell, mix in characters_of(run).items()
        }


def subject_rows(
    logs: Iterable[GameLog], models_only: bool = True, about: Literal["others", "self"] = "others"
) -> Rows:
    """The rows of all games, in the order of their logs.

    `about="self"` gives one row a decision instead, with the viewer as its own subject: the same public
    counts, for questions about what the viewer itself intends (never about its role, which is in its prompt). With
    `models_only`, decisions that no model made are left out, unless no model made any decision of the whole set.
    """
    return _rows_of(logs, models_only, (about,))[0]


def both_rows(logs: Iterable[GameLog]) -> tuple[Rows, Rows]:
    """`subject_rows` about others and about oneself, from one reading of the games."""
    others, own = _rows_of(logs, True, ("others", "self"))
    return others, own


def _rows_of(logs: Iterable[GameLog], models_only: bool, kinds: Sequence[str]) -> list[Rows]:
    lines: list[str] = []
    parts = {kind: _Part(kind == "self") for kind in kinds}
    for log in logs:
        reading = reading_of(log)
        for part in parts.values():
            part.begin(log, reading)
        _read_game(log, reading, lines, parts)
    return [part.rows(lines, models_only) for part in parts.values()]


class _Part:
    """Rows of one kind while they are collected."""

    def __init__(self, own: bool) -> None:
        self.own = own
        self.schema: dict[str, Any] = dict(ROWS)
        self.blocks: list[tuple[dict[str, Any], list[tuple[Any, ...]]]] = []
        """(schema, rows) pairs in the order of the logs; a new pair begins where a game has other columns."""
        self.foretold: Mapping[str, str] = {}
        self.n = 0
        self.row_of: list[int] = []
        self.line_of: list[int] = []

    def begin(self, log: GameLog, reading: Reading) -> None:
        self.foretold = reading.foretold if self.own else {}
        came = reading.outcomes(log.records) if self.own else {}
        self._came = {f"{FORETOLD}{name}": told for name, told in came.items()}
        self.schema |= dict.fromkeys((f"{FORETOLD}{name}" for name in self.foretold), pl.Boolean)
        own = rows_schema(log.game, reading.features)
        self.schema |= own
        own |= dict.fromkeys(self._came, pl.Boolean)
        if not self.blocks or self.blocks[-1][0] != own:
            self.blocks.append((own, []))
        self._rows = self.blocks[-1][1]

    def add(self, seq: int, row: tuple[Any, ...], seen: list[int]) -> None:
        """A row, in the order of `rows_schema`."""
        self.row_of += [self.n] * len(seen)
        self.line_of += seen
        self.n += 1
        self._rows.append((*row, *(told.get(seq) for told in self._came.values())))

    def rows(self, lines: list[str], models_only: bool) -> Rows:
        parts = [pl.DataFrame(schema=self.schema)]
        for schema, rows in self.blocks:
            columns = dict(zip(schema, map(list, zip(*rows)))) if rows else {}
            told = pl.DataFrame(columns, schema=schema)
            parts.append(told.select(name for name in self.schema if name in schema))
        frame = pl.concat(parts, how="diagonal").select(*self.schema)
        reads = sparse.csr_matrix(
            ([1.0] * len(self.row_of), (self.row_of, self.line_of)),
            shape=(len(frame), len(lines)),
            dtype="f4",
        )
        if models_only and frame["model"].is_not_null().any():
            keep = frame["model"].is_not_null()
            frame, reads = frame.filter(keep), reads[keep.to_numpy()]
        return Rows(frame, lines, reads, self.foretold)


def reading_of(log: GameLog) -> Reading:
    """A new fold over a game's events. Raises AnalysisError for a game that offers none."""
    reading = log.game.reading(log.config)
    if reading is None:
        raise AnalysisError(
            f"the game {log.game.name} does not say what its logs make known (`Game.reading`), so behaviour, labels, "
            "probes and the report cannot read it; ratings, check, replay, view and branch take every game"
        )
    found: Reading = reading
    return found


def _read_game(log: GameLog, reading: Reading, lines: list[str], parts: dict[str, _Part]) -> None:
    """Adds the game's lines, and its rows of each kind."""
    facts = log.game.seats(log.config, log.records)
    names = [fact.name for fact in facts]
    n = len(names)
    first, *others = log.game.belief_targets
    apart = [i for i, target in enumerate(others) if target.apart]
    about: list[list[tuple[tuple[int, ...] | None, int]]] = [[] for _ in range(n)]
    seen, decided = [0] * n, [0] * n
    preset = str(getattr(log.config, "preset", ""))
    setup = log.records[0]
    for record in log.records:
        if isinstance(record, Event):
            reading.see(record)
            for seat in range(n) if record.audience is None else record.audience:
                seen[seat] += 1
            if record is not setup and record.audience != ():
                for text in log.game.transcript((setup, record), None, log.config)[1:]:
                    for seat, line in _about(text, names):
                        about[seat].append((record.audience, len(lines)))
                        lines.append(line)
            continue
        viewer = record.seat
        posterior, model, n_living = reading.posterior(viewer), _model(record), len(reading.living)
        for part in parts.values():
            for subject in [viewer] if part.own else sorted(set(reading.living) - {viewer}):
                p, more = first.p(posterior[subject]), [target.p(posterior[subject]) for target in others]
                if not (part.own or 0 < p < 1 or any(0 < more[i] < 1 for i in apart)):
                    continue
                role, counts = facts[subject].role, reading.counts(subject, viewer)
                row = (
                    log.game_id, record.seq, viewer, subject, facts[viewer].role, role, role in first.roles,
                    record.kind, record.day, decided[viewer], n_living, seen[viewer], names[subject], record.agent,
                    model, p, *more, preset, *(counts[name] for name in reading.features),
                )  # fmt: skip
                mine = [i for audience, i in about[subject] if audience is None or viewer in audience]
                part.add(record.seq, row, mine)
        decided[viewer] += 1
        seen[viewer] += 1


def _model(decision: Decision) -> str | None:
    return None if decision.trace is None else decision.trace.model


def _about(text: str, names: Sequence[str]) -> Iterator[tuple[int, str]]:
    """The line once for every player that it names, seen from that player."""
    words = text.replace('"', ' " ').replace(".", " . ").replace(":", " : ").split()
    places = {name: seat for seat, name in enumerate(names)}
    for seat in sorted({places[word] for word in words if word in places}):
        yield (
            seat,
            " ".join(
                ("subject" if places[word] == seat else "other") if word in places else word for word in words
            ),
        )


def speaker_rows(logs: Iterable[GameLog]) -> pl.DataFrame:
    """The seats of all games with their truth: game_id, seat, name, role, faction."""
    return pl.DataFrame(
        [
            {
                "game_id": log.game_id,
                "seat": seat,
                "name": fact.name,
                "role": fact.role,
                "faction": fact.faction,
            }
            for log in logs
            for seat, fact in enumerate(log.game.seats(log.config, log.records))
        ],
        schema={
            "game_id": pl.String,
            "seat": pl.Int16,
            "name": pl.String,
            "role": pl.String,
            "faction": pl.String,
        },
    )


__all__ = [
    "AT_ONCE", "NOBODY", "ROWS", "GameLog", "Logs", "Rows", "both_rows", "counts_in", "logs_of", "reading_of",
    "rows_schema", "speaker_rows", "subject_rows",
]  # fmt: skip
