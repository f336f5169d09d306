"""A model behind an OpenAI-compatible server, over HTTP.

Three ways to speak with one (`api`): `tokens`, a list of token ids as `prompt` on `/completions` and the generated ids
back (`return_token_ids`, as vLLM's own server does), so that the log holds what the model emitted; `text`, the same
prompt in words; `chat`, messages on `/chat/completions`, where the server applies the template and tells thinking
apart (`reasoning_content`). In the last two ways no token ids come back, and the log says so.

One try a request: `BackendError` says whether another can help and how long the server asks to be left alone, and the
player waits and tries (`agents.backends.retry`). A server that gives nobody a usable answer for a while is
gone, and then no
decision is recorded for it: the run stops, to be gone on with later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Literal

import httpx

from agents.backends.base import BackendError, EngineLost, Generation, Prompt, next_choices
from agents.backends.openai.wire import is_completion, read_completion, read_message, refused

Api = Literal["tokens", "text", "chat"]
APIS: tuple[Api, ...] = ("tokens", "text", "chat")


class ServerBackend:
    """Backend over `{url}/completions`. Can be sent to other processes; each opens its own connections."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api: str = "tokens",
        tokenizer: str | None = None,
        api_key: str | None = None,
        max_concurrent: int = 64,
        timeout_s: float = 600.0,
        give_up_s: float = 10.0,
        extra: dict[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        """url: the base address, e.g. `http://127.0.0.1:8000/v1`. model: the served model's name.

        tokenizer: the folder of the model's tokenizer, for `text`. max_concurrent: requests in flight, of each
        process. give_up_s: after so long without a usable answer to anybody, the server counts as gone. extra: further
        fields of every request. name: the model's name in the log, where it is not the served one.
        """
        if api not in APIS:
            raise ValueError(f"api = {api!r} is not known; there are: {', '.join(APIS)}")
        if api == "text" and tokenizer is None:
            raise ValueError(
                'api = "text" turns token ids into words: name the tokenizer\'s folder as tokenizer'
            )
        self.model = name or model
        self.api = api
        self._served = model
        self._url = url.rstrip("/")
        self._tokenizer_folder = tokenizer
        self._api_key = api_key
        self._max_concurrent = max_concurrent
        self._timeout_s = timeout_s
        self._give_up_s = give_up_s
        self._extra = dict(extra or {})
        self._client: httpx.AsyncClient | None = None
        self._slots: asyncio.Semaphore | None = None
        self._tokenizer: Any = None
        self._failing_since: float | None = None

    def __repr__(self) -> str:  # without the key
        return f"<ServerBackend {self.model} at {self._url}>"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_client": None, "_slots": None, "_tokenizer": None, "_failing_since": None}

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
            raise refused(self._url, answer)
        try:
            served = [str(entry["id"]) for entry in answer.json()["data"]]
        except (ValueError, KeyError, TypeError) as error:
            raise BackendError(
                f"{self._url}/models answered with something else than a list of models: {answer.text[:200]!r}; "
                "is this an OpenAI-compatible server?",
                retryable=False,
            ) from error
        if self._served not in served:
            raise BackendError(
                f"the server at {self._url} does not serve {self._served!r}; it serves: "
                f"{', '.join(served) or 'nothing'}",
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
        if prompt.capture is not None:
            raise BackendError(
                "a server returns no activations: capture them after the run with the weights at hand "
                "(wolfscope capture), or play with the transformers backend",
                retryable=False,
            )
        if prompt.sampling.choices:
            return await self._choose(prompt)
        if self.api == "chat":
            return read_message(self._url, await self._post("chat/completions", self._chat_body(prompt)))
        answer = await self._post("completions", self._body(prompt))
        return read_completion(self._url, answer, self.api == "tokens")

    async def _choose(self, prompt: Prompt) -> Generation:
        """Walk down the choices token by token; the server's prefix cache makes each step one token's work."""
        if self.api != "tokens":
            raise BackendError(
                f'a choice among token sequences needs api = "tokens", this server is spoken to by {self.api}: '
                'set choice = "free"',
                retryable=False,
            )
        ids: list[int] = []
        logprobs: list[float] = []
        n_cached = 0
        while allowed := next_choices(prompt.sampling.choices, ids):
            seed = prompt.sampling.seed
            body = self._body(prompt) | {
                "prompt": [*prompt.ids, *ids],
                "max_tokens": 1,
                "allowed_token_ids": list(allowed),
                "stop_token_ids": [],
                "ignore_eos": True,
            }
            if seed is not None:  # one stream per step: the same seed twice would draw the same number twice
                body["seed"] = (seed + 0x9E3779B97F4A7C15 * len(ids)) % 2**31
            step = read_completion(self._url, await self._post("completions", body), True)
            if len(step.output_ids) != 1 or step.output_ids[0] not in allowed:
                raise BackendError(
                    f"the server at {self._url} gave tokens {step.output_ids} where only {allowed[:8]} were allowed: "
                    'it does not know `allowed_token_ids`; set choice = "free"',
                    retryable=False,
                )
            n_cached = n_cached if ids else step.n_cached
            ids += step.output_ids
            logprobs += step.logprobs
        text = " ".join(map(str, ids))
        return Generation(
            tuple(ids), text, tuple(logprobs) if len(logprobs) == len(ids) else (), n_cached, "choice"
        )

    async def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        client, slots = self._client, self._slots
        if client is None or slots is None:
            raise BackendError("the connections were closed; make a new backend", retryable=False)
        async with slots:
            try:
                answer = await asyncio.wait_for(
                    client.post(f"{self._url}/{path}", json=body), self._timeout_s
                )
            except (httpx.HTTPError, TimeoutError) as error:
                what = f"{type(error).__name__}: {error}".rstrip(": ")
                raise self._failed(f"the server at {self._url} did not answer ({what})") from error
        if answer.status_code != 200:
            refusal = refused(self._url, answer)
            raise self._failed(str(refusal), refusal.wait_s) if answer.status_code >= 500 else refusal
        if not is_completion(answer):
            raise self._failed(
                f"the server at {self._url} answered with something else than a completion: {answer.text[:200]!r}"
            )
        self._failing_since = None
        return answer

    def _failed(self, message: str, wait_s: float | None = None) -> BackendError | EngineLost:
        """The error of one failure; of a server that is gone, where all have failed for long."""
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        failing = now - self._failing_since
        if failing > self._give_up_s:
            return EngineLost(
                f"{message}; it has given no usable answer for {failing:.0f} s. Look after the server, then run the "
                "same command again: it goes on where it stopped"
            )
        return BackendError(message, wait_s=wait_s)

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        if not prompt.ids:
            raise BackendError(
                f'api = "{self.api}" needs prompts of token ids, this player makes messages: name the tokenizer\'s '
                'folder as tokenizer, or set api = "chat"',
                retryable=False,
            )
        body = self._common(prompt) | {"prompt": list(prompt.ids), "logprobs": 1}
        stops = prompt.sampling.stop_ids
        if self.api == "tokens":
            body |= {
                "return_token_ids": True,
                "stop_token_ids": list(stops),
                "skip_special_tokens": False,
            }
        else:
            body["prompt"] = self._words(prompt.ids)
            body["stop"] = sorted({"\n" if "\n" in (w := self._words((i,))) else w for i in stops})[:4]
            del body["logprobs"]
        return body | self._extra

    def _chat_body(self, prompt: Prompt) -> dict[str, Any]:
        if not prompt.messages:
            raise BackendError(
                'api = "chat" takes messages, which only prompt = "chat" without a tokenizer makes: remove tokenizer, '
                'or set api = "tokens"',
                retryable=False,
            )
        messages = [{"role": m.role, "content": m.content} for m in prompt.messages]
        return self._common(prompt) | {"messages": messages} | self._extra

    def _common(self, prompt: Prompt) -> dict[str, Any]:
        sampling = prompt.sampling
        body: dict[str, Any] = {
            "model": self._served,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        return body

    def _words(self, ids: Sequence[int]) -> str:
        if self._tokenizer is None:
            from agents.models.folder import load_tokenizer

            self._tokenizer = load_tokenizer(self._tokenizer_folder or "")
        bos = self._tokenizer.bos_token_id
        kept = [i for i in ids if i != bos]  # the server puts its own
        return str(self._tokenizer.decode(kept, clean_up_tokenization_spaces=False))
