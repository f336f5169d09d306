"""A model behind an OpenAI-compatible server, over HTTP.

Three ways to speak with one (`api`): `tokens`, a list of token ids as `prompt` on `/completions` and the generated ids
back (`return_token_ids`, as vLLM's own server does), so that the log holds what the model emitted; `text`, the same
prompt in words; `chat`, messages on `/chat/completions`, where the server applies the template and tells thinking
apart (`reasoning_content`). In the last two ways no token ids come back, and the log says so.

One try a request: `BackendError` says whether another can help and how long the server asks to be left alone, and the
player waits and tries (`agents.backends.retry`). One table says what an answer means for the run
(`agents.backends.openai.outcomes`). Where a server refuses every request, or gives no usable answer for a while, no
decision is recorded: the run stops and can be resumed later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from msgspec.structs import replace

from agents.backends.base import BackendError, Capabilities, Generation, Prompt, next_choices
from agents.backends.openai.address import check_url, proxy_of
from agents.backends.openai.connection import Connection, Way
from agents.backends.openai.markers import safe_messages, safe_text
from agents.backends.openai.requests import check_fields, common_fields, messages_of
from agents.backends.openai.startup import check_server
from agents.backends.secrets import know, known

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
        fields: Mapping[str, str | bool] | None = None,
        system_role: str = "system",
        check: bool = True,
        extra: dict[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        """url: the base address, e.g. `http://127.0.0.1:8000/v1`. model: the served model's name.

        tokenizer: the folder of the model's tokenizer, for `text`. max_concurrent: requests in flight, of each
        process. give_up_s: after this time without a usable answer to any request, the server counts as gone. fields:
        this server's names of request fields, or false for those that it refuses. system_role: its name of the system
        role; `user` puts the system text before the first user message. check: whether `/models` is asked before a run.
        extra: further fields of every request. name: the model's name in the log, where it is not the served one.
        Raises ValueError.
        """
        if api not in APIS:
            raise ValueError(f"api = {api!r} is not known; there are: {', '.join(APIS)}")
        if api == "text" and tokenizer is None:
            raise ValueError(
                'api = "text" turns token ids into words: name the tokenizer\'s folder as tokenizer'
            )
        if not isinstance(check, bool):
            raise ValueError(f"check = {check!r}: true or false")
        if not isinstance(system_role, str) or not system_role:
            raise ValueError(f'system_role = {system_role!r}: give a role, e.g. "developer" or "user"')
        self.model, self.capabilities = name or model, Capabilities()
        self.api = api
        self._served = model
        self._way = Way(
            check_url(url),
            api,
            api_key,
            max_concurrent,
            float(timeout_s),
            float(give_up_s),
            check_fields(fields or {}),
        )
        proxy_of(self._way.url)  # an unusable proxy is reported before anything starts
        self._tokenizer_folder = tokenizer
        self._system_role = system_role
        self._checked = check
        self._extra = dict(extra or {})
        self._reset()
        if api_key:
            know(api_key, "API key")

    def _reset(self) -> None:
        """Reset the state that each process has of its own."""
        self._connection: Connection | None = None
        self._tokenizer: Any = None
        self._control: frozenset[int] = frozenset()

    def __repr__(self) -> str:  # without the key
        return f"<ServerBackend {self.model} at {self._way.url}>"

    def __getstate__(self) -> dict[str, Any]:
        own = ("_connection", "_tokenizer", "_control")
        return {k: v for k, v in self.__dict__.items() if k not in own} | {"_secrets": dict(known())}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for secret, name in state.pop("_secrets", {}).items():
            know(secret, name)
        self.__dict__.update(state)
        self._reset()

    def check(self, usage: bool = False) -> None:
        """Ask the server which models it serves. Raises BackendError where it does not answer or lacks the configured
        one.

        usage: also ask for one answer, which must report its token counts, since a budget needs them.
        """
        asked = check_server(self._way, self._served, models=self._checked, usage=usage)
        with ThreadPoolExecutor(1) as pool:  # whether or not this thread has an event loop that runs
            pool.submit(asyncio.run, asked).result()

    async def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """Answer all prompts, in order. Raises BackendError, EngineLost."""
        if self._connection is None:
            self._connection = Connection(self._way)
        return list(await asyncio.gather(*(self._one(prompt) for prompt in prompts)))

    async def close(self) -> None:
        """Close the connections; the server runs on."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _one(self, prompt: Prompt) -> Generation:
        if prompt.capture is not None:
            raise BackendError(
                "a server returns no activations: capture them after the run with the weights at hand "
                "(wolfscope capture), or play with the transformers backend",
                retryable=False,
            )
        if prompt.sampling.choices:
            return await self._choose(prompt)
        body, n_broken = self._body(prompt)
        made = await self._post(body)
        return replace(made, n_broken=n_broken) if n_broken else made

    async def _post(self, body: dict[str, Any]) -> Generation:
        if self._connection is None:
            raise BackendError("the connections were closed; make a new backend", retryable=False)
        return await self._connection.post(body)

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
            body = self._body(prompt)[0] | {
                "prompt": [*prompt.ids, *ids],
                "max_tokens": 1,
                "allowed_token_ids": list(allowed),
                "stop_token_ids": [],
                "ignore_eos": True,
            }
            if seed is not None:  # one stream per step: the same seed twice would draw the same number twice
                body["seed"] = (seed + 0x9E3779B97F4A7C15 * len(ids)) % 2**31
            step = await self._post(body)
            if len(step.output_ids) != 1 or step.output_ids[0] not in allowed:
                raise BackendError(
                    f"the server at {self._way.url} gave tokens {step.output_ids} where only {allowed[:8]} were "
                    'allowed: it does not know `allowed_token_ids`; set choice = "free"',
                    retryable=False,
                    everybody=True,
                )
            n_cached = n_cached if ids else step.n_cached
            ids += step.output_ids
            logprobs += step.logprobs
        text = " ".join(map(str, ids))
        return Generation(
            tuple(ids), text, tuple(logprobs) if len(logprobs) == len(ids) else (), n_cached, "choice"
        )

    def _body(self, prompt: Prompt) -> tuple[dict[str, Any], int]:
        """The request's body, and how many markers in its text were broken up."""
        common = common_fields(self._served, prompt)
        if self.api == "chat":
            if not prompt.messages:
                raise BackendError(
                    'api = "chat" takes messages, which only prompt = "chat" without a tokenizer makes: remove '
                    'tokenizer, or set api = "tokens"',
                    retryable=False,
                )
            safe, n = safe_messages(prompt.messages)
            return common | {"messages": messages_of(safe, self._system_role)} | self._extra, n
        if not prompt.ids:
            raise BackendError(
                f'api = "{self.api}" needs prompts of token ids, this player makes messages: name the tokenizer\'s '
                'folder as tokenizer, or set api = "chat"',
                retryable=False,
            )
        stops = prompt.sampling.stop_ids
        if self.api == "tokens":
            body = common | {
                "prompt": list(prompt.ids),
                "logprobs": 1,
                "return_token_ids": True,
                "stop_token_ids": list(stops),
                "skip_special_tokens": False,
            }
            return body | self._extra, 0
        words, n = self._words(prompt.ids)
        stop = sorted({"\n" if "\n" in (w := self._decode((i,))) else w for i in stops})[:4]
        return common | {"prompt": words, "stop": stop} | self._extra, n

    def _words(self, ids: Sequence[int]) -> tuple[str, int]:
        """Token ids as text, without the beginning-of-sequence token, which the server adds itself."""
        self._load()
        bos = self._tokenizer.bos_token_id
        return safe_text(self._tokenizer, [i for i in ids if i != bos], self._control)

    def _decode(self, ids: Sequence[int]) -> str:
        self._load()
        return str(self._tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))

    def _load(self) -> None:
        if self._tokenizer is None:
            from agents.models.folder import load_tokenizer

            self._tokenizer = load_tokenizer(self._tokenizer_folder or "")
            added = getattr(self._tokenizer, "added_tokens_decoder", {})
            ids = {i for i, token in added.items() if str(getattr(token, "content", token)).strip()}
            self._control = frozenset(
                (ids | set(self._tokenizer.all_special_ids)) - {self._tokenizer.unk_token_id}
            )
