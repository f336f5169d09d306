"""The small models that ship with Wolfscope: where they lie, their kind of tokenizer and their architecture.

torch and transformers are imported by the functions that need them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

SMALL_MODEL = Path(__file__).parent / "small"
"""The shipped model's folder, in Hugging Face format."""
SHIPPED = {
    "small": SMALL_MODEL,
    "small-nonsense": SMALL_MODEL.with_name("small_nonsense"),
    "small-unasked": SMALL_MODEL.with_name("small_unasked"),
    "small-thinking": SMALL_MODEL.with_name("small_thinking"),
    "small-rl-werewolf": SMALL_MODEL.with_name("small_rl_werewolf"),
    "small-rl-village": SMALL_MODEL.with_name("small_rl_village"),
    "small-avalon": SMALL_MODEL.with_name("small_avalon"),
}
"""The folders of all shipped models by name. `small-unasked` only ever saw play: no question was put to it.
`small-nonsense` was trained under the lexicon `nonsense`: the same numbers as `small`, as the same training gives them
whatever the words are, with other words. `small-rl-werewolf` went on from `small` by who won its games as werewolf, and
by nothing else, `small-rl-village` by who won them as village (`harness.training.selfplay`). `small-avalon` plays both
games (`harness.training.joint`)."""

SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>")
PUNCTUATION = ("\n", ".", ",", ":", '"', "'", "!", "?", "[", "]", "(", ")")
NUMBERS = tuple(str(i) for i in range(21))
"""The first words of every small model's vocabulary, in this order, whatever its game."""


def find_model(model: str | Path) -> Path:
    """The folder of a shipped model by its name, or the folder itself."""
    return SHIPPED.get(str(model)) or Path(model).expanduser()


def word_tokenizer(words: Sequence[str]) -> Any:
    """A word-level `PreTrainedTokenizerFast`: words, single punctuation marks and line breaks are tokens.

    words: the index is the token id; `<pad>`, `<bos>`, `<eos>` and `<unk>` are among them.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\w+|\n|[^\w\s]"), behavior="removed", invert=True),
        ]
    )
    # Joins words by a space, and puts full stops and commas next to the word before them.
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        model_max_length=4096,
        clean_up_tokenization_spaces=False,
    )


def is_small(tokenizer: Any) -> bool:
    """Whether a tokenizer is one of `word_tokenizer` with the small models' own first words."""
    return list(tokenizer.convert_ids_to_tokens(list(range(len(SPECIALS))))) == list(SPECIALS)


def words_of(tokenizer: Any) -> list[str]:
    """The words of a tokenizer; the index is the token id."""
    known: dict[str, int] = tokenizer.get_vocab()
    return sorted(known, key=known.__getitem__)


def widened(tokenizer: Any, words: Sequence[str]) -> Any:
    """A tokenizer with all words of another at their ids, followed by those of `words` that it lacks."""
    return word_tokenizer(list(dict.fromkeys([*words_of(tokenizer), *words])))


def make_config(vocab_size: int, hidden: int = 128, layers: int = 4, intermediate: int = 384) -> Any:
    """A `LlamaConfig` of the shape that learned look-up on a CPU: head size 32, untied embeddings, slow rotary base,
    wide initialisation."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 32,
        head_dim=32,
        max_position_embeddings=4096,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        initializer_range=0.05,
        tie_word_embeddings=False,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        dtype="float32",
    )


def unpack_checkpoints(model_dir: Path, out: Path) -> list[Path]:
    """Write each checkpoint kept along a model's training as a folder in Hugging Face format.

    model_dir: holds `checkpoints/NNN.safetensors` (bfloat16; NNN tokens of training), as the shipped model does and
    the `training` folder of `wolfscope train-small-model`. Layers that a checkpoint does not have yet are written as
    such as add nothing, so that all are of the final model's architecture and each computes what it computed then.
    Returns the folders `out/tokens-NNN`, earliest first. Raises FileNotFoundError where there is no checkpoint.
    """
    import torch
    from safetensors.torch import load_file

    from agents.models.classes import AutoConfig, AutoModelForCausalLM, logging

    logging.disable_progress_bar()
    weights = (
        model_dir / "model.safetensors"
    ).resolve()  # a symbolic link for a model that shares another's weights
    found = sorted((weights.parent / "checkpoints").glob("*.safetensors"))
    found = found or sorted((model_dir / "training" / "checkpoints").glob("*.safetensors"))
    if not found:
        raise FileNotFoundError(
            f"'{model_dir}' holds no checkpoints/*.safetensors; `wolfscope train-small-model` keeps some as it goes"
        )
    config = AutoConfig.from_pretrained(model_dir, trust_remote_code=False)
    folders = []
    for path in found:
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        _, unknown = model.load_state_dict({k: v.float() for k, v in load_file(path).items()}, strict=False)
        if unknown:
            raise ValueError(f"{path} has weights that '{model_dir}' has no place for: {', '.join(unknown)}")
        folder = out / f"tokens-{path.stem}"
        model.save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_bytes((model_dir / name).read_bytes())
        folders.append(folder)
    return folders
