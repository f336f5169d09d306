"""Activations recorded during play: the rows that offline extraction would store, from the same forward passes that
chose the actions.

A model player's prompts label their tokens (`Prompt.spans`), so the positions to read are known before the answer;
the answer's tokens are read one by one, and averaged once the decision records which of them were speech. What cannot
be matched to a decision (a prefilled answer, a steered player, prefilled thinking) is left to
the offline extraction, which skips what is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.backends.base import OUTPUT_TOKENS, Backend, Capture, Generation, Prompt
from games.records import Action, Decision
from harness.activations.items import CaptureItem, Site, wanted_rows
from harness.activations.sites import DecisionContext, check_sites, sites_of
from harness.activations.store import StoreInfo
from harness.activations.writer import ActivationWriter
from harness.config.sections import ActivationsSection

Rows = dict[tuple[int, ...], NDArray[np.float32]]
"""Token indices, averaged -> (n_layers, d_model)."""


class _Heard(msgspec.Struct):
    """One answer of a session, held until its decision is known."""

    prompt: Prompt
    rows: Rows
    output_ids: tuple[int, ...]
    output: NDArray[np.float32]
    """(n_output, n_layers, d_model)."""


class Watched:
    """A backend that holds its answers' activations until `settle` gets the decision; one model, one store."""

    def __init__(self, backend: Backend, path: Path, section: ActivationsSection) -> None:
        """backend: one that gives activations (`Capabilities.layers`). path: of the store."""
        check_sites(section.sites)
        self.model = backend.model
        self.capabilities = msgspec.structs.replace(backend.capabilities, wants_spans=True)
        self._backend, self._path, self._section = backend, path, section
        self._info = StoreInfo(
            model=backend.model,
            layers=backend.capabilities.layers,
            d_model=backend.capabilities.d_model,
            dtype=section.dtype,
        )
        self._writer: ActivationWriter | None = None
        self._heard: dict[str, list[_Heard]] = {}
        self._known: dict[str, tuple[tuple[int, ...], Rows]] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._backend, name)

    async def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """As the backend's own. Raises BackendError."""
        asked: list[Prompt] = []
        known: list[tuple[Rows, dict[str, tuple[int, ...]]] | None] = []
        for prompt in prompts:
            bare = msgspec.structs.replace(prompt, spans=())
            if prompt.session is None or not prompt.spans or prompt.interventions:
                asked.append(bare)
                known.append(None)
                continue
            ids, rows = self._known.get(prompt.session, ((), {}))
            if prompt.ids[: len(ids)] != ids:
                rows = {}  # the session's context was rewritten
            where = set(self._sites(prompt))
            rows = {tokens: row for tokens, row in rows.items() if tokens in where}
            sites = {str(k): tokens for k, tokens in enumerate(sorted(where - set(rows)))}
            asked.append(msgspec.structs.replace(bare, capture=Capture(sites | {OUTPUT_TOKENS: ()})))
            known.append((rows, sites))
        done = await self._backend.generate(asked)
        for prompt, generation, kept in zip(prompts, done, known, strict=True):
            if kept is None or prompt.session is None or generation.activations is None:
                continue
            rows, sites = kept
            found = generation.activations
            rows = rows | {tokens: found[site] for site, tokens in sites.items()}
            self._known[prompt.session] = (prompt.ids, rows)
            self._heard.setdefault(prompt.session, []).append(
                _Heard(prompt, rows, generation.output_ids, found[OUTPUT_TOKENS])
            )
        return [msgspec.structs.replace(g, activations=None) for g in done]

    def settle(self, game_id: str, decision: Decision) -> None:
        """Store the rows of a decision that is in the journal. Raises StorageError, ActivationsError."""
        heard = self._heard.pop(f"{game_id}/{decision.seat}", [])
        trace = decision.trace
        if trace is None or trace.model != self.model:
            return
        for one in reversed(heard):
            n_prompt = len(one.prompt.ids)
            own = n_prompt - len(trace.prompt_ids)
            if one.output_ids == trace.output_ids and own >= 0 and one.prompt.ids[own:] == trace.prompt_ids:
                break
        else:
            return
        answer = tuple(s for s in trace.spans if s.start >= n_prompt)
        view = DecisionContext(
            decision, (*one.prompt.ids, *trace.output_ids), n_prompt, own, (*one.prompt.spans, *answer)
        )
        sites: dict[str, Site] = {
            name: (subject, tokens)
            for name, (subject, tokens) in sites_of(view, self._section.sites)
            if tokens in one.rows or min(tokens) >= n_prompt
        }
        item = CaptureItem(game_id, decision.seq, decision.seat, view.ids, sites, n_prompt=n_prompt)
        rows = wanted_rows(item, set())
        values = [
            one.rows[row.indices]
            if row.indices in one.rows
            else one.output[[i - n_prompt for i in row.indices]].mean(axis=0)
            for row in rows
        ]
        if rows:
            if self._writer is None:
                self._writer = ActivationWriter(self._path, self._info, name="play")
            self._writer.add([row.key for row in rows], np.stack(values).astype(np.float32))

    def forget(self, game_id: str, n_seats: int) -> None:
        """A game has ended."""
        for seat in range(n_seats):
            self._known.pop(f"{game_id}/{seat}", None)
            self._heard.pop(f"{game_id}/{seat}", None)

    def flush(self) -> None:
        """Write the rows still in memory. Raises StorageError."""
        if self._writer is not None:
            self._writer.flush()

    async def close(self) -> None:
        """As the backend's own."""
        await self._backend.close()

    def _sites(self, prompt: Prompt) -> list[tuple[int, ...]]:
        """The positions in the prompt that the sites of any decision on it have."""
        seat = int((prompt.session or "").rpartition("/")[2])
        nothing = Decision(0, seat, "", Action())
        view = DecisionContext(nothing, prompt.ids, len(prompt.ids), len(prompt.ids), prompt.spans)
        return [tokens for _, (_, tokens) in sites_of(view, self._section.sites)]
