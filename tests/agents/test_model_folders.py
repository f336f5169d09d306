"""Model folders of strangers: none of their code runs, and they are refused by what is wrong before they cost much."""

import gc
import importlib
import importlib.util
import json
import random
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest

from agents.backends.vllm.settings import EngineSettings, engine_arguments
from agents.hooks.layers import UnknownArchitecture
from agents.hooks.model import load_hooked_model
from agents.llm.encoder import Encoder, TokenizerError
from agents.llm.template import Turns, read_markers
from agents.models.adapter import check_adapter
from agents.models.folder import (
    ModelFilesError,
    check_model_dir,
    is_model,
    load_tokenizer,
    model_hash,
    model_name,
    weights_hash,
)
from agents.models.lean import lean_imports
from agents.models.rendering import TemplateRefused, render
from agents.models.small import SHIPPED
from harness.config.sections import BackendSection
from harness.errors import ConfigurationError
from harness.play.preflight.backends import check_backends
from tests.fixtures.tiny_models import save_tiny_model

ROOT = Path(__file__).resolve().parents[2]
LLAMA = (
    "{{ bos_token }}{% if strftime_now is defined %}{% set d = strftime_now('%d %b %Y') %}{% endif %}"
    "<sys>Today: {{ d }} {% for m in messages %}<{{ m.role }}>{{ m.content }}<eos>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def folder(tiny, tmp_path) -> Path:
    return shutil.copytree(tiny, tmp_path / "tiny")


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


# --- adapters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"peft_type": "BONE"}, "only LoRA"),
        ({"megatron_config": {"a": 1}, "megatron_core": "os.path"}, "names code to be imported"),
        ({"r": 10**9}, "at most 8,192"),
        ({"rank_pattern": {"q_proj": 10**6}}, "at most 8,192"),
        ({"target_modules": "([a-z._0-9]+)+!"}, "may take for ever"),
        ({"rank_pattern": {"(a|a+)*": 4}}, "may take for ever"),
        ({"target_modules": "a" * 10_000}, "may take for ever"),
        ({"r": None}, "states no rank"),
    ],
)
def test_an_adapter_s_configuration_names_no_code_and_takes_no_time(tiny, tmp_path, changes, what):
    folder = tmp_path / "adapter"
    folder.mkdir()
    plain = {"peft_type": "LORA", "r": 4, "target_modules": ["q_proj"], "base_model_name_or_path": str(tiny)}
    (folder / "adapter_config.json").write_text(json.dumps(plain | changes))
    with pytest.raises(ModelFilesError, match=what):
        check_adapter(folder)


# --- code and weights -------------------------------------------------------------------------------------------------


def test_code_of_a_folder_is_not_run_and_nobody_is_asked(folder, tmp_path, monkeypatch):
    (folder / "modeling.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\nclass M: pass\nclass T: pass\n"
    )
    edit(
        folder / "config.json",
        model_type="mine",
        auto_map={"AutoModelForCausalLM": "modeling.M", "AutoConfig": "modeling.M"},
    )
    monkeypatch.setattr("builtins.input", lambda *a: "y")
    with pytest.raises(ModelFilesError, match=r"no code of a model's folder is run|cannot be loaded"):
        load_hooked_model(folder)
    edit(
        folder / "tokenizer_config.json",
        tokenizer_class="T",
        auto_map={"AutoTokenizer": ["modeling.T", "modeling.T"]},
    )
    try:
        load_tokenizer(folder)
    except ModelFilesError:
        pass
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["trust_remote_code", "worker_cls", "load_format", "logits_processors"])
def test_engine_settings_cannot_switch_code_on_or_change_the_weights(name):
    for key in (name, name.replace("_", "-")):
        with pytest.raises(ValueError, match=f"extra.{name} cannot be set"):
            engine_arguments(EngineSettings(extra={key: True}), "cpu", "m", "float32", 64)
    with pytest.raises(ConfigurationError, match=name):
        check_backends({"b": BackendSection(kind="vllm", model="small", settings={name: True})})
    assert engine_arguments(EngineSettings(), "cpu", "m", "float32", 64)["trust_remote_code"] is False


def test_a_decoy_beside_other_weights_is_refused(folder):
    (folder / "model.safetensors").rename(folder / "decoy.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(
        ModelFilesError, match=r"decoy\.safetensors, which no model\.safetensors\.index\.json names"
    ):
        check_model_dir(folder)
    (folder / "decoy.safetensors").unlink()
    with pytest.raises(ModelFilesError, match=r"no \*\.safetensors weights"):
        check_model_dir(folder)


@pytest.mark.parametrize(
    "name", ["../../secret.safetensors", "/etc/passwd", "gone.safetensors", "pytorch_model.bin"]
)
def test_an_index_of_weights_names_files_of_the_folder_alone(folder, name):
    (folder / "pytorch_model.bin").write_bytes(b"x")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ModelFilesError, match=r"no \*\.safetensors file of the folder|lacks 1 of its"):
        check_model_dir(folder)


def test_the_hash_covers_all_that_decides_what_is_read_and_written(folder):
    found = {model_hash(folder)}
    old, name = weights_hash(folder), model_name(folder)
    config, tokenizer = ((folder / name).read_text() + " " for name in ("config.json", "tokenizer.json"))
    for file, text in (
        ("tokenizer_config.json", '{"x": 1}'),
        ("chat_template.jinja", "x"),
        ("generation_config.json", '{"eos_token_id": 7}'),
        ("tokenizer.json", tokenizer),
        ("config.json", config),
    ):
        (folder / file).write_text(text)
        found.add(model_hash(folder))
    assert len(found) == 6 and all(len(one) == 16 for one in found)
    assert not is_model(name, folder) and is_model(model_name(folder), folder)
    assert len(old) == 12 and is_model(f"tiny@{weights_hash(folder)}", folder)


def test_a_flipped_bit_of_any_file_of_a_model_is_told_by_its_name(folder):
    name, rng = model_name(folder), random.Random(30)
    for file in sorted(folder.iterdir()):
        before = file.read_bytes()
        for bit in rng.sample(range(8 * len(before)), 4):
            data = bytearray(before)
            data[bit // 8] ^= 1 << bit % 8
            file.write_bytes(data)
            try:
                same = is_model(name, folder)
            except ModelFilesError:
                same = False
            assert not same, (file, bit)
        file.write_bytes(before)
    assert is_model(name, folder)


# --- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (
            {"num_hidden_layers": 10**6},
            "num_hidden_layers is 1000000, expected a whole number from 1 to 1,000",
        ),
        ({"num_hidden_layers": "many"}, "num_hidden_layers is many"),
        ({"hidden_size": 2**62}, "hidden_size is"),
        ({"vocab_size": -1}, "vocab_size is -1"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0"),
        ({"rope_scaling": "yes"}, "rope_scaling is a JSON str"),
        ({"rope_parameters": {"rope_type": "spiral", "rope_theta": 1.0}}, "cannot be loaded"),
        (
            {"quantization_config": {"quant_method": "unheard"}},
            "quant_method is 'unheard', which transformers",
        ),
        ({"head_dim": 7}, "cannot be loaded|another shape|mismatch"),
        ({"model_type": "unheard"}, "cannot be loaded"),
    ],
)
def test_a_broken_config_is_refused_by_what_is_wrong(folder, changes, what):
    edit(folder / "config.json", **changes)
    with pytest.raises((ModelFilesError, UnknownArchitecture), match=what):
        load_hooked_model(folder)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "{", "null", " " * (17 * 2**20), "\x00"],
    ids=("nested", "cut", "null", "large", "zero"),
)
@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
def test_a_file_that_is_no_json_object_is_refused(folder, file, text):
    (folder / file).write_text(text)
    with pytest.raises(ModelFilesError, match=file):
        load_hooked_model(folder)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        (2**40).to_bytes(8, "little") + b"{",
        (10**5).to_bytes(8, "little") + b"[" * 10**5,
        b"\x02\0\0\0\0\0\0\0{}",
    ],
)
def test_a_broken_header_of_weights_is_refused(folder, data):
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(ModelFilesError, match="tiny"):
        load_hooked_model(folder)


# --- chat templates ---------------------------------------------------------------------------------------------------


def templated(folder: Path, template: str):
    tokenizer = load_tokenizer(folder)
    tokenizer.chat_template = template
    return tokenizer


def test_a_template_that_renders_the_date_renders_that_of_its_run_on_any_day(tiny):
    tokenizer = templated(tiny, LLAMA)
    first = read_markers(tokenizer, clock="2024-02-03T04:05:06+00:00")
    assert "Today: 03 Feb 2024" in first.head
    assert read_markers(tokenizer, clock="2024-02-03T04:05:06+00:00") == first
    assert "03 Feb 2024" not in read_markers(tokenizer).head
    assert Turns(Encoder(tokenizer), None, "2025-01-01").markers.head.count("01 Jan 2025") == 1


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% set x = j %}{% endfor %}{% endfor %}",
        "{{ 'x' * 2000000000 }}",
        "{{ 'x'.ljust(4000000000) }}",
        "{% set n = namespace(x='aaaa') %}{% for i in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
    ],
    ids=("loop", "product", "padding", "doubling"),
)
def test_a_template_that_does_not_end_within_its_bounds_is_refused(tiny, template, monkeypatch):
    with pytest.raises(TokenizerError, match="the chat template"):
        read_markers(templated(tiny, template))


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{% include '/etc/passwd' %}",
        "{{ self._TemplateReference__context }}",
        "{{ lipsum.__globals__['os'].system('id') }}",
        "{% import 'os' as os %}",
    ],
)
def test_a_template_reaches_nothing_outside_its_sandbox(template):
    [(text, error)] = render(template, [{"messages": []}])
    assert error is not None or ("uid=" not in text and "root:" not in text and "class" not in text)


def test_a_template_is_rendered_as_transformers_renders_it(tiny):
    for template in (
        LLAMA.replace("strftime_now('%d %b %Y')", "'x'"),
        (
            "{%- for m in messages %}\n  {{- '<' + m['role'] + m['content'] | trim }}"
            "{% if loop.last %}{% break %}{% endif %}\n{% endfor %}"
        ),
        "{% for m in messages %}{% generation %}{{ m | tojson }}{% endgeneration %}{% endfor %}{{ enable_thinking }}",
        (
            "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
            "{{ messages[0].content }}{{ eos_token }}"
        ),
    ):
        tokenizer = templated(tiny, template)
        turns = [{"role": "user", "content": " é \u2028 <b> "}, {"role": "assistant", "content": "b"}]
        special = {key: str(value) for key, value in tokenizer.special_tokens_map.items()}
        ours = render(
            template, [special | {"messages": turns, "add_generation_prompt": True, "enable_thinking": False}]
        )
        theirs = tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        assert ours == [(theirs, None)]


def test_the_bounds_are_the_template_s_own_fault_and_said(tiny):
    with pytest.raises(TemplateRefused, match="more than 3 s or 768 MB"):
        render("{{ 'x' * 2000000000 }}", [{}])


# --- tokenizers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiny", *SHIPPED])
def test_a_tokenizer_that_is_loaded_without_torch_is_the_one_that_transformers_would_choose(name, tiny):
    from transformers import AutoTokenizer

    folder = SHIPPED.get(name, tiny)
    ours, theirs = load_tokenizer(folder), AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    assert type(ours) is type(theirs)
    assert ours.backend_tokenizer.to_str() == theirs.backend_tokenizer.to_str()
    assert ours.special_tokens_map == theirs.special_tokens_map
    assert ours.init_kwargs == theirs.init_kwargs and ours.chat_template == theirs.chat_template


@pytest.mark.parametrize("family", ["gpt_neox", "qwen2"])
def test_a_tokenizer_of_an_architecture_with_a_class_of_its_own_is_left_to_transformers(family, tmp_path):
    from transformers import AutoTokenizer

    folder = save_tiny_model(tmp_path / family, family)
    ours, theirs = load_tokenizer(folder), AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    assert type(ours) is type(theirs)


def test_a_player_of_a_model_is_made_without_torch():
    """A runner's process needs none: the engine is another one, and importing torch is most of a start."""
    code = (
        "import sys\nfrom agents.models.folder import load_tokenizer\nfrom agents.models.small import SMALL_MODEL\n"
        "from harness.play.runner import Runner\nfrom agents.llm.encoder import Encoder\n"
        "tokenizer = load_tokenizer(SMALL_MODEL)\nassert tokenizer.decode(tokenizer.encode('Ada votes Dot.'))\n"
        "print(*{'torch', 'scipy', 'sklearn', 'pandas'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.split() == []


def test_packages_that_a_library_would_import_in_vain_are_absent_until_it_is_loaded(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("had_before", "in_vain"):
        (tmp_path / f"{name}.py").write_text("")
    before = importlib.import_module("had_before")
    with lean_imports(("had_before", "in_vain")):
        assert importlib.util.find_spec("in_vain") is None
        with pytest.raises(ImportError):
            importlib.import_module("in_vain")
        assert importlib.import_module("had_before") is before
    assert importlib.import_module("in_vain").__file__


def test_what_transformers_has_found_to_be_there_stays_there(tmp_path, monkeypatch):
    from transformers.utils import import_utils

    (tmp_path / "found.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(import_utils, "is_found_available", lru_cache(lambda: True), raising=False)
    with lean_imports(("found",)):  # nothing has asked yet
        assert importlib.util.find_spec("found") is None
    assert import_utils.is_found_available()
    with lean_imports(("found",)):
        assert importlib.import_module("found").__file__


@pytest.mark.parametrize("collecting", [True, False])
def test_what_was_imported_is_not_looked_through_for_garbage_and_all_else_is_as_before(
    collecting, tmp_path, monkeypatch
):
    """Python's collector would look through it again and again: a third of the time in which an engine starts."""
    (tmp_path / "with_objects.py").write_text(
        "import gc\nkept = [[] for _ in range(1000)]\nwas = gc.isenabled()"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    before, frozen = gc.isenabled(), gc.get_freeze_count()
    try:
        (gc.enable if collecting else gc.disable)()
        with lean_imports():
            made = importlib.import_module("with_objects")
        assert not made.was and gc.isenabled() is collecting
        assert gc.get_freeze_count() >= frozen + 1000
        assert not any(found is made.kept for found in gc.get_objects())
        frozen = gc.get_freeze_count()
        with lean_imports():
            importlib.import_module("with_objects")
        assert gc.get_freeze_count() == frozen  # nothing new: what else there is may be garbage one day
    finally:
        sys.modules.pop("with_objects", None)
        (gc.enable if before else gc.disable)()
