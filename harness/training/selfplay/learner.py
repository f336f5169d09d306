"""The model in training and its starting point: full weights, or low-rank matrices beside frozen weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from agents.hooks.model import load_hooked_model
from agents.models.small import find_model
from harness.training.selfplay.settings import LoraSection, SelfPlayConfig, SelfPlayError


def load(folder: str | Path, dtype: str = "float32", device: str = "auto") -> Any:
    """A model folder, or a model that ships by its name (`agents.hooks.model.HookedModel`). Raises ModelFilesError."""
    return load_hooked_model(find_model(folder), dtype=dtype, device=device)


def logits_at(model: Any, rows: Tensor, columns: Tensor, **inputs: Any) -> Tensor:
    """Logits `(n_places, n_words)` float32 only at the given places of a batch `(n_rows, n_tokens)`.

    rows, columns: `(n_places,)`. The output layer of a large vocabulary costs more than the layers before it.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden = base.get_decoder()(**inputs).last_hidden_state[rows, columns]
    logits: Tensor = base.get_output_embeddings()(hidden).float()
    cap = getattr(base.config.get_text_config(), "final_logit_softcapping", None)
    return logits if cap is None else torch.tanh(logits / cap) * cap


class Learner:
    """A model in training and its starting point."""

    def __init__(self, config: SelfPlayConfig) -> None:
        hooked = load(config.model, config.dtype, config.device)
        self.tokenizer, self.eos, self.device = hooked.tokenizer, hooked.eos, hooked.device
        self.lora = config.lora is not None
        self.model: Any = hooked.model
        if config.lora is not None:
            self.model = _with_lora(self.model, config.lora, config.seed)
        else:
            self._start = copy.deepcopy(self.model).requires_grad_(False)
            self.model.requires_grad_(True)
        self.label = Path(config.model).name
        self._forward: Any = None
        if config.optimiser.compiled:
            self._forward = torch.compile(logits_at, dynamic=True)

    def logits(self, rows: Tensor, columns: Tensor, ids: Tensor) -> Tensor:
        """The learner's logits at the given places of contexts `(n_rows, n_tokens)` padded on the right."""
        forward = self._forward or logits_at
        return forward(self.model, rows, columns, input_ids=ids, use_cache=False)

    @torch.no_grad()
    def start_logits(self, rows: Tensor, columns: Tensor, ids: Tensor) -> Tensor:
        """The starting model's logits at the same places."""
        if self.lora:
            with self.model.disable_adapter():
                return logits_at(self.model, rows, columns, input_ids=ids, use_cache=False)
        return logits_at(self._start, rows, columns, input_ids=ids, use_cache=False)

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """The model in evaluation mode, as in play."""
        self.model.eval()
        yield
        self.model.train()

    def parameters(self) -> list[torch.nn.Parameter]:
        """The trainable parameters."""
        return [p for p in self.model.parameters() if p.requires_grad]

    def state(self) -> dict[str, Tensor]:
        """The trainable tensors, by name."""
        return {n: p.detach() for n, p in self.model.named_parameters() if p.requires_grad}

    def hash(self) -> str:
        """blake2b over the trainable tensors, 16 hex digits; every rollout carries it."""
        digest = blake2b(digest_size=8)
        for name, tensor in self.state().items():
            digest.update(name.encode())
            digest.update(tensor.contiguous().cpu().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def save(self, folder: Path) -> Path:
        """The model as a folder in Hugging Face format, low-rank matrices merged in.

        Weights are stored in bfloat16, half the size.
        """
        from harness.training.checkpoint import save

        model = copy.deepcopy(self.model)
        if self.lora:
            model = model.merge_and_unload()
        folder.mkdir(parents=True, exist_ok=True)
        save(folder, model, self.tokenizer, torch.bfloat16)
        return folder


def _with_lora(model: Any, lora: LoraSection, seed: int) -> Any:
    """The model with low-rank matrices that initially change nothing. Raises SelfPlayError without peft, or where no
    layer has one of the names."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise SelfPlayError(
            "[lora] needs the package peft: pip install peft, or leave the section out"
        ) from error
    names = {
        name.rpartition(".")[2] for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)
    }
    if not names & set(lora.modules):
        raise SelfPlayError(
            f"lora.modules names {', '.join(lora.modules)}, but the model's linear layers are called "
            f"{', '.join(sorted(names))}"
        )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return get_peft_model(
            model,
            LoraConfig(
                r=lora.rank, lora_alpha=lora.alpha, target_modules=list(lora.modules), lora_dropout=0.0
            ),
        )
