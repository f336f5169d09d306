"""Interventions on a model while it plays or is re-scored, counted so that none can silently do nothing.

An `Intervention` names token indices of one context; `Steering` turns the interventions of a batch's rows into edits of
the current forward pass and counts the positions touched. `checked()` raises where an intervention touched fewer
positions than it named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from agents.hooks.hooks import Edit
from agents.hooks.intervention import Intervention, SteeringError

__all__ = ["Intervention", "Steering", "SteeringError"]


class Steering:
    """The interventions of a batch: rows[i] holds those of context i."""

    def __init__(
        self,
        rows: Sequence[Sequence[Intervention]],
        prompt_lengths: Sequence[int],
        d_model: int,
        n_layers: int,
    ) -> None:
        """Raises SteeringError for a vector of the wrong shape or zero, a layer or position that does not exist."""
        self.rows = [list(row) for row in rows]
        self.prompt_lengths = list(prompt_lengths)
        self.touched: list[list[int]] = [[0] * len(row) for row in self.rows]
        """Positions touched so far, per row and intervention."""
        self._vectors = [[_vector(one, d_model, n_layers) for one in row] for row in self.rows]
        for row, n in zip(self.rows, self.prompt_lengths, strict=True):
            for one in row:
                if isinstance(one.positions, tuple):
                    wrong = [p for p in one.positions if not 0 <= p < n]
                    if wrong or not one.positions or len(set(one.positions)) < len(one.positions):
                        raise SteeringError(
                            f"an intervention names positions {one.positions}, the context has distinct indices "
                            f"0 to {n - 1}; count tokens from the start of the whole context"
                        )

    def edits(
        self, batch: Sequence[int], first: Sequence[int], n_columns: int | Sequence[int], skip: Sequence[int]
    ) -> list[Edit]:
        """Edits for a pass in which batch row b is context batch[b] and its column c is token first[b] + c.

        Columns below skip[b] are padding, and so are those from n_columns[b] on. The positions are counted as touched.
        """
        widths = [n_columns] * len(batch) if isinstance(n_columns, int) else n_columns
        made: list[Edit] = []
        for b, context in enumerate(batch):
            for k, one in enumerate(self.rows[context]):
                low, high = first[b] + skip[b], first[b] + widths[b]
                tokens = _tokens(one, low, high, self.prompt_lengths[context])
                if not tokens:
                    continue
                value = self._vectors[context][k]
                if value.dim() == 2:
                    named = {p: i for i, p in enumerate(one.positions)}
                    value = value[torch.tensor([named[t] for t in tokens])]
                columns = torch.tensor(tokens) - first[b]
                rows = torch.full_like(columns, b)
                made.append(Edit(one.kind, one.point, one.layer, rows, columns, value, one.scale))
                self.touched[context][k] += len(tokens)
        return made

    def checked(self) -> list[int]:
        """Positions touched per context, summed over its interventions. Raises SteeringError if one missed."""
        for row, counts in zip(self.rows, self.touched, strict=True):
            for one, count in zip(row, counts, strict=True):
                expected = len(one.positions) if isinstance(one.positions, tuple) else None
                if count == 0 or (expected is not None and count != expected):
                    raise SteeringError(
                        f"an intervention ({one.kind} at {one.point}.{one.layer}, positions {one.positions}) touched "
                        f"{count} positions, expected {expected if expected is not None else 'at least 1'}; "
                        "its result is not a steered one"
                    )
        return [sum(counts) for counts in self.touched]


def _tokens(one: Intervention, low: int, high: int, n_prompt: int) -> list[int]:
    if isinstance(one.positions, tuple):
        return [p for p in one.positions if low <= p < high]
    if one.positions == "prompt":
        high = min(high, n_prompt)
    elif one.positions == "generated":
        low = max(low, n_prompt - 1)
    return list(range(low, high))


def _vector(one: Intervention, d_model: int, n_layers: int) -> Tensor:
    """The vector in float32; that of a direction divided by its largest component, so that its length is in range."""
    vector = torch.as_tensor(one.vector, dtype=torch.float32).detach()
    many = len(one.positions) if one.kind == "patch" and isinstance(one.positions, tuple) else None
    shapes = [(d_model,)] if many is None else [(d_model,), (many, d_model)]
    if tuple(vector.shape) not in shapes:
        raise SteeringError(
            f"an intervention's vector has shape {tuple(vector.shape)}, the stream of this model takes "
            f"{' or '.join(map(str, shapes))}; give a vector that was made with this model"
        )
    wrong = int((~torch.isfinite(vector)).sum())
    if wrong or not math.isfinite(one.scale):
        raise SteeringError(
            f"an intervention has scale {one.scale} and a vector with {wrong} of {vector.numel()} values that are not "
            "finite; give finite ones"
        )
    if one.kind != "patch" and not bool(vector.any()):
        raise SteeringError(f"an intervention's vector is zero; {one.kind} needs a direction")
    if not 0 <= one.layer < n_layers:
        raise SteeringError(
            f"an intervention names layer {one.layer}, the model has layers 0 to {n_layers - 1}"
        )
    return vector if one.kind == "patch" else vector / vector.abs().max()
