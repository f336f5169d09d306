"""Load another project's dictionary for a run: read it, test it on rows of the run, save it in our format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec

from harness.features.dictionary import Dictionary, FeaturesError
from harness.features.fit import Fit, check_fit, check_place, check_site, fit_of
from harness.features.formats import read_dictionary, stated_layer
from harness.features.outside import outside_dictionary
from harness.features.saved import save_dictionary
from harness.run.folder import load_run

MOST = 16_384
"""Most rows that a dictionary is tested on."""


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
    """Read a dictionary of any format, test it on the run's rows at `site`, and write it into the run's folder;
    returns the folder and the fit.

    path: a folder or file, or `package.module:name` of an object with `encode` and `decode`, whose layer must then be
    named. Raises FeaturesError where width, layer, site or model do not fit, or where it explains too little of the
    rows; `force` accepts another site or a poor fit, with a warning on the card and beside every figure.
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
    is_object = ":" in str(path) and not Path(path).exists()
    own = layer or ("" if is_object else stated_layer(path))
    rows = store.read(lines, own) if own in store.layers else None
    if is_object and rows is None:
        raise FeaturesError(
            f"an object names no layer, and {own or 'none'!r} is not in {store.path} ({', '.join(store.layers)}): "
            "name its layer by --layer"
        )
    found: Dictionary = (
        outside_dictionary(str(path), rows, site=site, layer=own)
        if is_object and rows is not None
        else read_dictionary(path, layer=layer, site=site, rows=rows)
    )
    if found.card.layer not in store.layers:
        raise FeaturesError(
            f"the dictionary is of {found.card.layer or 'no layer that it names'}, {store.path} holds "
            f"{', '.join(store.layers)}; capture that layer, or name it by --layer"
        )
    stamps = check_place(found.card, store.info.model, found.card.layer, store.d_model)
    fit = fit_of(found, store.read(lines, found.card.layer))
    checks: tuple[Callable[[], tuple[str, ...]], ...] = (
        lambda: check_site(found.card, site), lambda: check_fit(found.card, fit),
    )  # fmt: skip
    for check in checks:
        try:
            stamps += check()
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
    name = str(path).replace(":", ".") if is_object else Path(path).resolve().name
    place = (
        opened.path
        / "features"
        / f"{site.replace(':', '-')}-{card.layer}"
        / f"{card.kind}-{name or 'loaded'}"
    )
    return save_dictionary(replace(found, card=card), place if out is None else out), fit
