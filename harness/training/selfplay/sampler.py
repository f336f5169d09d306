"""Answers to hundreds of prompts by batched forward passes, with a key-value cache for every context.

The draws are those of the hooked backend (`agents.backends.hooked.sampling`): a prompt has its own stream of random
numbers, so an answer depends only on its prompt and its seed, up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import torch
from torch import Tensor

from agents.backends.base import Generation, Prompt, check_prompt, next_choices
from agents.backends.hooked.sampling import generator_for, sample_row
from agents.models.classes import Cache
from harness.training.selfplay.learner import logits_at
from harness.training.selfplay.settings import SelfPlayError

SHRINK = 0.6
"""Finished rows leave the batch once at most this share of its rows is unfinished."""
SPARE = 64
"""Spare tokens in a new context's cache."""


class Kept(msgspec.Struct):
    """The keys and values of one context."""

    ids: list[int]
    """The cached tokens."""
    store: Tensor
    """Keys and values of every layer, `(n_layers, 2, n_kv_heads, n_tokens or more, head_dim)`."""


class Ragged(Cache):
    """A batch of contexts of different lengths as transformers' cache: token t of every row is at column t.

    memory: `(n_layers, 2, n_rows, n_kv_heads, width, head_dim)`; entries beyond a row's tokens are masked.
    """

    def __init__(self, memory: Tensor) -> None:
        super().__init__(layers=[])
        self.memory = memory
        self.rows = torch.arange(memory.shape[2], device=memory.device)[:, None]
        self.at, self.seen = self.rows, 0

    def to_write(self, at: Tensor, seen: int) -> None:
        """Set the columns that the next pass writes, `(n_rows, n_new)`, and how many it reads."""
        self.at, self.seen = at, seen

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> Any:
        """Write a layer's new keys and values, `(n_rows, n_kv_heads, n_new, head_dim)`; returns all that the pass
        reads."""
        keys, values = self.memory[layer_idx]
        for held, states in ((keys, key_states), (values, value_states)):
            held[self.rows, :, self.at] = states.transpose(1, 2)
        return keys[:, :, : self.seen], values[:, :, : self.seen]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Columns that the next pass reads."""
        return self.seen


class Row(msgspec.Struct):
    """One prompt in progress."""

    prompt: Prompt
    generator: Any
    stops: frozenset[int]
    n_kept: int
    output: list[int] = []
    logprobs: list[float] = []
    finish: str = ""

    def take(self, logprobs: Tensor) -> None:
        """Draw the next token from log-probabilities `(n_words,)`."""
        sampling = self.prompt.sampling
        allowed = next_choices(sampling.choices, self.output) if sampling.choices else None
        token = sample_row(logprobs, sampling, self.generator, allowed)
        self.output.append(token)
        self.logprobs.append(float(logprobs[token]))
        if sampling.choices:
            self.finish = "" if next_choices(sampling.choices, self.output) else "choice"
        elif token in self.stops:
            self.finish = "stop"
        elif len(self.output) >= sampling.max_tokens:
            self.finish = "length"


class Sampler:
    """A causal language model that answers prompts in large batches."""

    def __init__(
        self,
        model: Any,
        name: str,
        *,
        tokenizer: Any,
        eos: Sequence[int] = (),
        batch_tokens: int = 4096,
        batch_rows: int = 96,
    ) -> None:
        """model: of transformers, or peft around one. Raises SelfPlayError for attention that sees only a window."""
        config = model.config.get_text_config()
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        if kinds != {"full_attention"}:
            raise SelfPlayError(
                f"{name} has layers of the kinds {', '.join(sorted(kinds))}; rollouts need full attention in all"
            )
        self.model, self.name, self.tokenizer = model, name, tokenizer
        self.eos = frozenset(eos)
        self.batch_tokens, self.batch_rows = batch_tokens, batch_rows
        self.max_context = int(config.max_position_embeddings)
        self.n_words = int(config.vocab_size)
        self.head_dim = int(
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        n_heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        self.n_layers, self.n_heads = int(config.num_hidden_layers), int(n_heads)
        parameter = next(model.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype
        self.n_tokens = 0
        """Tokens computed so far, without padding."""
        self._kept: dict[str, Kept] = {}
        self._memory = torch.zeros(0, dtype=self.dtype, device=self.device)

    def forget(self, game_id: str | None = None) -> None:
        """Drop the cached contexts of one game, or of all, which a change of the weights invalidates."""
        for session in [s for s in self._kept if game_id is None or s.startswith(f"{game_id}/")]:
            del self._kept[session]

    @torch.inference_mode()
    def answer(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """Answer all prompts, in order."""
        rows = []
        for prompt in prompts:
            check_prompt(prompt, self.max_context, self.n_words)
            stops = frozenset((*prompt.sampling.stop_ids, *self.eos))
            rows.append(Row(prompt, generator_for(prompt.sampling), stops, self._prefix(prompt)))
        for batch in self._batches(rows):
            self._decode(batch)
        return [self._generation(row) for row in rows]

    def _prefix(self, prompt: Prompt) -> int:
        """How many leading tokens of a prompt are cached; at least one must be computed."""
        kept = self._kept.get(prompt.session or "")
        if kept is None:
            return 0
        n = min(len(kept.ids), len(prompt.ids) - 1)
        if list(prompt.ids[:n]) == kept.ids[:n]:
            return n
        return next(i for i in range(n) if prompt.ids[i] != kept.ids[i])

    def _batches(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Batches of rows with similar numbers of new tokens."""
        batches: list[list[Row]] = []
        for row in sorted(rows, key=lambda row: len(row.prompt.ids) - row.n_kept):
            n_new = len(row.prompt.ids) - row.n_kept
            full = not batches or len(batches[-1]) >= self.batch_rows
            if full or (len(batches[-1]) + 1) * n_new > self.batch_tokens:
                batches.append([])
            batches[-1].append(row)
        return batches

    def _decode(self, rows: list[Row]) -> None:
        """Prefill the prompts of one batch and sample its answers."""
        room = max(
            len(row.prompt.ids) + max((len(c) for c in row.prompt.sampling.choices), default=0)
            + (0 if row.prompt.sampling.choices else row.prompt.sampling.max_tokens)
            for row in rows
        )  # fmt: skip
        memory = self._fill(rows, room + 1)
        n_new = max(len(row.prompt.ids) - row.n_kept for row in rows)
        ids, at = torch.zeros(len(rows), n_new, dtype=torch.long), torch.full((len(rows), n_new), room)
        for i, row in enumerate(rows):
            new = row.prompt.ids[row.n_kept :]
            ids[i, : len(new)] = torch.tensor(new)
            at[i, : len(new)] = torch.arange(row.n_kept, len(row.prompt.ids))
        last = torch.tensor([len(row.prompt.ids) - row.n_kept - 1 for row in rows])
        self.n_tokens += sum(len(row.prompt.ids) - row.n_kept for row in rows)
        active = rows
        while True:
            seen = max(len(row.prompt.ids) + len(row.output) for row in active)
            logprobs = self._forward(memory, ids, at, last, seen)
            for row, each in zip(active, logprobs, strict=True):
                if not row.finish:
                    row.take(each)
            left = [i for i, row in enumerate(active) if not row.finish]
            if len(left) <= SHRINK * len(active):
                for i, row in enumerate(active):
                    if row.finish:
                        self._keep(row, memory[:, :, i])
                if not left:
                    return
                for j, i in enumerate(left):
                    if i > j:
                        memory[:, :, j].copy_(memory[:, :, i])
                active, memory = [active[i] for i in left], memory[:, :, : len(left)]
            ids = torch.tensor([[row.output[-1]] for row in active])
            # A finished row only waits: its input goes to a column that nobody reads.
            at = torch.tensor(
                [[room if row.finish else len(row.prompt.ids) + len(row.output) - 1] for row in active]
            )
            last = torch.zeros(len(active), dtype=torch.long)
            self.n_tokens += len(left)

    def _forward(self, memory: Tensor, ids: Tensor, at: Tensor, last: Tensor, seen: int) -> Tensor:
        """Log-probabilities `(n_rows, n_words)` float32 on the CPU after token `last` of each row."""
        at = at.to(self.device)
        cache = Ragged(memory)
        cache.to_write(at, seen)
        columns = torch.arange(seen, device=self.device)
        lowest = torch.finfo(self.dtype).min
        mask = torch.zeros(len(ids), 1, ids.shape[1], seen, dtype=self.dtype, device=self.device)
        mask.masked_fill_((columns[None, None, :] > at[:, :, None])[:, None], lowest)
        logits = logits_at(
            self.model,
            cache.rows[:, 0],
            last.to(self.device),
            input_ids=ids.to(self.device),
            attention_mask=mask,
            position_ids=at,
            past_key_values=cache,
            use_cache=True,
        )
        logprobs: Tensor = torch.log_softmax(logits, -1).cpu()
        if bool(torch.isnan(logprobs).any()):
            raise SelfPlayError(
                f"{self.name} gives NaN instead of probabilities: the steps were too large; go on from an earlier "
                "checkpoint with a lower optimiser.learning_rate"
            )
        return logprobs

    def _fill(self, rows: Sequence[Row], width: int) -> Tensor:
        """Memory for a batch, filled with each row's cache. The buffer is reused: an earlier batch's leftovers beyond
        a row's tokens are masked, and finite."""
        shape = (self.n_layers, 2, len(rows), self.n_heads, width, self.head_dim)
        size = math.prod(shape)
        if len(self._memory) < size:
            self._memory = torch.zeros(size * 5 // 4, dtype=self.dtype, device=self.device)
        memory = self._memory[:size].view(shape)
        for i, row in enumerate(rows):
            if row.n_kept:
                kept = self._kept[row.prompt.session or ""]
                memory[:, :, i, :, : row.n_kept] = kept.store[..., : row.n_kept, :]
        return memory

    def _keep(self, row: Row, memory: Tensor) -> None:
        """Cache a row's keys and values, without its last token, which was not computed yet."""
        session = row.prompt.session
        if session is None:
            return
        ids = [*row.prompt.ids, *row.output[:-1]]
        kept = self._kept.get(session)
        if kept is None or kept.store.shape[3] < len(ids):
            old, n = kept, len(ids) + SPARE if kept is None else max(len(ids), kept.store.shape[3] * 3 // 2)
            shape = (self.n_layers, 2, self.n_heads, n, self.head_dim)
            kept = Kept([], torch.empty(shape, dtype=self.dtype, device=self.device))
            if old is not None:
                kept.store[..., : row.n_kept, :] = old.store[..., : row.n_kept, :]
            self._kept[session] = kept
        kept.store[..., row.n_kept : len(ids), :] = memory[..., row.n_kept : len(ids), :]
        kept.ids = ids

    def _generation(self, row: Row) -> Generation:
        shown = row.output[:-1] if row.finish == "stop" else row.output
        return Generation(
            output_ids=tuple(row.output),
            text=self.tokenizer.decode(shown, skip_special_tokens=False, clean_up_tokenization_spaces=False),
            logprobs=tuple(row.logprobs),
            n_cached=row.n_kept,
            finish_reason=row.finish,
        )
