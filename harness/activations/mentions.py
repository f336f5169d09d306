"""Which token each stored row of a mention was read at: a name's tokens differ by model and by place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from games.records import Record
from harness.activations.sites import BOUND, quoted, views
from harness.activations.store import Activations

SCHEMA = pl.Schema(
    {
        "game_id": pl.String,
        "seq": pl.Int64,
        "site": pl.String,
        "subject": pl.Int16,
        "token_index": pl.Int32,
        "token_id": pl.Int32,
        "text": pl.String,  # of the token, its leading space included; null where the store holds no vocabulary
        "name_tokens": pl.Int16,  # tokens of the name there: 1, or the row stands at the last of several
        "quoted": pl.Boolean,  # whether the mention stands in a player's words
    }
)


def mention_tokens(logs: Iterable[tuple[str, Sequence[Record]]], store: Activations) -> pl.DataFrame:
    """One line (`SCHEMA`) for each stored row of the sites in `BOUND`, variant `original`, in the order of `logs`.

    logs: (game id, records with token ids). The first five columns are the key by which the store's index is joined.
    """
    words = store.vocabulary()
    index = store.index().filter(pl.col("site").is_in(list(BOUND)))
    stored: dict[tuple[str, int], list[tuple[str, int, int]]] = {}
    columns = ("game_id", "seq", "site", "subject", "token_index")
    for game_id, seq, site, subject, at in index.select(columns).iter_rows():
        stored.setdefault((game_id, seq), []).append((site, subject, at))
    games = {game_id for game_id, _ in stored}
    found = []
    for game_id, records in logs:
        for view in views(records, None) if game_id in games else ():
            rows = stored.get((game_id, view.decision.seq), ())
            said = quoted(view.spans) if rows else set()
            named = {s.end - 1: s for s in view.spans if s.kind == "mention"} if rows else {}
            for site, subject, at in rows:
                span, token = named[at], view.ids[at]
                found.append(
                    (game_id, view.decision.seq, site, subject, at, token, words.get(token), span.end - span.start,
                     span.start in said)
                )  # fmt: skip
    return pl.DataFrame(found, schema=SCHEMA, orient="row")
