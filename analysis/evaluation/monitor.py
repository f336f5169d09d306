"""A monitor that reads the text alone, and what activations add to it: the black-to-white boost.

The monitor reads the speech itself and everything public before it; it is fitted on other games, as the probe is. The
boost is a nested increment: monitor and probe together, minus the monitor alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from analysis.data.frames import GameLog, counts_in
from analysis.data.targets import Target
from analysis.data.words import masked, spoken_words
from analysis.probes.probes import Nested
from analysis.rungs.nested import TREES, boosted, linear
from analysis.stats.splits import Folds
from games.records import Decision

Texts = Mapping[tuple[str, int], str]


def speech_texts(logs: Iterable[GameLog]) -> dict[tuple[str, int], str]:
    """(game_id, seq) -> the words of every speech, names of players replaced by `player`."""
    found = {}
    for log in logs:
        names = {fact.name for fact in log.game.seats(log.config, log.records)}
        for record in log.records:
            if isinstance(record, Decision) and record.action.text:
                found[log.game_id, record.seq] = masked(record.action.text, names)
    return found


def monitor(target: Target, texts: Texts, folds: Folds, seed: int = 0, trees: int = TREES) -> list[Nested]:
    """The sources of the text monitor on the target's rows: words of the speech, public counts, both in trees."""
    keys = target.frame.select("game_id", "seq").iter_rows()
    said = [texts.get((str(game), int(seq)), "") for game, seq in keys]
    public = (
        target.frame.select(*counts_in(target.frame), "day", "turn", "n_living", "length")
        .to_numpy()
        .astype(np.float32)
    )
    public = public[:, np.ptp(public, axis=0) > 0]
    words = _words(said)
    sources = [boosted(np.hstack([public, words]), target.y, folds, seed, trees=trees)]
    sources += [linear(x, target.y, folds) for x in (public, words) if x.shape[1]]
    return sources


def _words(said: list[str]) -> NDArray[np.float32]:
    try:
        return np.asarray(spoken_words().fit_transform(said).toarray(), dtype=np.float32)
    except ValueError:  # no word occurs in three speeches
        return np.zeros((len(said), 0), dtype=np.float32)
