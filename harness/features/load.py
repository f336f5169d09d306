"""Take a dictionary of others for a run: read it, hold it to rows of the run, keep it in our format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from harness.features.dictionary import Dictionary, FeaturesError, save_dictionary
from harness.features.fit import Fit, check_fit, check_place, fit_of
from harness.features.formats import read_dictionary, stated_layer
from harness.run.folder import load_run

MOST = 16_384
"""Rows that a dictionary is held to at most."""


def load_for(
    path: str | Path,
    run: str | Path,
    *,
    site: str,
    layer: str = "",
    out: str | Path | None = None,
    force: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Path, Fit]:
    """Read a dictionary of any format, hold it to the run's rows at `site`, and write it into the run's folder; the
    folder and its fit there.

    Raises FeaturesError where width, layer or model do not fit, or where it explains too little of the rows; `force`
    keeps the last as a stamp on the card, which stands beside every figure.
    """
    opened = load_run(run)
    store = opened.activations()
    lines = store.index(site=site)
    if not lines.height:
        raise FeaturesError(
            f"{store.path} has no rows at site {site!r} (captured: {', '.join(store.sites()) or 'nothing'}); "
            f"run: wolfscope capture {run} --site {site}"
        )
    lines = lines[:: max(1, -(-lines.height // MOST))]
    own = layer or stated_layer(path)
    rows = store.read(lines, own) if own in store.layers else None
    found = read_dictionary(path, layer=layer, site=site, rows=rows)
    if found.card.layer not in store.layers:
        raise FeaturesError(
            f"the dictionary is of {found.card.layer or 'no layer that it names'}, {store.path} holds "
            f"{', '.join(store.layers)}; capture that layer, or name it by --layer"
        )
    stamps = check_place(found.card, store.info.model, site, found.card.layer, store.d_model)
    fit = fit_of(found, store.read(lines, found.card.layer))
    try:
        stamps += check_fit(found.card, fit)
    except FeaturesError as error:
        if not force:
            raise
        stamps += (f"forced: {error}",)
    for stamp in stamps:
        say(f"note: {stamp}")
    card = msgspec.structs.replace(
        found.card, model=store.info.model, site=site, stamps=(*found.card.stamps, *stamps), l0=fit.l0, dead=fit.dead,
        n_held_out=fit.n_rows,
    )  # fmt: skip
    name = Path(path).resolve()
    place = (
        opened.path
        / "features"
        / f"{site.replace(':', '-')}-{card.layer}"
        / f"{card.kind}-{name.name or 'loaded'}"
    )
    whole = Dictionary(card, found.w_enc, found.b_enc, found.w_dec, found.b_dec, found.threshold)
    return save_dictionary(whole, place if out is None else out), fit
