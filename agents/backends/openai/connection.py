"""The connections of one process to a server: each request once, and what its answer means for the run.

`agents.backends.openai.outcomes` says what statuses mean; this module records which other requests succeeded meanwhile,
which distinguishes a prompt that cannot be answered from a server that answers none.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import msgspec

from agents.backends.base import CONTENT_FILTER, BackendError, EngineLost, Generation
from agents.backends.openai.address import client_settings
from agents.backends.openai.answers import Unreadable, read_answer
from agents.backends.openai.http import Answer, NoAnswer, exchange
from agents.backends.openai.outcomes import Outcome, outcome_of, remedy_of, shown, wait_of, words_of
from agents.backends.openai.requests import Fields, named, probe_of
from agents.backends.retry import GO_ON

CHECK_S = 30.0
"""Time limit, in seconds, of checks before a run and of probes."""
STARVED = 3
"""After this many failed requests in a row, the failure is the server's, not one prompt's."""


class Way(msgspec.Struct, frozen=True):
    """Address and protocol of a server."""

    url: str
    api: str
    key: str | None
    max_concurrent: int
    timeout_s: float
    give_up_s: float
    fields: Fields

    @property
    def path(self) -> str:
        """Of completions, after the url."""
        return "chat/completions" if self.api == "chat" else "completions"


def new_client(way: Way) -> httpx.AsyncClient:
    """Connections that go nowhere yet. Raises ValueError for a proxy that cannot be used."""
    return httpx.AsyncClient(
        headers={"Authorization": f"Bearer {way.key}"} if way.key else {},
        timeout=httpx.Timeout(way.timeout_s, connect=min(30.0, way.timeout_s)),
        limits=httpx.Limits(max_connections=way.max_concurrent),
        **client_settings(way.url),
    )


def refusal(url: str, answer: Answer, also: str = "") -> BackendError:
    """The error of a status that is not 200, and how long the server asks to be left alone."""
    said = words_of(answer.body)
    moved = answer.headers.get("location", "") if 300 <= answer.status < 400 else ""
    return BackendError(
        f"the server at {url} refused with status {answer.status}: {said!r}"
        f"{f' (it moved to {shown(moved)})' if moved else ''}{remedy_of(answer.status, said)}{also}",
        retryable=False,
        wait_s=wait_of(answer),
    )


class Connection:
    """Open connections; belongs to one event loop."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._client = new_client(way)
        self._slots = asyncio.Semaphore(way.max_concurrent)
        self._failing_since: float | None = None
        self._failed_in_a_row = 0
        self._n_good = 0
        self._probing: asyncio.Future[bool] | None = None

    async def close(self) -> None:
        """Close them."""
        await self._client.aclose()

    async def post(self, body: dict[str, Any]) -> Generation:
        """The answer to one request. Raises BackendError, EngineLost."""
        way, good = self._way, self._n_good
        async with self._slots:
            try:
                answer = await exchange(
                    self._client,
                    "POST",
                    f"{way.url}/{way.path}",
                    named(body, way.fields),
                    timeout_s=way.timeout_s,
                )
            except NoAnswer as error:
                raise self._failed(f"the server at {way.url} did not answer ({shown(str(error))})") from error
        if answer.status == 200:
            try:
                made = read_answer(answer, way.api)
            except Unreadable as error:
                said = f"the server at {way.url} answered with something else than a completion: {error}"
                if error.status is None:
                    raise self._failed(said) from error
                answer = Answer(error.status, answer.headers, str(error).encode())
            except BackendError:
                self._answered()
                raise
            else:
                self._answered()
                return made
        return await self._refused(answer, body, good)

    async def _refused(self, answer: Answer, body: dict[str, Any], good: int) -> Generation:
        """Raise the error of a refusal. good: number of answers that this process had when the request was sent."""
        error = refusal(self._way.url, answer)
        outcome = outcome_of(answer.status, words_of(answer.body), error.wait_s)
        if outcome is Outcome.WITHHELD:
            self._answered()
            raise BackendError(str(error), retryable=False, kind=CONTENT_FILTER)
        if outcome in (Outcome.TROUBLE, Outcome.BUSY):
            raise self._failed(str(error), error.wait_s, busy=outcome is Outcome.BUSY)
        if self._n_good == good and await self._all_refused(body):
            raise BackendError(str(error), retryable=False, everybody=True)
        if outcome is Outcome.EVERYBODY:
            raise self._failed(str(error), error.wait_s)
        raise error

    async def _all_refused(self, body: dict[str, Any]) -> bool:
        """Whether harmless words are refused as well. Many that are refused at once share one probe."""
        if self._probing is None:
            self._probing = asyncio.ensure_future(self._probe(probe_of(body)))
            self._probing.add_done_callback(lambda _: setattr(self, "_probing", None))
        return await asyncio.shield(self._probing)

    async def _probe(self, body: dict[str, Any]) -> bool:
        way = self._way
        limit_s = min(CHECK_S, way.timeout_s)
        try:
            answer = await exchange(
                self._client,
                "POST",
                f"{way.url}/{way.path}",
                named(body, way.fields),
                timeout_s=limit_s,
            )
            if answer.status == 200:
                read_answer(answer, way.api)
        except (NoAnswer, BackendError):
            return False
        except Unreadable as error:
            answer = Answer(error.status or 500, answer.headers, str(error).encode())
        outcome = outcome_of(answer.status, words_of(answer.body), wait_of(answer))
        return outcome in (Outcome.EVERYBODY, Outcome.PROMPT)

    def _answered(self) -> None:
        self._failing_since, self._failed_in_a_row = None, 0
        self._n_good += 1

    def _failed(
        self, message: str, wait_s: float | None = None, busy: bool = False
    ) -> BackendError | EngineLost:
        """The error of one failure; of a server that is gone, where all have failed for long."""
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        self._failed_in_a_row += 1
        failing = now - self._failing_since
        if failing > self._way.give_up_s and not busy:
            return EngineLost(
                f"{message}; it has given no usable answer for {failing:.0f} s. Look after the server, {GO_ON}"
            )
        return BackendError(message, wait_s=wait_s, everybody=self._failed_in_a_row >= STARVED)
