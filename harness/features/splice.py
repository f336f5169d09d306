"""Splicing a dictionary's reconstruction into the model's stream: how much of the model's predictions is preserved.

On decisions of held-out games, the stream at the dictionary's layer is replaced at the tokens of its site by the
reconstruction, and by the mean row for comparison. Two numbers are measured over all predictions from there on:
cross-entropy of the tokens that follow (nats a token), and the divergence KL(unchanged || changed). The following
tokens are those played; after a belief question, which no game continues, they are the true answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.hooks.hooks import Edit, Hooks, Points, Reads
from agents.hooks.intervention import Point
from agents.hooks.model import HookedModel
from harness.activations.format import BELIEF_MENTION
from harness.activations.items import CaptureItem
from harness.activations.sites import game_items
from harness.atomic import write_whole
from harness.capture.belief_forks import BeliefForks
from harness.features.dictionary import Dictionary, FeaturesError
from harness.features.saved import load_dictionary
from harness.features.spliced import FILE, Splice
from harness.run.folder import Run
from harness.schedule.weights import load_played
from harness.seals import seal

CONTEXTS = 200
"""Contexts that are read at most."""


def write_splice(
    run: Run,
    folder: Path,
    *,
    most: int = CONTEXTS,
    device: str = "auto",
    say: Callable[[str], None] = lambda text: None,
) -> Splice:
    """Measure a saved dictionary in the run's model and write `splice.json` beside it. Raises FeaturesError."""
    found = load_dictionary(folder)
    hooked = _model(run, found, device)
    items = list(_items(run, found, most))
    if not items:
        raise FeaturesError(
            f"no decision of {run.path} has the site {found.card.site}, so nothing can be spliced"
        )
    say(f"splicing into {len(items):,} contexts of {hooked.name}")
    mean = _mean(run, found)
    result = splice(hooked, found, items, mean)
    write_whole(Path(folder) / FILE, msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    seal(Path(folder), Path(folder) / FILE, verb="features judge")
    return result


def splice(
    hooked: HookedModel, found: Dictionary, items: list[CaptureItem], mean: NDArray[np.float32]
) -> Splice:
    """Measure a dictionary on contexts with its own site. mean: `(d_model,)`, the row that replaces all others."""
    point, layer = _point(found.card.layer)
    hooks = Hooks(hooked.layout, _points(point, layer), editing=True)
    entropy, divergence, n_followed, n_read, n_edited = np.zeros(3), np.zeros(2), 0, 0, 0
    with hooks.attached(), torch.inference_mode():
        for item in items:
            at = sorted({i for _, indices in item.sites.values() for i in indices})
            ids = torch.tensor([item.ids], device=hooked.device)
            columns = torch.tensor(at, device=hooked.device)
            rows = torch.zeros_like(columns)
            hooks.plan(Reads(rows, columns, torch.arange(len(at), device=hooked.device), len(at)))
            plain = _logprobs(hooked, ids)
            stream = hooks.take()[:, 0].float().cpu().numpy()
            values = []
            for row in (found.reconstruct(stream), np.broadcast_to(mean, stream.shape)):
                value = torch.from_numpy(np.array(row))
                hooks.plan(None, [Edit("patch", point, layer, rows, columns, value)])
                values.append(_logprobs(hooked, ids))
                hooks.check_touched()
            # no prediction follows a question's answer
            start, end = at[0], len(item.ids) - (item.fork is not None and len(item.ids) > item.n_prompt)
            after = ids[0, start + 1 :]
            for k, one in enumerate((plain, *values)):
                entropy[k] -= float(one[start:-1].gather(1, after[:, None]).sum())
            for k, one in enumerate(values):
                divergence[k] += float((plain[start:end].exp() * (plain - one)[start:end]).sum())
            n_followed, n_read, n_edited = n_followed + len(after), n_read + end - start, n_edited + len(at)
    told = [float(total) / n_followed if n_followed else None for total in entropy]
    apart = divergence / max(1, n_read)
    return Splice(
        cross_entropy=told[0], spliced=told[1], removed=told[2], divergence=float(apart[0]),
        divergence_removed=float(apart[1]), n_contexts=len(items), n_tokens=n_read, n_edited=n_edited,
        n_followed=n_followed,
    )  # fmt: skip


def _logprobs(hooked: HookedModel, ids: Tensor) -> Tensor:
    model: Any = hooked.model
    return torch.log_softmax(model(input_ids=ids, use_cache=False).logits[0].float(), dim=-1)


def _point(layer: str) -> tuple[Point, int]:
    point, _, number = layer.partition(".")
    known: dict[str, Point] = {
        "embed": "embed", "resid_post": "resid_post", "attn_out": "attn_out", "mlp_out": "mlp_out",
    }  # fmt: skip
    if point not in known:
        raise FeaturesError(f"layer {layer!r} is no stream of the model: nothing can be put there")
    return known[point], int(number or 0)


def _points(point: Point, layer: int) -> Points:
    return Points(
        (layer,),
        point == "resid_post",
        embed=point == "embed",
        attn_out=point == "attn_out",
        mlp_out=point == "mlp_out",
    )


def _items(run: Run, found: Dictionary, most: int) -> Iterator[CaptureItem]:
    """At most `most` contexts of held-out games, evenly spaced."""
    site, model = found.card.site, found.card.model
    games = [g for g in run.game_ids if not found.card.held_out or g in set(found.card.held_out)]
    forks = BeliefForks(run) if site == BELIEF_MENTION else None
    per_game = max(1, -(-most // max(1, len(games))))
    n = 0
    for game_id, records in run.logs(games):
        items = list(game_items(game_id, records, model, (site,)) if forks is None
                     else forks.items(game_id, records, model, answered=True))  # fmt: skip
        for item in items[:: max(1, len(items) // per_game)][:per_game]:
            if n < most:
                yield item
                n += 1


def _mean(run: Run, found: Dictionary) -> NDArray[np.float32]:
    store = run.activations()
    lines = store.index(site=found.card.site)
    lines = lines[:: max(1, lines.height // 8192)]
    return np.asarray(store.read(lines, found.card.layer).mean(axis=0), dtype=np.float32)


def _model(run: Run, found: Dictionary, device: str) -> HookedModel:
    if (hooked := load_played(run.manifest, found.card.model, device)) is not None:
        return hooked
    raise FeaturesError(
        f"the weights of {found.card.model} are not where {run.path} says; only a dictionary of a model that is here "
        "can be spliced into it"
    )
