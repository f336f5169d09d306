"""The night-kill target distributions of packs, given the choice distribution of each member."""

from __future__ import annotations

import numpy as np


def target_given(votes: np.ndarray, proposals: np.ndarray, hands: int, rule: str, rounds: int) -> np.ndarray:
    """Probability of each target given the characters of the living werewolves `(n_packs, n_styles, ..., n_options)`.

    `votes` and `proposals` are `(n_packs, n_styles, n_options)`, the last option nobody; `hands` werewolves of each
    pack choose; `rounds` of proposals in their channel come first and settle the target where all agree.
    """
    packs, s, m = votes.shape

    def along(table: np.ndarray, i: int) -> np.ndarray:
        return table.reshape(packs, *[s if a == i else 1 for a in range(hands)], m)

    if hands == 0:
        return np.broadcast_to(np.eye(m)[m - 1], (packs, m))
    if rule == "one_random":
        out = np.asarray(sum(along(votes, i) for i in range(hands)) / hands)
    elif hands == 1:
        out = votes
    elif hands == 2 and not votes[..., m - 1].any():
        out = 0.5 * (along(votes, 0) + along(votes, 1))
    elif hands == 3 and not votes[..., m - 1].any():
        a, b, d = (along(votes, i) for i in range(3))
        two = a * b * (1 - d) + a * d * (1 - b) + b * d * (1 - a) + a * b * d
        split = np.zeros_like(two)
        for x, y, z in ((a, b, d), (b, a, d), (d, a, b)):
            same = (y * z).sum(-1, keepdims=True) - y * z
            split = split + x * ((1 - y) * (1 - z) - same)
        out = two + split / 3
    else:
        out = np.zeros((packs, *[s] * hands, m))
        for profile in np.ndindex(*[m] * hands):
            p = np.ones([1] * (hands + 1))
            for i, v in enumerate(profile):
                p = p * along(votes, i)[..., v]
            cast = [v for v in profile if v != m - 1]
            top = max((cast.count(v) for v in cast), default=0)
            tied = sorted({v for v in cast if cast.count(v) == top}) or [m - 1]
            for v in tied:
                out[..., v] += p / len(tied)
    if rounds and hands > 1:
        agreed = np.prod(np.stack(np.broadcast_arrays(*[along(proposals, i) for i in range(hands)])), axis=0)
        miss = 1.0 - agreed.sum(-1, keepdims=True)
        out = agreed * sum(miss**r for r in range(rounds)) + miss**rounds * out
    return np.broadcast_to(out, (packs, *[s] * hands, m))
