"""Generate for one batch of prompts with a hooked model: one prefill, then a step per token.

Rows leave the batch as they finish. Capture reads prompt sites during the prefill and output sites during the
steps; a row whose output is captured stays one step longer, so that its last token is seen too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from agents.backends.base import (
    OUTPUT_LAST,
    OUTPUT_MEAN,
    OUTPUT_SITES,
    OUTPUT_TOKENS,
    Generation,
    ModelBroken,
    Prompt,
    next_choices,
)
from agents.backends.hooked.sampling import generator_for, sample_row
from agents.backends.hooked.session_cache import Aligned, LayerKV, SessionCache, align, keep_rows, row_layers
from agents.hooks.broken import where_not_a_number
from agents.hooks.hooks import Hooks, Reads
from agents.hooks.model import HookedModel
from agents.hooks.steering import Intervention, Steering


@dataclass
class _Row:
    """State of one prompt during decoding."""

    prompt: Prompt
    generator: torch.Generator
    stops: frozenset[int]
    n_cached: int
    output: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    read: tuple[float, ...] = ()
    option_mass: float = 1.0
    finish: str | None = None
    sites: dict[str, Tensor] = field(default_factory=dict)
    total: Tensor | None = None
    n_read: int = 0
    each: list[Tensor] = field(default_factory=list)

    @property
    def reads_output(self) -> bool:
        capture = self.prompt.capture
        return capture is not None and any(site in capture.sites for site in OUTPUT_SITES)

    def take(self, logprobs: Tensor) -> None:
        """Choose the next token from (vocab,) log-probabilities."""
        sampling = self.prompt.sampling
        allowed = next_choices(sampling.choices, self.output) if sampling.choices else None
        token = sample_row(logprobs, sampling, self.generator, allowed)
        if allowed is not None:
            self.option_mass *= float(logprobs[list(allowed)].logsumexp(0).exp())
        if sampling.read and not self.output:
            self.read = tuple(float(logprobs[i]) for i in sampling.read)
        self.output.append(token)
        self.logprobs.append(float(logprobs[token]))
        if sampling.choices:
            if not next_choices(sampling.choices, self.output):
                self.finish = "choice"
        elif token in self.stops:
            self.finish = "stop"
        elif len(self.output) >= sampling.max_tokens:
            self.finish = "length"


@torch.inference_mode()
def decode(
    hooked: HookedModel,
    hooks: Hooks,
    prompts: Sequence[Prompt],
    sessions: SessionCache,
    interventions: Sequence[Sequence[Intervention]] | None = None,
) -> list[Generation]:
    """Answer a batch; `hooks` must be attached. Raises SteeringError when an intervention missed, ModelBroken at the
    first NaN.

    A steered prompt neither uses nor stores cached keys and values, which differ from those of an unsteered stream.
    """
    steered = [list(row) for row in interventions] if interventions else [[] for _ in prompts]
    steering = Steering(steered, [len(p.ids) for p in prompts], hooked.layout.d_model, hooked.layout.n_layers)
    contexts = [p.ids for p in prompts]
    reusable = [
        0 if steered[i] else min(sessions.prefix(p.session, p.ids), _first_site(p))
        for i, p in enumerate(prompts)
    ]
    entries: list[LayerKV | None] = [
        sessions.layers(p.session) if n and p.session is not None else None
        for p, n in zip(prompts, reusable, strict=True)
    ]
    batch = align(contexts, reusable, entries, hooked.device)
    rows = [
        _Row(p, generator_for(p.sampling), frozenset((*p.sampling.stop_ids, *hooked.eos)), batch.cached[i])
        for i, p in enumerate(prompts)
    ]
    logits = _prefill(hooked, hooks, batch, rows, steering)
    active = list(range(len(rows)))
    mask, cache = batch.attention_mask, batch.cache
    while True:
        logprobs = torch.log_softmax(logits.float(), dim=-1).cpu()
        if bool(torch.isnan(logprobs).any()):
            b = int(torch.isnan(logprobs).any(dim=-1).nonzero()[0])
            row = rows[active[b]]
            where = where_not_a_number(hooked, (*row.prompt.ids, *row.output))
            raise ModelBroken(
                f"{hooked.name} gives NaN instead of probabilities after {len(row.prompt.ids)} tokens of prompt and "
                f"{len(row.output)} of output; {where}"
            )
        for b, i in enumerate(active):
            if rows[i].finish is None:
                rows[i].take(logprobs[b])
        staying = [
            b
            for b, i in enumerate(active)
            if rows[i].finish is None or (rows[i].reads_output and rows[i].n_read < len(rows[i].output))
        ]
        for b in sorted(set(range(len(active))) - set(staying)):
            i = active[b]
            _remember(sessions, rows[i], cache, b, batch.starts[i], steered[i])
        if not staying:
            break
        if len(staying) < len(active):
            index = torch.tensor(staying, device=hooked.device)
            keep_rows(cache, index)
            mask = mask.index_select(0, index)
            active = [active[b] for b in staying]
        mask = torch.cat([mask, mask.new_ones(len(active), 1)], dim=1)
        logits = _step(hooked, hooks, [rows[i] for i in active], mask, cache, steering, active)
    touched = steering.checked()
    return [_generation(hooked, row, n) for row, n in zip(rows, touched, strict=True)]


def _first_site(prompt: Prompt) -> int:
    """The first token that must be computed for the capture; all may be cached where nothing is captured."""
    if prompt.capture is None:
        return len(prompt.ids)
    wanted = [min(v) for k, v in prompt.capture.sites.items() if k not in OUTPUT_SITES]
    return min(wanted, default=len(prompt.ids))


def _prefill(
    hooked: HookedModel, hooks: Hooks, batch: Aligned, rows: Sequence[_Row], steering: Steering
) -> Tensor:
    """The first pass. Returns logits (n_rows, vocab) of the last token; fills the prompt sites."""
    n_new = batch.input_ids.shape[1]
    where: list[tuple[int, str]] = []
    positions: list[tuple[int, int, int]] = []
    for b, row in enumerate(rows):
        sites = row.prompt.capture.sites if row.prompt.capture is not None else {}
        for site, indices in sites.items():
            if site in OUTPUT_SITES:
                continue
            positions += [(b, batch.starts[b] + i - batch.n_cached, len(where)) for i in indices]
            where.append((b, site))
    first = [batch.n_cached - start for start in batch.starts]  # token index of column 0 of this pass
    skip = [max(0, -f) for f in first]
    edits = steering.edits(range(len(rows)), first, n_new, skip)
    hooks.plan(_reads(positions, len(where), hooked.device), edits)
    padded = bool((batch.attention_mask == 0).any())
    out: Any = hooked.model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask if padded else None,
        position_ids=batch.position_ids,
        past_key_values=batch.cache,
        use_cache=True,
        logits_to_keep=1,
    )
    hooks.check_touched()
    if where:
        read = hooks.take().float().cpu()
        for slot, (b, site) in enumerate(where):
            rows[b].sites[site] = read[slot]
    hooks.plan(None)
    return out.logits[:, -1]


def _step(
    hooked: HookedModel,
    hooks: Hooks,
    rows: Sequence[_Row],
    mask: Tensor,
    cache: Any,
    steering: Steering,
    active: Sequence[int],
) -> Tensor:
    """Feed each row's last token. Returns logits (n_rows, vocab)."""
    reading = [b for b, row in enumerate(rows) if row.reads_output]
    positions = [(b, 0, slot) for slot, b in enumerate(reading)]
    first = [len(row.prompt.ids) + len(row.output) - 1 for row in rows]
    edits = steering.edits(active, first, 1, [0] * len(rows))
    hooks.plan(_reads(positions, len(reading), hooked.device), edits)
    tokens = torch.tensor([[row.output[-1]] for row in rows], device=hooked.device)
    out: Any = hooked.model(
        input_ids=tokens,
        attention_mask=mask,
        position_ids=torch.tensor(first, device=hooked.device).unsqueeze(1),
        past_key_values=cache,
        use_cache=True,
    )
    hooks.check_touched()
    if reading:
        read = hooks.take().float().cpu()
        for slot, b in enumerate(reading):
            row = rows[b]
            row.total = read[slot] if row.total is None else row.total + read[slot]
            row.n_read += 1
            if row.prompt.capture is not None and OUTPUT_TOKENS in row.prompt.capture.sites:
                row.each.append(read[slot])
            row.sites[OUTPUT_LAST] = read[slot]
    hooks.plan(None)
    return out.logits[:, -1]


def _reads(positions: Sequence[tuple[int, int, int]], n_slots: int, device: torch.device) -> Reads | None:
    if not positions:
        return None
    rows, columns, slots = torch.tensor(positions, dtype=torch.long).T.to(device)
    return Reads(rows, columns, slots, n_slots)


def _remember(
    sessions: SessionCache, row: _Row, cache: Any, b: int, start: int, steered: Sequence[Intervention]
) -> None:
    if row.prompt.session is None or steered:
        return
    ids = (*row.prompt.ids, *row.output)
    n_fed = len(ids) if row.n_read == len(row.output) else len(ids) - 1
    sessions.keep(row.prompt.session, ids[:n_fed], row_layers(cache, b, start, n_fed))


def _generation(hooked: HookedModel, row: _Row, touched: int) -> Generation:
    activations: dict[str, Any] | None = None
    capture = row.prompt.capture
    if capture is not None:
        if OUTPUT_MEAN in capture.sites and row.total is not None:
            row.sites[OUTPUT_MEAN] = row.total / row.n_read
        if row.each:
            row.sites[OUTPUT_TOKENS] = torch.stack(row.each)
        activations = {site: row.sites[site].numpy() for site in capture.sites}
    shown = row.output[:-1] if row.finish == "stop" else row.output
    text = ""
    if hooked.tokenizer is not None:
        text = hooked.tokenizer.decode(shown, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return Generation(
        output_ids=tuple(row.output),
        text=text,
        logprobs=tuple(row.logprobs),
        n_cached=row.n_cached,
        finish_reason=row.finish or "length",
        read=row.read,
        option_mass=min(1.0, row.option_mass) if row.prompt.sampling.choices else None,
        touched=touched,
        activations=activations,
    )
