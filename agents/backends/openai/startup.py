"""Checks of a server before a run: whether it serves the model, and whether it reports token counts."""

from __future__ import annotations

import httpx

from agents.backends.base import BackendError, Prompt, Sampling
from agents.backends.openai.answers import Unreadable, json_of, read_answer
from agents.backends.openai.connection import CHECK_S, Way, new_client, refusal
from agents.backends.openai.http import NoAnswer, exchange
from agents.backends.openai.outcomes import shown, words_of
from agents.backends.openai.requests import common_fields, named, probe_of

SKIP = "is used as it is with settings.check = false"


async def check_server(way: Way, served: str, *, models: bool, usage: bool) -> None:
    """Raises BackendError where the server does not answer, lacks the model (`models`), or where it must say how many
    tokens an answer took and does not (`usage`)."""
    async with new_client(way) as client:
        if models:
            await _check_models(client, way, served)
        if usage and way.api != "tokens":
            await _check_usage(client, way, served)


async def _check_models(client: httpx.AsyncClient, way: Way, wanted: str) -> None:
    try:
        answer = await exchange(client, "GET", f"{way.url}/models", timeout_s=min(CHECK_S, way.timeout_s))
    except NoAnswer as error:
        raise BackendError(
            f"no server answers at {way.url} ({shown(str(error))}): start it, or correct the url "
            "(it ends in /v1 for most servers)",
            retryable=False,
        ) from error
    if answer.status != 200:
        listless = answer.status in (404, 405, 501)
        raise refusal(way.url, answer, f"; a server that has no list of models {SKIP}" if listless else "")
    try:
        served = [str(entry["id"]) for entry in json_of(answer)["data"]]
    except (Unreadable, KeyError, TypeError) as error:
        raise BackendError(
            f"{way.url}/models answered with something else than a list of models: {words_of(answer.body)[:200]!r}; "
            f"is this an OpenAI-compatible server? One that has no such list {SKIP}",
            retryable=False,
        ) from error
    if wanted not in served:
        raise BackendError(
            f"the server at {way.url} does not serve {wanted!r}; it serves: {shown(', '.join(served)) or 'nothing'}. "
            f"A name that it knows and does not list {SKIP}",
            retryable=False,
        )


async def _check_usage(client: httpx.AsyncClient, way: Way, served: str) -> None:
    common = common_fields(served, Prompt(ids=(), sampling=Sampling(max_tokens=16)))
    body = common | ({"messages": [{"role": "user"}]} if way.api == "chat" else {"prompt": ""})
    url = f"{way.url}/{way.path}"
    try:
        answer = await exchange(client, "POST", url, named(probe_of(body), way.fields), timeout_s=CHECK_S)
        if answer.status != 200:
            raise refusal(way.url, answer)
        told = read_answer(answer, way.api)
    except (NoAnswer, Unreadable) as error:
        raise BackendError(
            f"the server at {way.url} gave no answer to a first request ({shown(str(error))})",
            retryable=False,
        ) from error
    if told.n_prompt is None or told.n_generated is None:
        raise BackendError(
            f"the server at {way.url} does not say how many tokens an answer took (usage), and with api = "
            f'"{way.api}" nothing else tells: a budget of tokens or cost cannot be kept. Take such limits out of '
            '[budget], or use a server that returns usage, or api = "tokens"',
            retryable=False,
        )
