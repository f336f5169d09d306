"""How an answer came about, as the log says it beside the answer's tokens."""

from __future__ import annotations

from typing import Any

from agents.backends.base import Generation

LOW_MASS = 0.01
"""Options that a model would have kept to less often than this, drawn freely, are no answer of its own: such a row is
marked."""


def notes_on(generation: Generation) -> dict[str, Any]:
    """What the log says of how an answer came about, beside its tokens; only what is out of the ordinary."""
    notes: dict[str, Any] = {}
    if generation.touched:
        notes["steered"] = generation.touched
    if generation.n_broken:
        notes["markers_broken"] = generation.n_broken
    if not generation.output_ids and (generation.n_prompt, generation.n_generated) != (None, None):
        notes["usage"] = {"prompt": generation.n_prompt or 0, "generated": generation.n_generated or 0}
    if generation.option_mass is not None:
        notes["option_mass"] = round(generation.option_mass, 9)
        if generation.option_mass < LOW_MASS:
            notes["low_option_mass"] = True
    return notes
