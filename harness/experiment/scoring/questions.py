"""The questions of an experiment: a prompt, whole answers, and edits of the residual stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.hooks.intervention import Intervention, SteeringError

ANSWER_FLOOR = -80.0
"""Log-probabilities are clipped here: below it, a probability counts as zero."""


@dataclass(frozen=True)
class Ask:
    """One question: how likely is each whole answer?"""

    ids: tuple[int, ...]
    """Token ids of the whole prompt."""
    choices: tuple[tuple[int, ...], ...]
    """Token ids of each answer including what ends it; none a prefix of another."""
    edits: tuple[Intervention, ...] = ()
    """Changes at token indices of the prompt, all of the same layer's `resid_post`."""

    @property
    def layer(self) -> int | None:
        """The layer of the edits, None where there are none."""
        return self.edits[0].layer if self.edits else None

    @property
    def first(self) -> int:
        """The first token index that is recomputed: the first edited one, at most the last of the prompt."""
        last = len(self.ids) - 1
        return min((min(tokens_of(e)) for e in self.edits), default=last)


@dataclass(frozen=True)
class Trie:
    """The answers as a tree of tokens below the prompt's last one."""

    tokens: tuple[int, ...]
    """Token of each inner node: a proper beginning of some answer."""
    parents: tuple[int, ...]
    """Index of each node's parent, -1 for the prompt's last token."""
    paths: tuple[tuple[tuple[int, int], ...], ...]
    """For each answer its (node that predicts, token), -1 for the prompt's last token."""


def trie_of(choices: Sequence[Sequence[int]]) -> Trie:
    """The tree of some answers; the log-probability of each is the sum along its path."""
    nodes: dict[tuple[int, ...], int] = {(): -1}
    tokens: list[int] = []
    parents: list[int] = []
    paths = []
    for choice in choices:
        path = []
        for k, token in enumerate(choice):
            head = tuple(choice[:k])
            if head not in nodes:
                nodes[head] = len(tokens)
                tokens.append(head[-1])
                parents.append(nodes[head[:-1]])
            path.append((nodes[head], int(token)))
        paths.append(tuple(path))
    return Trie(tuple(tokens), tuple(parents), tuple(paths))


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many leading tokens two contexts share."""
    n = min(len(a), len(b))
    differ = np.flatnonzero(np.asarray(a[:n]) != np.asarray(b[:n]))
    return int(differ[0]) if len(differ) else n


def chunks(sizes: Sequence[int], most: int) -> Iterator[slice]:
    """Consecutive stretches whose sizes add up to at most `most`; at least one each."""
    start, total = 0, 0
    for i, size in enumerate(sizes):
        if i > start and total + size > most:
            yield slice(start, i)
            start, total = i, 0
        total += size
    if start < len(sizes):
        yield slice(start, len(sizes))


def tokens_of(edit: Intervention) -> tuple[int, ...]:
    """The token indices of a change. Raises SteeringError where it names none."""
    if not isinstance(edit.positions, tuple):
        raise SteeringError(f"an experiment's change names token indices, not {edit.positions!r}")
    return edit.positions


Scores = list[NDArray[np.float64]]
"""For each question the log-probabilities (n_choices,) of its answers, nats."""
