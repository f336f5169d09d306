"""Exact answer probabilities of many changed versions of one moment, with shared work done once.

The versions of a moment (arms) share most of their tokens, and, where a direction is added at a layer, everything
below that layer. So the shared context is computed once into a key-value cache; all that differs is packed after it
in one sequence, under a mask in which each token attends to the shared context up to where its own version branches
off, and to its own ancestors. Each version's answers form a tree of tokens below it. Versions with a change at layer
L begin at layer L + 1, from the unchanged streams with the change added: the layers below are not run again.

`plain.py` computes the same by a forward pass for each version; `exact` compares the two on given questions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agents.hooks.hooks import Edit, Hooks, Points, Reads
from agents.hooks.model import HookedModel
from harness.experiment.scoring.plain import PlainScorer
from harness.experiment.scoring.questions import (
    ANSWER_FLOOR,
    Ask,
    Scores,
    Trie,
    chunks,
    common,
    tokens_of,
    trie_of,
)


def packs(hooked: HookedModel) -> bool:
    """Whether a model's attention is full in every layer, so that one mask serves all of them."""
    config: Any = hooked.model.config
    text = config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    window = getattr(text, "sliding_window", None) and getattr(text, "use_sliding_window", True)
    return kinds == {"full_attention"} and not window


@dataclass
class _Group:
    """Questions with the same prompt and answers, which differ only in their edits."""

    ids: tuple[int, ...]
    trie: Trie
    at: int
    """Index of the first own token; tokens before it come from the shared context."""
    asks: list[int] = field(default_factory=list)


@dataclass
class _Nodes:
    """Tokens of one packed pass."""

    tokens: list[int] = field(default_factory=list)
    depth: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    """Index in this pass, -1 where the parent is in the cache."""
    shared: list[int] = field(default_factory=list)
    """How many leading tokens of the shared context each node attends to."""
    seen: list[tuple[int, int]] = field(default_factory=list)
    """A stretch (start, end) of further cached tokens that each sees."""

    def add(self, token: int, depth: int, parent: int, shared: int, seen: tuple[int, int] = (0, 0)) -> int:
        self.tokens.append(token)
        self.depth.append(depth)
        self.parents.append(parent)
        self.shared.append(shared)
        self.seen.append(seen)
        return len(self.tokens) - 1


class PackedScorer:
    """Scores the questions of one moment after the other; contexts that extend each other share their cache.

    Enters `torch.inference_mode()` itself; not thread-safe.
    """

    def __init__(self, hooked: HookedModel, max_nodes: int = 640) -> None:
        """max_nodes: tokens of one packed pass."""
        self.hooked, self.max_nodes = hooked, max_nodes
        self._ids: tuple[int, ...] = ()
        self._cache: Any = None
        self._head, _, self._list = hooked.layout.where.rpartition(".")
        self.n_tokens = 0
        """Tokens computed so far; tokens of packed passes are weighted by the share of layers that ran."""

    def forget(self) -> None:
        """Drop the cache: the next moment is computed from scratch."""
        self._ids, self._cache = (), None

    @torch.inference_mode()
    def score(self, asks: Sequence[Ask]) -> Scores:
        """The log-probability (nats) of every answer of every question under the model's own distribution."""
        found: list[Any] = [None] * len(asks)
        groups = self._groups(asks)
        self._read_context(asks[0].ids, max(g.at for g in groups))
        for part in chunks(_sizes(groups, asks), self.max_nodes):
            self._score_groups(groups[part], asks, found)
        return found

    @torch.inference_mode()
    def streams(self, ids: Sequence[int], positions: Sequence[int], layers: Sequence[int]) -> Tensor:
        """The residual stream after some layers at some tokens of a context: float32 (n_positions, n_layers, d)."""
        start = min(positions)
        self._read_context(tuple(ids), start)
        nodes = _Nodes()
        for depth in range(start, max(positions) + 1):
            nodes.add(ids[depth], depth, depth - start - 1, start)
        read = self._forward(nodes, [len(nodes.tokens) - 1], tuple(sorted(set(layers))))[1]
        self._crop(len(self._ids))
        order = [sorted(set(layers)).index(layer) for layer in layers]
        return read[torch.tensor([p - start for p in positions])][:, order].float().cpu()

    def _groups(self, asks: Sequence[Ask]) -> list[_Group]:
        root = asks[0].ids
        groups: dict[tuple[Any, Any], _Group] = {}
        for i, ask in enumerate(asks):
            key = (ask.ids, ask.choices)
            if key not in groups:
                groups[key] = _Group(ask.ids, trie_of(ask.choices), min(common(root, ask.ids), ask.first))
            group = groups[key]
            group.at = min(group.at, ask.first)
            group.asks.append(i)
        return list(groups.values())

    def _read_context(self, ids: tuple[int, ...], n: int) -> None:
        """Make the cache hold exactly the first n tokens of `ids`."""
        from transformers import DynamicCache

        kept = min(common(self._ids, ids), n)
        if self._cache is None or kept == 0:
            self._cache, kept = DynamicCache(), 0
        self._crop(kept)
        if n > kept:
            device = self.hooked.device
            model: Any = self.hooked.model
            model(
                input_ids=torch.tensor([ids[kept:n]], device=device),
                position_ids=torch.arange(kept, n, device=device)[None],
                past_key_values=self._cache, use_cache=True, logits_to_keep=1,
            )  # fmt: skip
            self.n_tokens += n - kept
        self._ids = ids[:n]

    def _crop(self, n: int) -> None:
        for layer in self._cache.layers if self._cache is not None else ():
            if layer.is_initialized and layer.keys.shape[-2] > n:
                layer.keys, layer.values = layer.keys[..., :n, :], layer.values[..., :n, :]

    def _score_groups(self, groups: Sequence[_Group], asks: Sequence[Ask], found: list[Any]) -> None:
        nodes, chains = _Nodes(), []
        known: dict[tuple[int, int], int] = {}
        for group in groups:
            chain = [-1] * (len(group.ids) - group.at)
            alone = _edited(group, asks)  # its tokens are contiguous, which edits rely on
            for k, depth in enumerate(range(group.at, len(group.ids))):
                parent, token = chain[k - 1] if k else -1, group.ids[depth]
                key = (parent if k else -1 - group.at, token)
                if alone or key not in known:
                    known[key] = nodes.add(token, depth, parent, group.at)
                chain[k] = known[key]
            chains.append((chain, self._add_trie(nodes, group, chain[-1], group.at)))
        edited = sorted(
            {a.layer for g in groups for a in map(asks.__getitem__, g.asks) if a.layer is not None}
        )
        wanted = sorted({chain[-1] for chain, _ in chains} | {i for _, tree in chains for i in tree})
        logprobs, streams = self._forward(nodes, wanted, tuple(edited))
        row = {node: i for i, node in enumerate(wanted)}
        for group, (chain, tree) in zip(groups, chains, strict=True):
            plain = _along(group.trie, [row[chain[-1]], *(row[i] for i in tree)], logprobs)
            for i in group.asks:
                if asks[i].layer is None:
                    found[i] = plain
        for place, layer in enumerate(edited):
            rows = [
                (i, group, at)
                for group, at in zip(groups, chains, strict=True)
                for i in group.asks
                if asks[i].layer == layer
            ]
            sizes = [len(g.ids) - asks[i].first + len(g.trie.tokens) for i, g, _ in rows]
            for part in chunks(sizes, self.max_nodes):
                self._score_edited(rows[part], asks, layer, streams[:, place], found)
        self._crop(len(self._ids))

    def _score_edited(
        self, rows: Sequence[tuple[int, _Group, Any]], asks: Sequence[Ask], layer: int, streams: Tensor,
        found: list[Any],
    ) -> None:  # fmt: skip
        """The questions with edits at one layer, from the unedited streams after it."""
        base = len(self._ids)
        nodes, source, edits, trees = _Nodes(), [], [], []
        for i, group, (chain, tree) in rows:
            ask = asks[i]
            # the group's unedited tokens before the first edit follow the shared context in the cache
            seen = (base + chain[0], base + chain[0] + ask.first - group.at)
            mine: dict[int, int] = {}
            for depth in range(ask.first, len(group.ids)):
                parent = mine.get(depth - 1, -1)
                mine[depth] = nodes.add(0, depth, parent, group.at, seen)
                source.append(chain[depth - group.at])
            end = mine[len(group.ids) - 1]
            trees.append([end, *self._add_trie(nodes, group, end, group.at, seen)])
            source += tree
            for edit in ask.edits:
                at = torch.tensor([mine[p] for p in tokens_of(edit)])
                value = torch.as_tensor(edit.vector, dtype=torch.float32)
                edits.append(
                    Edit(edit.kind, "resid_post", layer, torch.zeros_like(at), at, value, edit.scale)
                )
        stream = streams[torch.tensor(source)].clone()
        for one in edits:
            stream[one.columns] = one.apply(stream[one.columns])
        wanted = sorted({i for tree in trees for i in tree})
        logprobs, _ = self._forward(nodes, wanted, (), stream, layer + 1)
        row = {node: k for k, node in enumerate(wanted)}
        for (i, group, _), tree in zip(rows, trees, strict=True):
            found[i] = _along(group.trie, [row[node] for node in tree], logprobs)

    def _add_trie(
        self, nodes: _Nodes, group: _Group, last: int, shared: int, seen: tuple[int, int] = (0, 0)
    ) -> list[int]:
        made: list[int] = []
        for token, parent in zip(group.trie.tokens, group.trie.parents, strict=True):
            above = last if parent < 0 else made[parent]
            made.append(nodes.add(token, nodes.depth[above] + 1, above, shared, seen))
        return made

    def _forward(
        self, nodes: _Nodes, wanted: Sequence[int], layers: tuple[int, ...], stream: Tensor | None = None,
        first: int = 0,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """One packed pass from layer `first` on: log-probabilities (n_wanted, vocab), streams (n_nodes, n_layers, d).

        stream: (n_nodes, d_model) after layer `first` - 1, None: from the tokens.
        """
        device, n = self.hooked.device, len(nodes.tokens)
        n_cached = self._n_cached(first)
        inputs: dict[str, Any] = (
            {"input_ids": torch.tensor([nodes.tokens], device=device)}
            if stream is None
            else {"inputs_embeds": stream[None]}
        )
        model: Any = self.hooked.model
        points = Points(layers or (0,))
        hooks = Hooks(self.hooked.layout, points)
        with hooks.attached() if layers else nullcontext(), self._from_layer(first):
            if layers:
                index = torch.arange(n, device=device)
                hooks.plan(Reads(torch.zeros_like(index), index, index, n))
            out = model(
                **inputs, attention_mask=_mask(nodes, n_cached, len(self._ids)).to(device),
                position_ids=torch.tensor([nodes.depth], device=device), past_key_values=self._cache,
                use_cache=True, logits_to_keep=torch.tensor(list(wanted), device=device),
            )  # fmt: skip
            read = hooks.take() if layers else torch.empty(0)
        depth = self.hooked.layout.n_layers
        self.n_tokens += round(n * (depth - first) / depth)
        if first:
            self._crop_from(first, n_cached)
        return torch.log_softmax(out.logits[0].float(), dim=-1).cpu(), read

    def _n_cached(self, first: int) -> int:
        layers = self._cache.layers
        if not layers or first >= self.hooked.layout.n_layers:
            return len(self._ids)
        return int(layers[first].keys.shape[-2]) if layers[first].is_initialized else 0

    def _crop_from(self, first: int, n: int) -> None:
        for layer in self._cache.layers[first:]:
            layer.keys, layer.values = layer.keys[..., :n, :], layer.values[..., :n, :]

    @contextmanager
    def _from_layer(self, first: int) -> Iterator[None]:
        """The model without its layers before `first`, inside the context manager."""
        if first == 0:
            yield
            return
        decoder = self.hooked.layout.decoder
        whole = getattr(decoder, self._list)
        setattr(decoder, self._list, nn.ModuleList(list(whole)[first:]))
        try:
            yield
        finally:
            setattr(decoder, self._list, whole)


def _edited(group: _Group, asks: Sequence[Ask]) -> bool:
    return any(asks[i].layer is not None for i in group.asks)


def _sizes(groups: Sequence[_Group], asks: Sequence[Ask]) -> list[int]:
    """How many tokens each group adds to a pass after the previous group, with which it may share a prefix."""
    sizes = []
    for before, group in zip((None, *groups), groups, strict=False):
        start = group.at
        if before is not None and before.at == start and not _edited(group, asks):
            start = max(start, common(before.ids, group.ids))
        sizes.append(len(group.ids) - start + len(group.trie.tokens))
    return sizes


def _mask(nodes: _Nodes, n_cached: int, n_shared: int) -> Tensor:
    """The attention mask, bool (1, 1, n_nodes, n_cached + n_nodes)."""
    n = len(nodes.tokens)
    mask = np.zeros((n, n_cached + n), dtype=bool)
    own = mask[:, n_cached:]
    place = np.arange(n_cached)
    shared = np.minimum(np.array(nodes.shared), n_shared)
    mask[:, :n_cached] = place[None] < shared[:, None]
    for i, (parent, (start, end)) in enumerate(zip(nodes.parents, nodes.seen, strict=True)):
        if parent >= 0:
            own[i] = own[parent]
        own[i, i] = True
        if end > start:
            mask[i, start:end] = True
    return torch.from_numpy(mask)[None, None]


def _along(trie: Trie, rows: Sequence[int], logprobs: Tensor) -> Any:
    """The log-probability of each answer; rows[0] is that of the prompt's last token, rows[1 + k] of node k."""
    totals = [sum(float(logprobs[rows[node + 1], token]) for node, token in path) for path in trie.paths]
    return np.maximum(np.array(totals), ANSWER_FLOOR)


def make_scorer(hooked: HookedModel, probe: Sequence[Ask], tolerance: float = 1e-3) -> tuple[Any, float]:
    """(the packed scorer, its largest difference from plain passes on `probe`), or the plain one where a model's
    attention cannot be packed or its packed answers differ by more than `tolerance` nats."""
    plain = PlainScorer(hooked)
    if not packs(hooked):
        return plain, 0.0
    packed = PackedScorer(hooked)
    try:
        off = max(
            float(np.abs(a - b)[np.maximum(a, b) > -20].max(initial=0.0))
            for a, b in zip(packed.score(probe), plain.score(probe), strict=True)
        )
    except (RuntimeError, TypeError, ValueError, AttributeError):
        return plain, 0.0
    packed.forget()
    return (packed, off) if off <= tolerance else (plain, off)
