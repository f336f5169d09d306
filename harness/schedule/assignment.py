"""The minimum-cost assignment of rows to columns, one to one.

scipy has it, but importing `scipy.optimize` takes longer than a small tournament.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf


def cheapest(cost: Sequence[Sequence[float]]) -> list[int]:
    """The column of each row of a square cost matrix `(n, n)`, such that the costs together are least.

    Shortest augmenting paths (Jonker and Volgenant 1987), O(n^3): rows are added one at a time; `u` and `v` are the
    dual variables of rows and columns, under which no reduced cost is negative. Column n means unassigned.
    """
    n = len(cost)
    u, v = [0.0] * n, [0.0] * (n + 1)
    row_of = [-1] * (n + 1)
    for row in range(n):
        row_of[n] = row
        at, least, from_, done = n, [inf] * n, [n] * n, [False] * (n + 1)
        while row_of[at] >= 0:
            done[at] = True
            here = row_of[at]
            costs, price, delta, nearest = cost[here], u[here], inf, -1
            for j in range(n):
                if done[j]:
                    continue
                over = costs[j] - price - v[j]
                if over < least[j]:
                    least[j], from_[j] = over, at
                if least[j] < delta:
                    delta, nearest = least[j], j
            for j in range(n + 1):
                if done[j]:
                    u[row_of[j]] += delta
                    v[j] -= delta
                elif j < n:
                    least[j] -= delta
            at = nearest
        while at != n:
            before = from_[at]
            row_of[at] = row_of[before]
            at = before
    found = [0] * n
    for j in range(n):
        found[row_of[j]] = j
    return found
