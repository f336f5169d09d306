"""The offline extraction through a vLLM engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.backends.vllm.states import VllmStates
from harness.capture.plan import Pass, batches
from harness.errors import ConfigurationError


class VllmReader:
    """A `harness.capture.passes.StreamReader` over an engine in this process."""

    whole = False
    fork_tokens = 0
    n_touched = 0

    def __init__(self, states: VllmStates) -> None:
        self._states = states
        self.name, self.layers, self.d_model = states.name, states.layers, states.d_model
        self.dtype, self.max_context, self.vocab_size = states.dtype, states.max_context, states.vocab_size

    def read(
        self, passes: Sequence[Pass], batch_tokens: int
    ) -> Iterator[tuple[list[Pass], NDArray[np.float32]]]:
        """(some of the passes, float32 (n_rows, n_layers, d_model), rows in the passes' order)."""
        for batch in batches(passes, batch_tokens):
            wanted = [sorted({i for _, indices in one.reads() for i in indices}) for one in batch]
            found = self._states.states([one.ids for one in batch], wanted)
            values = []
            for one, indices, states in zip(batch, wanted, found, strict=True):
                at = {index: k for k, index in enumerate(indices)}
                values += [states[[at[i] for i in indices]].mean(axis=0) for _, indices in one.reads()]
            yield batch, np.stack(values)

    def close(self) -> None:
        """Free the engine."""
        self._states.close()


def vllm_reader(folder: Path, layers: Sequence[str], device: str) -> VllmReader:
    """A reader over an engine of the model on `cpu` or `gpu`; `layers` as in a configuration.

    Raises ConfigurationError for layers that an engine does not expose.
    """
    wrong = [word for word in layers if word in ("attn_out", "mlp_out")]
    if wrong:
        raise ConfigurationError(
            f"{wrong[0]} cannot be read through vLLM, only the residual stream: use --engine transformers"
        )
    numbers = [word for word in layers if word not in ("all", "embed")]
    try:
        chosen = [float(word) if "." in word else int(word) for word in numbers]
        return VllmReader(
            VllmStates(
                folder,
                chosen if chosen and "all" not in layers else "all",
                embed="embed" in layers or tuple(layers) == ("all",),
                device=device,
            )
        )
    except ValueError as error:
        raise ConfigurationError(f"activations.layers (--layer): {error}") from error
