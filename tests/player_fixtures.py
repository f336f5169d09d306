"""What the player tests share: a backend that obeys the protocol without a model, games played in this process, and
tokenizers with the chat templates of four families of models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from agents.backend import BackendError, Generation, Prompt
from games import chance, load_game
from games.play import Answer, observe, play
from games.records import Decision, Record

Say = Callable[[str, Prompt], str]
"""(the prompt's text, the prompt) -> the answer's text."""


class FakeBackend:
    """Answers by a function of the prompt's text; keeps every prompt."""

    model = "fake@000000000000"

    def __init__(self, tokenizer: Any, say: Say, end: str = "", n_tokens: int | None = None) -> None:
        self.tokenizer, self.say, self.end = tokenizer, say, end
        self.prompts: list[Prompt] = []
        self.fail: list[BackendError] = []
        """Errors of the next calls."""

    async def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        if self.fail:
            raise self.fail.pop(0)
        await asyncio.sleep(0)
        return [self._one(prompt) for prompt in prompts]

    def _one(self, prompt: Prompt) -> Generation:
        self.prompts.append(prompt)
        if prompt.sampling.choices:
            ids = chance.choice(prompt.sampling.choices, key_of(prompt))
            return Generation(ids, self.text(ids), self.logprobs(prompt, ids), finish_reason="choice")
        ids = self.ids(self.say(self.text(prompt.ids), prompt))
        stops = [k for k, token in enumerate(ids) if token in prompt.sampling.stop_ids]
        ids = ids[: stops[0] + 1] if stops else ids
        ids = ids[: prompt.sampling.max_tokens]
        stopped = bool(stops) and len(ids) == stops[0] + 1
        text = self.text(ids[:-1] if stopped else ids)
        return Generation(
            ids, text, self.logprobs(prompt, ids), finish_reason="stop" if stopped else "length"
        )

    def logprobs(self, prompt: Prompt, ids: Sequence[int]) -> tuple[float, ...]:
        """Numbers that depend on the tokens alone."""
        return tuple(-1.0 - (token % 7) / 10 for token in ids)

    def text(self, ids: Sequence[int]) -> str:
        return str(
            self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        )

    def ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    async def close(self) -> None:
        return


def key_of(prompt: Prompt) -> int:
    """A draw that depends on the prompt and its seed alone."""
    return chance.key(prompt.sampling.seed or 0, "fake", len(prompt.ids))


def names_in(text: str) -> list[str]:
    """The names on the players' line of a transcript."""
    return text.partition("Roles")[0].partition("Players")[2].replace(":", " ").replace(".", " ").split()


def transcript_line(text: str, prompt: Prompt) -> str:
    """A well-formed line about some player, legal or not."""
    name = chance.choice(names_in(text), key_of(prompt))
    question = text.rpartition("\n")[2].rstrip()
    return f' I accuse {name}."\n' if question.endswith('"') else f" {name}.\n"


async def play_out(
    players: Sequence[Any], config: Any, seed: int = 3, replayed: Sequence[Record] = (), game_id: str = "g"
) -> list[Record]:
    """The whole log of a game; `players[seat]` has the seat."""
    game = load_game("werewolf")
    log = list(replayed)
    loop = play(game, config, seed, replayed=tuple(replayed))
    step = next(loop)
    while True:
        log += step.new
        if not step.requests:
            return log
        seen = [observe(game, game_id, config, seed, log, request) for request in step.requests]
        replies = await asyncio.gather(*(players[o.request.seat].act(o) for o in seen))
        step = loop.send(
            [
                Answer(reply, players[request.seat].name)
                for reply, request in zip(replies, step.requests, strict=True)
            ]
        )


def game_of(player: Any, preset: str = "classic-7", seed: int = 3, **settings: Any) -> list[Record]:
    """A game in which one player has all seats."""
    config = load_game("werewolf").configure(preset=preset, **settings)
    return asyncio.run(play_out([player] * config.n_players, config, seed))


def decisions(log: Sequence[Record], seat: int | None = None) -> list[Decision]:
    """The decisions of a log, of one seat or of all."""
    return [r for r in log if isinstance(r, Decision) and (seat is None or r.seat == seat)]


def context_chain(log: Sequence[Record]) -> dict[int, tuple[list[int], list[int]]]:
    """seq -> (whole prompt, prompt and output) of every model decision, by `continues` alone."""
    found: dict[int, tuple[list[int], list[int]]] = {}
    for decision in decisions(log):
        trace = decision.trace
        if trace is not None:
            before = [] if trace.continues is None else found[trace.continues][1]
            prompt = [*before, *trace.prompt_ids]
            found[decision.seq] = (prompt, [*prompt, *trace.output_ids])
    return found


CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + "
    "(m['content'] | trim) + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' + (m['content'] | trim) + "
    "'<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}"
    "{% set rest = messages[1:] %}{% else %}{% set system = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{% if m['role'] == 'user' %}{% if loop.last and system %}"
    "{{ '[INST] ' + system + '\n\n' + m['content'] + ' [/INST]' }}{% else %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% endif %}{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
QWEN_THINK = (
    "{% for m in messages %}{% set c = m['content'] %}{% if m['role'] == 'assistant' and '</think>' in c %}"
    "{% set c = c.split('</think>')[-1] %}{% endif %}{{ '<|im_start|>' + m['role'] + '\n' + c + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
STYLES: dict[str, tuple[str, tuple[str, ...], str, str | None]] = {
    "chatml": (CHATML, ("<|im_start|>", "<|im_end|>", "<|endoftext|>"), "<|im_end|>", None),
    "llama3": (
        LLAMA3,
        ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|eot_id|>",
        "<|begin_of_text|>",
    ),
    "gemma": (GEMMA, ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"), "<end_of_turn>", "<bos>"),
    "mistral": (MISTRAL, ("<s>", "</s>", "[INST]", "[/INST]"), "</s>", "<s>"),
    "qwen-think": (QWEN_THINK, ("<|im_start|>", "<|im_end|>", "<|endoftext|>"), "<|im_end|>", None),
}
"""Style -> (chat template, control tokens, the token that ends a turn, beginning-of-sequence token)."""


@cache
def chat_tokenizer(style: str) -> Any:
    """A byte-level BPE tokenizer with a family's control tokens and chat template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    template, control, end, bos = STYLES[style]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    config = load_game("werewolf").configure(preset="classic-7")
    from harness.training_games import scripted_game

    game = load_game("werewolf")
    corpus = ["\n".join(game.transcript(scripted_game(config, seed), None, config)) for seed in range(4)]
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    core.train_from_iterator(corpus, trainer)
    core.add_special_tokens([AddedToken(token, special=True) for token in control])
    if style == "qwen-think":  # as in Qwen 3: added, not special
        core.add_tokens([AddedToken("<think>", special=False), AddedToken("</think>", special=False)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=end, bos_token=bos, additional_special_tokens=list(control)
    )
    tokenizer.chat_template = template
    return tokenizer
