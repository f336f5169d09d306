"""A model's decision after each step of a reasoning, and its probed beliefs there.

Forced: the thinking is closed after the step by the template's own form and the answer demanded. All prefixes of one
reasoning share its tokens, so a packed scorer computes these once, and for each prefix only the closing tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from games.records import Span
from harness.atomic import write_whole
from harness.experiment.design import ExperimentError, Where
from harness.experiment.directions import Direction
from harness.experiment.scenes import Prompted, positions
from harness.experiment.scoring.questions import Ask
from harness.reasoning.played import Played


def prefixes(played: Played, most: int) -> list[int]:
    """The numbers of steps after which to measure: all of them, or `most` evenly spread ones with the first and
    last."""
    n = len(played.steps)
    if n + 1 <= most:
        return list(range(n + 1))
    return sorted({round(i * n / (most - 1)) for i in range(most)})


def forced_asks(played: Played, ks: Sequence[int]) -> list[Ask]:
    """The question at each prefix. The whole context comes first, since the others share it; it is no prefix of `ks`
    but its answer is that of all steps."""
    whole = Ask(played.ids, played.choices)
    return [whole, *(Ask((*played.prefix(k), *played.tail), played.choices) for k in ks)]


def forced(scorer: Any, played: Played, ks: Sequence[int]) -> NDArray[np.float64]:
    """Log-probabilities `(len(ks), n_options)` of every legal answer after each prefix, nats."""
    return np.stack(scorer.score(forced_asks(played, ks))[1:])


def spans_at(played: Played, k: int) -> tuple[Span, ...]:
    """The spans of the context cut after k steps and closed."""
    edge, shift = played.edge(k), played.edge(k) - played.end
    kept = [s for s in played.spans if s.end <= edge]
    kept += [
        msgspec.structs.replace(s, start=s.start + shift, end=s.end + shift)
        for s in played.spans
        if s.start >= played.end
    ]
    return tuple(kept)


class Readout(msgspec.Struct, frozen=True):
    """A linear probe of the residual stream: P(subject is a werewolf) = 1 / (1 + exp(-(x . weights + bias)))."""

    layer: int
    """0 = output of block 0."""
    at: Where
    weights: list[float]
    """(d_model,), for raw activations."""
    bias: float

    def write(self, folder: Path) -> None:
        """Keep it in an experiment's folder. Raises StorageError."""
        write_whole(folder / "readout.json", msgspec.json.encode(self))

    @staticmethod
    def read(folder: Path) -> Readout | None:
        """The one that is kept in a folder."""
        path = folder / "readout.json"
        return msgspec.convert(json.loads(path.read_bytes()), Readout) if path.is_file() else None

    def probability(self, x: NDArray[np.float32]) -> float:
        """The probability for one stream vector (d_model,)."""
        z = float(x.astype(np.float64) @ np.asarray(self.weights)) + self.bias
        return float(1 / (1 + np.exp(-np.clip(z, -50, 50))))


def readout_of(direction: Direction) -> Readout:
    """The probe of a direction. Raises ExperimentError for a direction without fitted weights."""
    if direction.weights is None:
        raise ExperimentError(
            f"reasoning.belief: the direction {direction.name} ({direction.origin}) is a bare vector, which gives no "
            "probability; name one with fit = 'belief' or a probe that a report saved"
        )
    return Readout(direction.layer, direction.at, direction.weights.astype(float).tolist(), direction.bias)


def inside(
    scorer: Any,
    played: Played,
    ks: Sequence[int],
    seats: Sequence[int],
    readout: Readout,
    questions: Mapping[int, Prompted],
) -> list[list[float | None]]:
    """The probe's belief about each seat after each prefix; None where the context has no such place.

    Read at the position with the meaning of the probe's site, in the context cut there and closed. A probe of belief
    questions is read in such a question behind the cut reasoning, where the player asks one on a line of its own
    (`asked_behind`). Longest prefixes come first, so that a scorer's cache serves the others.

    questions: seat -> the belief question about it, as asked without the reasoning.
    """
    found: dict[tuple[int, int], float] = {}
    for k in sorted(ks, reverse=True):
        cut = Prompted((*played.prefix(k), *played.tail), spans_at(played, k), (), ())
        places: dict[tuple[tuple[int, ...], int], list[int]] = {}
        for seat in seats:
            asked = asked_behind(played, k, questions[seat]) if seat in questions else None
            prompted = asked if asked is not None and readout.at == "option" else cut
            where = positions(prompted, seat, readout.at) or positions(prompted, seat, "last_mention")
            if where is not None:
                places.setdefault((prompted.ids, where[-1]), []).append(seat)
        for (ids, place), about in sorted(places.items(), key=lambda one: one[0][1], reverse=True):
            stream = scorer.streams(ids, (place,), (readout.layer,))[0, 0].numpy()
            p = readout.probability(np.asarray(stream))
            found |= {(k, seat): p for seat in about}
    return [[found.get((k, seat)) for seat in seats] for k in ks]


def asked_behind(played: Played, k: int, question: Prompted) -> Prompted | None:
    """A question of its own line, behind the first k steps and what ends them; None where the decision is not asked on
    a line behind the reasoning (chat style, where it was asked before)."""
    behind = [s.start for s in played.spans if s.kind == "question" and s.start >= played.end]
    own = [s.start for s in question.spans if s.kind == "question"]
    if not behind or not own:
        return None
    before = (*played.prefix(k), *played.ids[played.end : max(behind)])
    start, shift = max(own), len(before) - max(own)
    spans = [msgspec.structs.replace(s, start=s.start + shift, end=s.end + shift)
             for s in question.spans if s.start >= start]  # fmt: skip
    return Prompted((*before, *question.ids[start:]), tuple(spans), (), ())
