"""Read and edit the residual stream while a model runs.

`Hooks` is attached once and planned before each forward pass: which (row, column) positions of the batch to read,
which to edit. Edits come before reads, so what is recorded is what the next layer saw. Reading gathers only the
planned positions, so its cost does not grow with the context. A plan holds for one forward pass and is then spent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from agents.hooks.intervention import Point, SteeringError
from agents.hooks.layers import DecoderLayout, LayerSpec, select_layers


@dataclass(frozen=True)
class Points:
    """Which streams to read, in row order: embed, resid_post of each layer, attn_out, mlp_out."""

    layers: tuple[int, ...]
    resid_post: bool = True
    embed: bool = False
    attn_out: bool = False
    mlp_out: bool = False

    def rows(self) -> tuple[tuple[Point, int], ...]:
        """(point, layer) of each row; `embed` has layer 0, where it enters."""
        chosen: list[tuple[Point, int]] = [("embed", 0)] if self.embed else []
        if self.resid_post:
            chosen += [("resid_post", i) for i in self.layers]
        if self.attn_out:
            chosen += [("attn_out", i) for i in self.layers]
        if self.mlp_out:
            chosen += [("mlp_out", i) for i in self.layers]
        return tuple(chosen)

    def names(self) -> tuple[str, ...]:
        """`embed`, `resid_post.0`, ..., `attn_out.0`, ..., `mlp_out.0`, ...: the names in the store."""
        return tuple("embed" if point == "embed" else f"{point}.{layer}" for point, layer in self.rows())


def choose_points(
    layout: DecoderLayout,
    layers: LayerSpec = "all",
    *,
    resid_post: bool = True,
    embed: bool = False,
    attn_out: bool = False,
    mlp_out: bool = False,
) -> Points:
    """Points for a model; raises ValueError when nothing is chosen or the model lacks what is asked for."""
    points = Points(select_layers(layers, layout.n_layers), resid_post, embed, attn_out, mlp_out)
    if not points.rows():
        raise ValueError("no stream was chosen; switch on resid_post, embed, attn_out or mlp_out")
    for point, layer in points.rows():
        _module(layout, point, layer)
    return points


def named_points(layout: DecoderLayout, names: Sequence[str]) -> Points:
    """Points from words, as a configuration gives them: `all`, layer numbers (`3`), fractions of the depth (`0.5`),
    `embed`, `attn_out`, `mlp_out`. Raises ValueError naming the word that means nothing.
    """
    layers: list[int | float] = []
    for name in names:
        if name in ("all", "embed", "attn_out", "mlp_out"):
            continue
        try:
            layers.append(float(name) if "." in name else int(name))
        except ValueError:
            raise ValueError(
                f"layer '{name}' is not known; give all, a number from 0 to {layout.n_layers - 1}, a fraction such as "
                "0.5, embed, attn_out or mlp_out"
            ) from None
    whole = "all" in names or not layers
    return choose_points(
        layout,
        "all" if whole else layers,
        resid_post=whole is False or "all" in names or not {"attn_out", "mlp_out", "embed"} & set(names),
        embed="embed" in names,
        attn_out="attn_out" in names,
        mlp_out="mlp_out" in names,
    )


def configured_points(layout: DecoderLayout, names: Sequence[str]) -> Points:
    """As `named_points`; `all` alone includes the embeddings. Raises ValueError."""
    if tuple(names) == ("all",):
        return choose_points(layout, embed=True)
    return named_points(layout, names)


@dataclass(frozen=True)
class Reads:
    """Positions to read in one forward pass. Positions of the same slot are averaged."""

    rows: Tensor
    """int64 (n_positions,): index in the batch."""
    columns: Tensor
    """int64 (n_positions,): index in the input of this pass."""
    slots: Tensor
    """int64 (n_positions,): 0 <= slot < n_slots, each slot at least once."""
    n_slots: int


@dataclass(frozen=True)
class Edit:
    """One change of the stream at some positions of a batch, in one forward pass."""

    kind: Literal["add", "ablate", "patch"]
    point: Point
    layer: int
    rows: Tensor
    columns: Tensor
    value: Tensor
    """(d_model,), or (n_positions, d_model) for a patch."""
    scale: float = 1.0

    def apply(self, stream: Tensor) -> Tensor:
        """`stream` (n_positions, d_model) changed.

        add: h + scale * |h| * v/|v|, the norm being that of each position; ablate: h - scale * (h.v/|v|) v/|v|;
        patch: v. Computed in float32.
        """
        h = stream.float()
        value = self.value.to(device=h.device, dtype=torch.float32)
        if self.kind == "patch":
            return value.expand_as(h).to(stream.dtype)
        unit = value / value.norm()
        if self.kind == "add":
            h = h + self.scale * h.norm(dim=-1, keepdim=True) * unit
        else:
            h = h - self.scale * (h @ unit).unsqueeze(-1) * unit
        return h.to(stream.dtype)


class _Enough(Exception):
    """All planned layers have been read; the rest of the model need not run."""


class Hooks:
    """Hooks on one model. Use inside `with hooks.attached():`; not for several threads at once."""

    def __init__(self, layout: DecoderLayout, points: Points, *, editing: bool = False) -> None:
        """editing: also hook every layer for edits, not only those of `points`."""
        self.layout = layout
        self.points = points
        self._row_of = {key: i for i, key in enumerate(points.rows())}
        wanted: set[tuple[Point, int]] = set(self._row_of)
        if editing:
            wanted.add(("embed", 0))
            for i in range(layout.n_layers):
                wanted |= {("resid_post", i), ("attn_out", i)}
                if layout.mlp[i] is not None:
                    wanted.add(("mlp_out", i))
        self._wanted = sorted(wanted)
        self._last = max((layer for point, layer in self._row_of), default=0)
        self._reads: Reads | None = None
        self._counts: Tensor | None = None
        self._edits: dict[tuple[Point, int], list[Edit]] = {}
        self._out: Tensor | None = None
        self._stop_early = False
        self._planned = 0
        self.touched = 0
        """Positions edited since the last plan."""

    @contextmanager
    def attached(self) -> Iterator[Hooks]:
        """Register the hooks, and remove them at the end whatever happens."""
        handles = [self._attach(point, layer) for point, layer in self._wanted]
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def plan(self, reads: Reads | None, edits: Sequence[Edit] = (), *, stop_early: bool = False) -> None:
        """Say what the next forward pass must read and edit.

        stop_early: end that pass after the last layer read (use `run`, which expects it).
        """
        self._reads, self._out, self.touched = reads, None, 0
        self._counts = None
        if reads is not None and len(reads.slots) != reads.n_slots:
            ones = torch.ones(len(reads.slots), device=reads.slots.device)
            self._counts = torch.zeros(reads.n_slots, device=reads.slots.device).index_add_(
                0, reads.slots, ones
            )
        self._edits = {}
        for edit in edits:
            self._edits.setdefault((edit.point, edit.layer), []).append(edit)
        unknown = set(self._edits) - set(self._wanted)
        if unknown:
            raise ValueError(f"edits at {sorted(unknown)} have no hook there; make Hooks with editing=True")
        self._planned = sum(len(edit.rows) for edit in edits)
        self._stop_early = stop_early and reads is not None

    def check_touched(self) -> None:
        """Raises SteeringError where the pass that was planned last did not make every edit."""
        if self.touched != self._planned:
            raise SteeringError(
                f"{self.touched} positions were edited, {self._planned} were planned: the pass ended before the layer "
                "that is steered, or its hook did not run"
            )

    def run(self, module: nn.Module, **inputs: Any) -> None:
        """A forward pass for its reads alone; the output of `module` is thrown away."""
        with suppress(_Enough):
            module(**inputs)

    def take(self) -> Tensor:
        """What was read: (n_slots, n_points, d_model), the model's dtype (float32 where averaged), its device."""
        if self._out is None:
            raise RuntimeError("nothing was read: plan reads, run the model inside attached(), then take")
        out, self._out, self._reads = self._out, None, None
        return out

    def _attach(self, point: Point, layer: int) -> Any:
        key = (point, layer)
        module = _module(self.layout, point, layer)
        if point == "embed":

            def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
                if args:
                    stream = self._visit(key, args[0])
                    return None if stream is args[0] else ((stream, *args[1:]), kwargs)
                stream = self._visit(key, kwargs["hidden_states"])
                return (
                    None if stream is kwargs["hidden_states"] else (args, kwargs | {"hidden_states": stream})
                )

            return module.register_forward_pre_hook(before, with_kwargs=True)

        def after(_: nn.Module, args: Any, output: Any) -> Any:
            first = output[0] if isinstance(output, tuple) else output
            stream = self._visit(key, first)
            if stream is first:
                return None
            return (stream, *output[1:]) if isinstance(output, tuple) else stream

        return module.register_forward_hook(after)

    def _visit(self, key: tuple[Point, int], stream: Tensor) -> Tensor:
        """Edit, then read; returns the same tensor object if nothing was edited."""
        edits = self._edits.get(key)
        if edits:
            stream = stream.clone()
            for edit in edits:
                rows, columns = edit.rows.to(stream.device), edit.columns.to(stream.device)
                stream[rows, columns] = edit.apply(stream[rows, columns])
                self.touched += len(edit.rows)
        row = self._row_of.get(key)
        if row is not None and self._reads is not None:
            reads = self._reads
            if stream.dim() == 2:  # some blocks flatten batch and time
                raise RuntimeError(
                    f"the stream at {key} has shape {tuple(stream.shape)}, expected 3 dimensions"
                )
            picked = stream[reads.rows, reads.columns]
            if self._counts is not None:
                total = torch.zeros(reads.n_slots, picked.shape[1], device=picked.device)
                picked = total.index_add_(0, reads.slots, picked.float()) / self._counts.unsqueeze(1)
            if self._out is None:
                shape = (reads.n_slots, len(self._row_of), picked.shape[1])
                self._out = torch.empty(shape, dtype=picked.dtype, device=picked.device)
            if self._counts is not None:
                self._out[:, row] = picked
            else:
                self._out[reads.slots, row] = picked
            # attn_out and mlp_out of a layer come before its resid_post
            if self._stop_early and key[1] == self._last and self._is_last(key):
                raise _Enough
        return stream

    def _is_last(self, key: tuple[Point, int]) -> bool:
        order: tuple[Point, ...] = ("embed", "attn_out", "mlp_out", "resid_post")
        return all(order.index(p) <= order.index(key[0]) for p, layer in self._row_of if layer == key[1])


def _module(layout: DecoderLayout, point: Point, layer: int) -> nn.Module:
    if point in ("embed", "resid_post"):
        return layout.layers[layer]
    if point == "attn_out":
        return layout.attention[layer]
    module = layout.mlp[layer]
    if module is None:
        raise ValueError(
            f"block {layer} of {layout.where} has no MLP submodule; mlp_out cannot be read there"
        )
    return module
