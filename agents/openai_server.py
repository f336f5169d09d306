"""A model behind an OpenAI-compatible server, over HTTP: token ids in, token ids out.

The server must take a list of token ids as `prompt` on `/completions` and return the ids that it generated
(`return_token_ids`, as vLLM's own server does): the log holds what the model emitted, and text encoded again is a
guess. Chat endpoints are not used, because there the server builds the prompt. One try a request; whether another can
help is said by `BackendError.retryable`, and the player decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx

from agents.backend import BackendError, Generation, Prompt

RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""HTTP statuses after which the same request may succeed."""


class ServerBackend:
    """Backend over `{url}/completions`. Can be sent to other processes; each opens its own connections."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key: str | None = None,
        max_concurrent: int = 64,
        timeout_s: float = 600.0,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """url: the base address, e.g. `http://127.0.0.1:8000/v1`. model: the served model's name, also the log's.

        max_concurrent: requests in flight, of each process. extra: further fields of every request.
        """
        self.model = model
        self._url = url.rstrip("/")
        self._api_key = api_key
        self._max_concurrent = max_concurrent
        self._timeout_s = timeout_s
        self._extra = dict(extra or {})
        self._client: httpx.AsyncClient | None = None
        self._slots: asyncio.Semaphore | None = None

    def __repr__(self) -> str:  # without the key
        return f"<ServerBackend {self.model} at {self._url}>"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_client": None, "_slots": None}

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}

    def check(self) -> None:
        """Ask the server which models it serves. Raises BackendError where it does not answer or lacks ours."""
        try:
            answer = httpx.get(f"{self._url}/models", headers=self._headers(), timeout=30)
        except httpx.HTTPError as error:
            raise BackendError(
                f"no server answers at {self._url} ({type(error).__name__}: {error}): start it, or correct the url "
                "(it ends in /v1 for most servers)",
                retryable=False,
            ) from error
        if answer.status_code != 200:
            raise _refused(self._url, answer)
        try:
            served = [str(entry["id"]) for entry in answer.json()["data"]]
        except (ValueError, KeyError, TypeError) as error:
            raise BackendError(
                f"{self._url}/models answered with something else than a list of models: {answer.text[:200]!r}; "
                "is this an OpenAI-compatible server?",
                retryable=False,
            ) from error
        if self.model not in served:
            raise BackendError(
                f"the server at {self._url} does not serve {self.model!r}; it serves: {', '.join(served) or 'nothing'}",
                retryable=False,
            )

    async def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """Answer all prompts, in order. Raises BackendError."""
        if self._client is None:
            self._client = httpx.AsyncClient(
                headers=self._headers(),
                timeout=httpx.Timeout(self._timeout_s, connect=30),
                limits=httpx.Limits(max_connections=self._max_concurrent),
            )
            self._slots = asyncio.Semaphore(self._max_concurrent)
        return list(await asyncio.gather(*(self._one(prompt) for prompt in prompts)))

    async def close(self) -> None:
        """Close the connections; the server runs on."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _one(self, prompt: Prompt) -> Generation:
        assert self._client is not None  # noqa: S101 - for the type checker: generate makes both
        assert self._slots is not None  # noqa: S101
        if prompt.capture is not None:
            raise BackendError(
                "a server returns no activations: capture them after the run with the weights at hand "
                "(wolfscope capture), or play with the transformers backend",
                retryable=False,
            )
        if prompt.sampling.choices:
            raise BackendError(
                "a choice among token sequences is not available over HTTP: use the vllm or transformers backend",
                retryable=False,
            )
        async with self._slots:
            try:
                answer = await self._client.post(f"{self._url}/completions", json=self._body(prompt))
            except httpx.HTTPError as error:
                raise BackendError(
                    f"the server at {self._url} did not answer ({type(error).__name__}: {error})"
                ) from error
        if answer.status_code != 200:
            raise _refused(self._url, answer)
        try:
            return _generation(answer.json())
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise BackendError(
                f"the server at {self._url} answered with something else than a completion "
                f"({type(error).__name__}: {error}): {answer.text[:200]!r}"
            ) from error

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        sampling = prompt.sampling
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": list(prompt.ids),
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "logprobs": 1,
            "return_token_ids": True,
            "stop_token_ids": list(sampling.stop_ids),
            "skip_special_tokens": False,
        }
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        return body | self._extra


def _generation(answer: dict[str, Any]) -> Generation:
    choice = answer["choices"][0]
    if choice.get("token_ids") is None:
        raise BackendError(
            "the server returned text without token ids, and Wolfscope logs what the model emitted token for token: "
            "use a server that knows `return_token_ids` (vLLM does)",
            retryable=False,
        )
    ids = tuple(int(i) for i in choice["token_ids"])
    logprobs = tuple(float(p) for p in (choice.get("logprobs") or {}).get("token_logprobs") or ())
    cached = ((answer.get("usage") or {}).get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return Generation(
        output_ids=ids,
        text=str(choice["text"]),
        logprobs=logprobs if len(logprobs) == len(ids) else (),
        n_cached=int(cached),
        finish_reason=str(choice.get("finish_reason") or "stop"),
    )


def _refused(url: str, answer: httpx.Response) -> BackendError:
    status = answer.status_code
    remedy = {
        401: "; set the key: api_key_env names the environment variable that holds it",
        403: "; the key is not allowed to use this model",
        404: "; check url and model",
    }.get(status, "")
    return BackendError(
        f"the server at {url} refused with status {status}: {answer.text[:300]!r}{remedy}",
        retryable=status in RETRYABLE,
    )
