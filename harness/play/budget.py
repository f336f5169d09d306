"""Budgets and the accounts behind them: tokens, seconds and cost of a seat, a game and a whole run.

Every call of a model is booked on the seat and the game in whose task it was made, so that retries and belief
questions count as well. A game that exceeds its budget ends and records why; a run that has spent its budget starts
no more games and can be resumed with a larger one.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agents.backends.base import Backend, Generation, Prompt
from games.records import NOBODY, Decision, Record
from harness.atomic import write_whole
from harness.config.sections import BackendSection, BudgetSection, Config, LimitSection, PriceSection
from harness.errors import RunFolderError, TournamentError
from harness.run.usage import Usage

REASON = "budget"
"""`reason` of a game that a budget has ended."""

NAME = "spent.json"
"""Beside the manifest: how long a run with a limit in seconds has been played, all sessions together."""

CHARACTERS_A_TOKEN = 3
"""English has about 4 to a token."""

T = TypeVar("T")


class BudgetExceeded(Exception):
    """A seat or a game has used more than it may."""


class BudgetSpent(TournamentError):
    """The run's own budget is spent; the run folder can be resumed with a larger one."""


def cost_of(price: PriceSection | None, prompt: int, cached: int, generated: int) -> float:
    """The cost of a number of tokens, 0 without a price. A cached token costs `prompt` where `cached` is not
    given."""
    if price is None:
        return 0.0
    of_cached = price.prompt if price.cached is None else price.cached
    return ((prompt - cached) * price.prompt + cached * of_cached + generated * price.generated) / 1e6


def prices_of(config: Config, models: Mapping[str, str]) -> dict[str, PriceSection]:
    """Model -> its prices. `models`: backend name -> model, as `Trace.model` names it."""
    sections: Mapping[str, BackendSection] = config.backends
    return {
        model: price
        for name, model in models.items()
        if name in sections and (price := sections[name].prices) is not None
    }


def usage_of(
    records: Iterable[Record], prices: Mapping[str, PriceSection] | None = None
) -> dict[tuple[int, str], Usage]:
    """(seat, model) -> usage from a game's log: the calls of its decisions, without earlier unusable attempts."""
    found: dict[tuple[int, str], Usage] = {}
    lengths: dict[int, int] = {}
    for record in records:
        if not isinstance(record, Decision) or record.trace is None:
            continue
        trace = record.trace
        prompt = len(trace.prompt_ids) + (0 if trace.continues is None else lengths.get(trace.continues, 0))
        generated = len(trace.output_ids)
        lengths[record.seq] = prompt + generated
        told = (trace.sampling or {}).get("usage")  # from a server that returns no token ids
        if isinstance(told, Mapping):
            prompt, generated = int(told.get("prompt", prompt)), int(told.get("generated", generated))
        cached = min(trace.n_cached, prompt)
        cost = cost_of((prices or {}).get(trace.model), prompt, cached, generated)
        account = found.setdefault((record.seat, trace.model), Usage())
        account.add(Usage(1, prompt, cached, generated, cost))
    return found


class Meter:
    """The accounts of one running game."""

    def __init__(
        self, budget: BudgetSection, prices: Mapping[str, PriceSection], replayed: Sequence[Record] = ()
    ) -> None:
        """`replayed`: the log before an interruption; its traces count."""
        self.budget, self.prices = budget, prices
        self.accounts = usage_of(replayed, prices)
        self.seconds: dict[int, float] = {}
        """Seat -> seconds spent waiting for its answers."""
        self._began = time.monotonic()

    async def asking(self, seat: int, answer: Awaitable[T]) -> T:
        """Await a seat's answer; the calls made for it are booked on the seat."""
        token = _CURRENT.set((self, seat))
        began = time.monotonic()
        try:
            return await answer
        finally:
            _CURRENT.reset(token)
            self.seconds[seat] = self.seconds.get(seat, 0.0) + time.monotonic() - began

    def book(self, seat: int, model: str, usage: Usage) -> None:
        """Book calls of a model on a seat, or on `NOBODY`; the cost is added by the price table."""
        usage.cost = cost_of(self.prices.get(model), usage.prompt, usage.cached, usage.generated)
        self.accounts.setdefault((seat, model), Usage()).add(usage)

    def usage(self) -> dict[str, Usage]:
        """Model -> usage of the whole game."""
        total: dict[str, Usage] = {}
        for (_, model), usage in sorted(self.accounts.items()):
            total.setdefault(model, Usage()).add(usage)
        return total

    def check(self) -> None:
        """Raises BudgetExceeded where the game or one of its seats has used more than it may."""
        game, seat = self.budget.game, self.budget.seat
        if game is not None:
            whole = _sum(self.accounts.values())
            _check("the game", "game", game, whole, time.monotonic() - self._began)
        if seat is not None:
            asked = {*self.seconds, *(at for at, _ in self.accounts)} - {NOBODY}
            for number in sorted(asked):
                own = _sum(usage for (at, _), usage in self.accounts.items() if at == number)
                _check(f"seat {number}", "seat", seat, own, self.seconds.get(number, 0.0))


_CURRENT: ContextVar[tuple[Meter, int] | None] = ContextVar("wolfscope_meter", default=None)


def used(prompt: Prompt, generation: Generation) -> Usage:
    """The usage of one call: from its token ids, else from the server's count, else estimated from its text."""
    n_prompt = len(prompt.ids)
    if generation.n_prompt is not None and not generation.output_ids:
        n_prompt = generation.n_prompt
    elif not prompt.ids:
        n_prompt = estimated("".join(message.content for message in prompt.messages))
    n_generated = len(generation.output_ids)
    if not n_generated:
        n_generated = generation.n_generated or estimated(generation.text + (generation.reasoning or ""))
    return Usage(1, n_prompt, min(generation.n_cached, n_prompt), n_generated)


def estimated(text: str) -> int:
    """Estimated tokens of a text without a token count: rather too many, so that a budget is kept."""
    return -(-len(text) // CHARACTERS_A_TOKEN)


class Booked:
    """A backend whose calls are booked on the seat in whose task they were made."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.model, self.capabilities = backend.model, backend.capabilities

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    async def generate(self, prompts: Sequence[Any]) -> list[Any]:
        """As the backend's own."""
        generations = await self._backend.generate(prompts)
        for prompt, generation in zip(prompts, generations, strict=True):
            self.book(used(prompt, generation))
        return generations

    def book(self, usage: Usage) -> None:
        """Book calls on the seat in whose task this is; nothing where no game is played."""
        if (current := _CURRENT.get()) is not None:
            meter, seat = current
            meter.book(seat, self.model, usage)

    async def close(self) -> None:
        """Close the backend."""
        await self._backend.close()


class Ledger:
    """The accounts of a whole run, on the side that starts its games."""

    def __init__(self, limit: LimitSection | None, folder: Path, ends: Iterable[Any]) -> None:
        """`ends`: those of the games that have ended before (`harness.run.journal.End`). Raises RunFolderError."""
        self.limit, self.path = limit, folder / NAME
        self.models: dict[str, Usage] = {}
        self.broken = 0
        """Games that have failed, except those that a budget has ended."""
        self._before = _seconds_before(self.path) if limit is not None and limit.seconds is not None else 0.0
        self._began = self._kept = time.monotonic()
        for end in ends:
            self.add(end)

    def add(self, end: Any) -> None:
        """A game has ended."""
        self.broken += end.status == "failed" and end.reason != REASON
        for model, usage in end.usage.items():
            self.models.setdefault(model, Usage()).add(usage)

    @property
    def seconds(self) -> float:
        """How long the run has been played, all sessions together."""
        return self._before + time.monotonic() - self._began

    def spent(self) -> str | None:
        """Which budget of the run is spent, in words; None while there is room."""
        if self.limit is None:
            return None
        if self.limit.seconds is not None and time.monotonic() - self._kept > 5:
            self.keep()
        return next(iter(_over("run", self.limit, _sum(self.models.values()), self.seconds)), None)

    def keep(self) -> None:
        """Save the time played, where it is limited. Raises StorageError."""
        if self.limit is not None and self.limit.seconds is not None:
            self._kept = time.monotonic()
            write_whole(self.path, msgspec.json.encode({"seconds": round(self.seconds, 3)}))


def usage_lines(models: Mapping[str, Usage]) -> list[str]:
    """One line a model: calls, prompt tokens and how many of them were cached, generated tokens, cost."""
    lines = []
    for model, usage in sorted(models.items()):
        cached = usage.cached / usage.prompt if usage.prompt else 0.0
        text = (
            f"{model}: {usage.calls:,} calls, {usage.prompt:,} prompt tokens ({cached:.0%} cached), "
            f"{usage.generated:,} generated"
        )
        lines.append(text + (f", cost {usage.cost:,.4f}" if usage.cost else ""))
    return lines


def _seconds_before(path: Path) -> float:
    if not path.exists():
        return 0.0
    try:
        return float(msgspec.json.decode(path.read_bytes(), type=dict[str, float])["seconds"])
    except (msgspec.DecodeError, msgspec.ValidationError, KeyError) as error:
        raise RunFolderError(
            f"{path} cannot be read ({error}): delete it to count the run's seconds from 0"
        ) from error


def _sum(usages: Iterable[Usage]) -> Usage:
    total = Usage()
    for usage in usages:
        total.add(usage)
    return total


def _check(who: str, scope: str, limit: LimitSection, usage: Usage, seconds: float) -> None:
    for text in _over(scope, limit, usage, seconds, strictly=True):
        raise BudgetExceeded(f"{who} has {text}")


def _over(
    scope: str, limit: LimitSection, usage: Usage, seconds: float, strictly: bool = False
) -> Iterable[str]:
    """The used-up limits, in words: exceeded, or without `strictly` also reached."""
    for name, used in (("tokens", usage.tokens), ("seconds", seconds), ("cost", usage.cost)):
        allowed = getattr(limit, name)
        if allowed is not None and (used > allowed or (not strictly and used == allowed)):
            shown = f"{used:,}" if isinstance(used, int) else f"{used:,.4g}"
            yield f"used {shown} of budget.{scope}.{name} = {allowed:,}"
