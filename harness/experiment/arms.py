"""The arms of an experiment: those of a design, and the controls added to each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import numpy as np

from harness.experiment.design import ArmSection, Design, ExperimentError, Where
from harness.experiment.directions import Direction, Vector, random_directions

Control = Literal[
    "", "dose", "null", "cold", "sham", "random", "orthogonal", "sign_flip", "other_layer", "other_subject"
]
"""An arm's relation to its design's arm: itself, another strength of it, or a control."""
BASE = "unchanged"
WORDED = ("utterance", "lexicon", "player", "role_line", "reasoning")
"""Kinds of arms that change the words of a prompt."""


class Arm(msgspec.Struct, frozen=True):
    """One change as it is carried out."""

    id: str
    of: str
    """The design's arm; `unchanged` for the unchanged moment and its repetitions."""
    control: Control
    kind: str
    """As in `ArmSection.kind`; `none` for no change."""
    do: str = ""
    scale: float | None = None
    layer: int | None = None
    at: Where | None = None
    vector: int | None = None
    """Row of the experiment's vectors."""
    about: Literal["subject", "other"] = "subject"
    """The player that the push is about; outcomes are always measured for the subject."""
    settings: dict[str, Any] = {}
    model: str | None = None
    act: str = "accuse"
    by: str = "drawn"
    step: str = "subject"
    lexicon: str | None = None
    dictionary: str | None = None
    """latents: the dictionary's folder."""
    latents: tuple[int, ...] = ()


def expand(
    design: Design, directions: Mapping[str, Direction], n_layers: int, d_model: int
) -> tuple[list[Arm], Vector, list[str]]:
    """(all arms, the unchanged moment first; the vectors (n_vectors, d_model); remarks for the page).

    Raises ExperimentError for a vector of another width or a layer that the model lacks.
    """
    arms = [Arm(BASE, BASE, "", "none")]
    if design.controls.null:
        arms += [Arm("null", BASE, "null", "none"), Arm("cold", BASE, "cold", "none")]
    vectors: list[Vector] = []
    stamps: list[str] = []
    for section in design.arms:
        if section.kind == "latents" and section.do != "add":
            arms += _latent_arms(
                section, design, directions[section.direction or ""], n_layers, d_model, vectors, stamps
            )
        elif section.kind in ("direction", "latents"):
            arms += _direction_arms(
                section, design, directions[section.direction or ""], n_layers, d_model, vectors, stamps
            )
        elif section.kind == "patch":
            arms += _patch_arms(section, design, directions[section.direction or ""], n_layers, stamps)
        else:
            arms += _word_arms(section, design)
    stacked = np.stack(vectors) if vectors else np.zeros((0, d_model), dtype=np.float32)
    return arms, stacked, stamps


def _place(section: ArmSection, direction: Direction, n_layers: int, stamps: list[str]) -> tuple[int, Where]:
    layer = direction.layer if section.layer is None else section.layer
    if not 0 <= layer < n_layers:
        raise ExperimentError(
            f"arm {section.name}: layer {layer} is named, the model has layers 0 to {n_layers - 1}"
        )
    if direction.own_layer is not None and layer != direction.own_layer:
        stamps.append(
            f"{section.name}: pushed at layer {layer}; the direction was read at layer {direction.own_layer}"
        )
    at = section.at or direction.at
    if layer == n_layers - 1 and at not in ("answer", "all"):
        raise ExperimentError(
            f"arm {section.name} changes nothing: what leaves the last block (layer {layer}) at {at} is read by no "
            f'later token; name a layer below {layer}, or at = "answer"'
        )
    if at != direction.at and direction.own_layer is not None:
        stamps.append(f"{section.name}: changed at {at}; the direction was read at {direction.at}")
    return layer, at


def _direction_arms(
    section: ArmSection,
    design: Design,
    direction: Direction,
    n_layers: int,
    d_model: int,
    vectors: list[Vector],
    stamps: list[str],
) -> list[Arm]:
    if direction.vector.shape != (d_model,):
        raise ExperimentError(
            f"arm {section.name}: the direction {direction.name} has {direction.vector.shape[0]} numbers, the model's "
            f"stream has {d_model}; give a vector that was made with this model"
        )
    layer, at = _place(section, direction, n_layers, stamps)
    do = section.do or "add"
    name = section.name
    controls = design.controls
    rng = np.random.default_rng([design.moments.seed, 2, *name.encode()])
    vectors.append(direction.vector)
    own = len(vectors) - 1
    # the tested strength is the largest; the others make the dose-response
    tested = max(section.scales, key=abs)
    common: dict[str, Any] = {"of": name, "kind": "direction", "do": do, "at": at}
    real = Arm(name, control="", scale=tested, layer=layer, vector=own, **common)
    arms = [real]
    arms += [
        Arm(f"{name}@{scale:g}", control="dose", scale=scale, layer=layer, vector=own, **common)
        for scale in section.scales
        if scale != tested
    ]
    if controls.sign_flip and do == "add" and -tested not in section.scales:
        arms.append(
            Arm(f"{name}~sign", control="sign_flip", scale=-tested, layer=layer, vector=own, **common)
        )
    elif controls.sign_flip and do == "add":
        flipped = f"{name}@{-tested:g}"
        arms = [msgspec.structs.replace(a, control="sign_flip") if a.id == flipped else a for a in arms]
    if controls.other_layer and n_layers > 2:
        far = _far(layer, n_layers)
        arms.append(
            Arm(f"{name}~layer", control="other_layer", scale=tested, layer=far, vector=own, **common)
        )
    if controls.other_subject and at not in ("answer", "all"):
        arms.append(
            Arm(
                f"{name}~other",
                control="other_subject",
                scale=tested,
                layer=layer,
                vector=own,
                about="other",
                **common,
            )
        )
    kinds: tuple[tuple[Control, int, Vector | None], ...] = (
        ("random", controls.random, None), ("orthogonal", controls.orthogonal, direction.vector),
    )  # fmt: skip
    for kind, n, away in kinds:
        for k, vector in enumerate(random_directions(n, d_model, rng, away)):
            vectors.append(vector)
            arms.append(
                Arm(
                    f"{name}~{kind}-{k:02d}",
                    control=kind,
                    scale=tested,
                    layer=layer,
                    vector=len(vectors) - 1,
                    **common,
                )
            )
    return arms


def _latent_arms(
    section: ArmSection,
    design: Design,
    direction: Direction,
    n_layers: int,
    d_model: int,
    vectors: list[Vector],
    stamps: list[str],
) -> list[Arm]:
    """The arm subtracts the latents' contribution; the controls move the stream equally far in another direction."""
    layer, at = _place(section, direction, n_layers, stamps)
    if layer != direction.own_layer:
        raise ExperimentError(
            f"arm {section.name}: latents are ablated where their dictionary reads, layer {direction.own_layer}; asked "
            f"for layer {layer}"
        )
    common: dict[str, Any] = {
        "of": section.name, "kind": "latents", "layer": layer, "at": at, "dictionary": direction.dictionary,
        "latents": direction.latents,
    }  # fmt: skip
    arms = [Arm(section.name, control="", do="ablate", **common)]
    controls = design.controls
    if controls.other_subject and at not in ("answer", "all"):
        arms.append(
            Arm(f"{section.name}~other", control="other_subject", do="ablate", about="other", **common)
        )
    rng = np.random.default_rng([design.moments.seed, 3, *section.name.encode()])
    kinds: tuple[tuple[Control, int, Vector | None], ...] = (
        ("random", controls.random, None), ("orthogonal", controls.orthogonal, direction.vector),
    )  # fmt: skip
    for kind, n, away in kinds:
        for k, vector in enumerate(random_directions(n, d_model, rng, away)):
            vectors.append(vector)
            name = f"{section.name}~{kind}-{k:02d}"
            arms.append(Arm(name, control=kind, do="as_far", vector=len(vectors) - 1, **common))
    return arms


def _patch_arms(
    section: ArmSection, design: Design, direction: Direction, n_layers: int, stamps: list[str]
) -> list[Arm]:
    layer, at = _place(section, direction, n_layers, stamps)
    common: dict[str, Any] = {"of": section.name, "kind": "patch", "at": at}
    arms = [Arm(section.name, control="", do="opposite", layer=layer, **common)]
    if design.controls.sham:
        arms.append(Arm(f"{section.name}~sham", control="sham", do="twin", layer=layer, **common))
    if design.controls.other_layer and n_layers > 2:
        far = _far(layer, n_layers)
        arms.append(Arm(f"{section.name}~layer", control="other_layer", do="opposite", layer=far, **common))
    if design.controls.other_subject:
        arms.append(
            Arm(
                f"{section.name}~other",
                control="other_subject",
                do="opposite",
                layer=layer,
                about="other",
                **common,
            )
        )
    return arms


def _far(layer: int, n_layers: int) -> int:
    """Another layer, about half the depth away, whose output later tokens still read."""
    half = max(1, n_layers // 2)
    far = layer - half if layer >= half else min(n_layers - 2, layer + half)
    return far if far != layer else max(0, layer - 1)


def _word_arms(section: ArmSection, design: Design) -> list[Arm]:
    arm = Arm(
        section.name, section.name, "", section.kind, section.do, settings=dict(section.settings),
        model=section.model, act=section.act, by=section.by, step=section.step, lexicon=section.lexicon,
    )  # fmt: skip
    if section.sham_of is not None:
        return [msgspec.structs.replace(arm, of=section.sham_of, control="sham")]
    sham = {
        ("role_line", "remove"): "random_span", ("role_line", "swap"): "random_span", ("utterance", "remove"): "filler",
        ("utterance", "flip"): "filler", ("utterance", "add"): "neutral", ("reasoning", "edit"): "irrelevant",
        ("reasoning", "drop"): "drop", ("reasoning", "resample"): "as_before",
    }.get((section.kind, section.do))  # fmt: skip
    if not design.controls.sham or sham is None:
        return [arm]
    step = "drawn" if sham == "drop" else section.step
    return [arm, msgspec.structs.replace(arm, id=f"{section.name}~sham", control="sham", do=sham, step=step)]
