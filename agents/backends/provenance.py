"""How an answer came about, as the log says it beside the answer's tokens."""

from __future__ import annotations

from typing import Any

from agents.backends.base import Generation

LOW_MASS = 0.01
"""Smallest probability of staying among the options in free sampling; below it a constrained answer is marked as not
the model's own."""


def notes_on(generation: Generation) -> dict[str, Any]:
    """Notes for the log on how an answer came about, only where something was unusual."""
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
