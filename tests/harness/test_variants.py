"""Variants of a decision change what they say they change, and nothing else."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from agents.llm.encoder import Encoder
from agents.llm.transcript_context import Builder
from agents.models.folder import load_tokenizer
from agents.models.small import SMALL_MODEL
from agents.werewolf.vocabulary import make_tokenizer
from games.play import observe
from games.records import Action, Decision, Span
from games.werewolf.lexicon import lexicon
from harness.activations.sites import DecisionContext, game_items, sites_of, views
from harness.activations.store import open_activations
from harness.activations.verify import verify
from harness.capture.contexts import asked
from harness.capture.job import CaptureJob
from harness.capture.run import capture_run
from harness.capture.share import capture_items
from harness.capture.variants import INSTRUCTIONS, VARIANTS, GameVariants, splice
from harness.check.check import check_activations, check_run
from harness.config.files import parse_config
from harness.config.models import model_names
from harness.errors import ConfigurationError
from harness.play.runner import Runner
from harness.run.folder import Run, load_run
from harness.run.held import RunFolder, new_manifest
from harness.schedule.tournament import Schedule
from tests.fixtures.tiny_models import tiny_model

SITES = ("prompt_last", "speech_mean", "mention", "role_line")
WORDY = ("reskinned", *INSTRUCTIONS)
"""Variants with words that the small model's tokenizer lacks."""


def played(path: Path, model: Path = SMALL_MODEL, **activations: object) -> Path:
    """A run of two games, three seats of each the model's, played in this process."""
    from agents.backends.hooked.backend import load_hooked_backend

    plain = {
        "run": {"games": 2, "seed": 3},
        "agents": {
            "small": {"kind": "llm", "backend": "small", "sampling": {"max_tokens": 24}},
            "loud": {"kind": "scripted", "policy": "loud"},
        },
        "backends": {"small": {"kind": "transformers", "model": str(model), "device": "cpu"}},
        "roster": {"seats": ["small", "small", "small", "loud", "loud", "loud", "loud"]},
        "activations": {"sites": list(SITES), "layers": [0, "embed"], **activations},
    }
    config = parse_config(plain)
    schedule = Schedule(config)
    wanted = new_manifest("test", config.plain(), config.hash(), len(schedule), schedule.cells)
    wanted.models = model_names(config.backends)

    async def play(runner: Runner) -> None:
        await asyncio.gather(*(runner.play(planned) for planned in schedule))
        await runner.close()

    with RunFolder.claim(path, wanted) as folder:
        backend = load_hooked_backend(model, device="cpu")
        journal = folder.journal_folder / "s0001-r000.jsonl"
        asyncio.run(play(Runner(journal, schedule.cells, schedule.configs, {"small": backend})))
        asyncio.run(backend.close())
        folder.finish()
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return load_run(played(tmp_path_factory.mktemp("variants") / "run"))


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(load_tokenizer(SMALL_MODEL))


def variants(run: Run, encoder: Encoder) -> tuple[GameVariants, list[DecisionContext]]:
    from harness.capture.contexts import Players
    from harness.schedule.branched import schedule_of

    game_id, records = next(iter(run.logs()))
    game, config, seed = run.game(game_id)
    players = Players(schedule_of(run.manifest).configs)
    made = GameVariants(game_id, game, config, seed, records, encoder, lambda name: players.get(0, name))
    return made, list(views(records, run.manifest.models["small"]))


def role_line(view: DecisionContext) -> Span:
    return next(s for s in view.spans if s.kind == "role_line")


def test_context_without_role_line_is_what_the_builder_makes_of_the_records_without_it(
    run: Run, encoder: Encoder
) -> None:
    made, found = variants(run, encoder)
    before = {
        d.seq: (request, log) for request, d, log in asked(made.game, made.config, made.seed, made.records)
    }
    for view in found:
        changed = made.no_role_line(view)
        line = role_line(view)
        assert changed is not None
        assert changed.ids == (*view.ids[: line.start], *view.ids[line.end :])
        request, log = before[view.decision.seq]
        seen = observe(made.game, made.game_id, made.config, made.seed, log, request).records
        builder = Builder(encoder, made.game.text, made.config, request.seat)
        told = [r for r in seen if getattr(r, "kind", "") != "role"]
        context = builder.prompt([msgspec.structs.replace(r, seq=i) for i, r in enumerate(told)], request)
        assert changed.ids[: changed.n_prompt] == tuple(context.ids)
        spans = {(s.kind, s.start, s.end) for s in changed.spans if s.kind == "mention"}
        assert {(s.kind, s.start, s.end) for s in context.spans if s.kind == "mention"} <= spans
        assert "role_line" not in dict(sites_of(changed, SITES))


def test_sites_of_a_cut_context_name_the_same_tokens(run: Run, encoder: Encoder) -> None:
    made, found = variants(run, encoder)
    for view in found:
        changed = made.no_role_line(view)
        assert changed is not None
        old, new = dict(sites_of(view, SITES)), dict(sites_of(changed, SITES))
        line = role_line(view)
        for site, (subject, tokens) in new.items():
            was = old[site][1]
            if was[0] < line.start or was[0] >= line.end:  # a name last mentioned in the line falls back
                assert old[site][0] == subject
                assert [view.ids[i] for i in was] == [changed.ids[i] for i in tokens]


def test_swapped_role_says_the_other_faction_and_keeps_all_else(run: Run, encoder: Encoder) -> None:
    made, found = variants(run, encoder)
    for view in found:
        changed = made.swapped_role(view)
        assert changed is not None
        old, new = role_line(view), role_line(changed)
        seat = view.decision.seat
        text = encoder.decode(changed.ids[new.start : new.end])
        assert text.split()[:3] == ["You", ":", made.seats[seat].name]
        told = next(word for word in text.split() if word.strip(".") in {s.role for s in made.seats}).strip(
            "."
        )
        assert {s.faction for s in made.seats if s.role == told} != {made.seats[seat].faction}
        assert changed.ids[: new.start] == view.ids[: old.start]
        assert changed.ids[new.end :] == view.ids[old.end :]


def test_reskinned_line_refuses_words_that_the_tokenizer_lacks(run: Run, encoder: Encoder) -> None:
    made, found = variants(run, encoder)
    with pytest.raises(ConfigurationError, match=r"has no tokens for .*now nonsense.*train a model whose"):
        made.reskinned(found[0], "nonsense")
    unchanged = made.reskinned(found[0], "classic")
    assert unchanged is not None and unchanged.ids == found[0].ids
    assert set(unchanged.spans) == set(found[0].spans)


def test_reskinned_decisions_of_a_model_that_knows_both_words_are_captured_and_checked(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "both"
    tokenizer = make_tokenizer(("classic", "neutral", "mafia"))
    tokenizer.save_pretrained(str(folder))
    tiny_model(
        "llama", vocab_size=len(tokenizer), max_position_embeddings=2048, num_hidden_layers=1
    ).save_pretrained(str(folder))
    path = played(tmp_path / "run", folder)
    for skin in ("neutral", "mafia"):
        capture_run(path, device="cpu", variants=("original", "reskinned"), lexicon=skin)
    store = open_activations(path / "activations")
    every = store.index(site="role_line", variant=None)
    assert set(every["variant"]) == {"original", "reskinned-neutral", "reskinned-mafia"}
    by_variant = {name: every.filter(variant=name) for name in every["variant"].unique()}
    was = store.read(by_variant.pop("original"), 0)
    for lines in by_variant.values():
        assert lines.height == len(was)
        assert not np.allclose(store.read(lines, 0), was)
    assert verify(store) == [] and check_activations(path) == []


@pytest.mark.parametrize("skin", ["neutral", "nonsense"])  # the second has names of its own
def test_reskinned_line_has_the_other_words_and_the_same_names(run: Run, skin: str) -> None:
    knows_both = Encoder(make_tokenizer(("classic", skin)))  # the classic words have the same ids as before
    made, found = variants(run, knows_both)
    for view in found:
        changed = made.reskinned(view, skin)
        assert changed is not None
        old, new = role_line(view), role_line(changed)
        was = knows_both.decode(view.ids[old.start : old.end]).split()
        now = knows_both.decode(changed.ids[new.start : new.end]).split()
        words = lexicon(skin).terms
        assert now == [words.get(w.strip("."), w.strip(".")) + "." * w.endswith(".") for w in was]
        assert changed.ids[: new.start] == view.ids[: old.start]
        assert changed.ids[new.end :] == view.ids[old.end :]


def test_random_span_is_as_long_as_the_role_line_and_spares_it(run: Run, encoder: Encoder) -> None:
    made, found = variants(run, encoder)
    n_changed = 0
    for view in found:
        changed = made.random_span(view)
        if changed is None:
            continue
        n_changed += 1
        line, kept = role_line(view), role_line(changed)
        assert len(view.ids) - len(changed.ids) == line.end - line.start
        assert view.ids[line.start : line.end] == changed.ids[kept.start : kept.end]
        assert view.ids[view.n_prompt - 1 :] == changed.ids[changed.n_prompt - 1 :]
        assert made.random_span(view) == changed
    assert n_changed > len(found) / 2


def test_other_seat_has_the_same_public_lines_and_another_role_line(run: Run, encoder: Encoder) -> None:
    made, found = variants(run, encoder)
    for view in found:
        changed = made.other_seat(view)
        assert changed is not None
        old, new = role_line(view), role_line(changed)
        assert view.ids[old.start : old.end] != changed.ids[new.start : new.end]
        assert view.ids[view.n_prompt :] == changed.ids[changed.n_prompt :]
        public = [s for s in view.spans if s.kind in ("phase", "death", "exile") and s.end <= view.n_prompt]
        theirs = [
            s for s in changed.spans if s.kind in ("phase", "death", "exile") and s.end <= changed.n_prompt
        ]
        assert [view.ids[s.start : s.end] for s in public] == [changed.ids[s.start : s.end] for s in theirs]


def test_instructions_stand_before_the_question_and_a_pair_differs_in_them_alone(
    run: Run, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        INSTRUCTIONS, "instructed_honest", "You is villager.\n"
    )  # words that this tokenizer has
    monkeypatch.setitem(INSTRUCTIONS, "instructed_lie", "You is werewolf.\n")
    made, found = variants(run, encoder)
    for view in found:
        honest, lie = made.instructed_honest(view), made.instructed_lie(view)
        assert honest is not None and lie is not None
        at = [s.start for s in view.spans if s.kind == "question" and s.end <= view.n_prompt][-1]
        n = len(honest.ids) - len(view.ids)
        assert n == len(lie.ids) - len(view.ids) == len(encoder.encode("You is villager.\n")[0])
        assert honest.ids[:at] == lie.ids[:at] == view.ids[:at]
        assert honest.ids[at + n :] == lie.ids[at + n :] == view.ids[at:]
        assert sum(a != b for a, b in zip(honest.ids, lie.ids)) == 1
        old, new = dict(sites_of(view, ("prompt_last",))), dict(sites_of(honest, ("prompt_last",)))
        assert new["prompt_last"][1][0] == old["prompt_last"][1][0] + n


def test_instructions_that_the_tokenizer_has_no_words_for_are_refused(run: Run, encoder: Encoder) -> None:
    made, found = variants(run, encoder)
    with pytest.raises(ConfigurationError, match="has no tokens for 'Instruction"):
        made.instructed_lie(found[0])


def test_a_trained_model_that_has_the_instructions_words_is_read_under_both(tmp_path: Path) -> None:
    """The shipped model with the missing words added: it never saw them, and plays as before."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = shutil.copytree(SMALL_MODEL, tmp_path / "more", ignore=shutil.ignore_patterns("checkpoints"))
    plain = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = plain["model"]["vocab"]
    for word in re.findall(r"\w+|[:.]", "".join(INSTRUCTIONS.values())):
        vocabulary.setdefault(word, len(vocabulary))
    (folder / "tokenizer.json").write_text(json.dumps(plain))
    model = AutoModelForCausalLM.from_pretrained(SMALL_MODEL)
    n = model.config.vocab_size
    model.resize_token_embeddings(len(vocabulary))
    with torch.no_grad():
        model.model.embed_tokens.weight[n:].normal_(0.0, 0.5, generator=torch.Generator().manual_seed(0))
        model.lm_head.weight[n:] = model.lm_head.weight[:n].mean(0)
    model.save_pretrained(folder)
    path = played(tmp_path / "run", folder)
    capture_run(
        path,
        device="cpu",
        variants=("original", "instructed_honest", "instructed_lie"),
        sites=("prompt_last",),
    )
    store = open_activations(path / "activations")
    rows = store.index(site="prompt_last", variant=None)
    by = {name: rows.filter(variant=name) for name in ("original", "instructed_honest", "instructed_lie")}
    assert by["original"].height == by["instructed_honest"].height == by["instructed_lie"].height > 10
    keys = ["game_id", "seq"]
    assert by["instructed_honest"].select(keys).equals(by["instructed_lie"].select(keys))
    honest, lying = (store.read(by[name], 0) for name in ("instructed_honest", "instructed_lie"))
    assert (np.linalg.norm(honest - lying, axis=1) > 0).all()
    assert check_run(path) == [] and check_activations(path) == []


def test_splice_moves_grows_and_drops_spans() -> None:
    view = DecisionContext(
        Decision(0, 0, "ballot", Action()),
        tuple(range(10, 20)),
        9,
        6,
        (Span("a", 0, 2), Span("cut", 2, 4), Span("around", 1, 6), Span("edge", 3, 5), Span("b", 6, 9)),
    )
    changed = splice(view, 2, 4, (90, 91, 92), [Span("new", 2, 5)])
    assert changed.ids == (10, 11, 90, 91, 92, *range(14, 20))
    assert (changed.n_prompt, changed.own) == (10, 7)
    assert changed.spans == (Span("a", 0, 2), Span("around", 1, 7), Span("new", 2, 5), Span("b", 7, 10))


def test_variants_are_stored_beside_untouched_originals_and_resumed(run: Run, tmp_path: Path) -> None:
    path = shutil.copytree(run.path, tmp_path / "run")
    said: list[str] = []
    capture_run(path, device="cpu")
    store = open_activations(path / "activations")
    originals = store.index()
    values = store.read_rows(originals)
    capture_run(path, device="cpu", variants=("no_role_line",), sites=("prompt_last",))
    capture_run(
        path, device="cpu", variants=("no_role_line", "random_span", "other_seat"), sites=("prompt_last",)
    )
    capture_run(
        path, device="cpu", variants=("no_role_line", "random_span"), sites=("prompt_last",), say=said.append
    )
    assert said[-1].startswith("0 rows")
    capture_run(path, device="cpu", variants=("swapped_role",), sites=("prompt_last",), roles=("werewolf",))
    store = open_activations(path / "activations")
    assert store.index().equals(originals)
    assert np.array_equal(store.read_rows(store.index()), values)
    every = store.index(variant=None)
    assert set(every["variant"]) == {"original", "no_role_line", "random_span", "other_seat", "swapped_role"}
    keys = every.filter(variant="swapped_role").select("game_id", "seat").unique()
    dealt = keys.join(run.seats.collect(), on=["game_id", "seat"], how="left")["role"]
    assert set(dealt) == {"werewolf"}  # only the seats of a role, where one is named
    both = store.index(variant=None, site="prompt_last")
    n = both.filter(variant="original").height
    assert both.filter(variant="no_role_line").height == both.filter(variant="other_seat").height == n
    assert verify(store) == []
    heard: list[str] = []
    assert check_activations(path, heard.append) == []
    assert re.fullmatch(
        r"(\d+) of \1 rows of a sample agree .*float32: largest .*e-0\d, tolerance 1e-04", heard[-1]
    )
    damage(path)
    assert check_activations(path) != []


def damage(path: Path) -> None:
    """Put other values into every shard, in place."""
    from safetensors.numpy import load_file, save_file

    for shard in (path / "activations" / "shards").iterdir():
        save_file({k: v + 1 for k, v in load_file(shard).items()}, shard, metadata(shard))


def metadata(shard: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(shard, "np") as opened:
        return dict(opened.metadata())


def test_questions_about_others_are_asked_in_changed_contexts_too(run: Run, tmp_path: Path) -> None:
    path = shutil.copytree(run.path, tmp_path / "run")
    variants = ("original", "no_role_line", "random_span", "other_seat")
    capture_run(path, device="cpu", variants=variants, sites=("belief_mention",))
    rows = open_activations(path / "activations").index(variant=None)
    asked = dict(rows.group_by("variant").len().iter_rows())
    assert set(asked) == {
        "original",
        "no_role_line",
        "random_span",
    }  # another's context holds another's beliefs
    assert asked["no_role_line"] == asked["random_span"] == asked["original"] > 10
    both = rows.pivot("variant", index=["game_id", "seq", "subject"], values="token_index")
    lines = [
        s for g in run.game_ids for v in views(run.records(g), None) for s in v.spans if s.kind == "role_line"
    ]
    assert set(both["original"] - both["no_role_line"]) == {s.end - s.start for s in lines}
    assert check_run(path) == [] and check_activations(path) == []


def test_each_token_of_a_span_is_a_row(run: Run) -> None:
    game_id, records = next(iter(run.logs()))
    items = list(
        game_items(game_id, records, run.manifest.models["small"], ("tokens:role_line", "role_line"))
    )
    for item in items:
        line = item.sites["role_line"][1]
        assert [where for site, (_, where) in item.sites.items() if "#" in site] == [(i,) for i in line]


def test_tokens_are_stored_with_their_index_and_average_to_the_mean(run: Run, tmp_path: Path) -> None:
    path = shutil.copytree(run.path, tmp_path / "run")
    capture_run(
        path, device="cpu", sites=("speech_mean", "tokens:speech"), layers=("0.5", "mlp_out", "attn_out")
    )
    store = open_activations(path / "activations")
    n_layers = json.loads((SMALL_MODEL / "config.json").read_text())["num_hidden_layers"]
    half = round(0.5 * (n_layers - 1))
    assert store.layers == (f"resid_post.{half}", f"attn_out.{half}", f"mlp_out.{half}")
    mean, each = store.index(site="speech_mean"), store.index(site="tokens:speech")
    assert each.height == mean["n_tokens"].sum()
    line = mean.row(0, named=True)
    own = each.filter(game_id=line["game_id"], seq=line["seq"])
    assert own["token_index"].to_list() == list(
        range(own["token_index"][0], own["token_index"][0] + own.height)
    )
    np.testing.assert_allclose(
        store.read(own, half).mean(0), store.read(mean[:1], half)[0], rtol=1e-4, atol=1e-5
    )
    assert verify(store) == []


def test_job_names_all_variants(run: Run) -> None:
    job = CaptureJob(
        "small", ("prompt_last",), ("all",), ("original", *(v for v in VARIANTS if v not in WORDY))
    )
    items = list(capture_items(run, run.manifest.models["small"], job))
    assert {i.variant for i in items} == set(job.variants)
    with pytest.raises(ConfigurationError, match="no variant is called 'no_role'"):
        capture_run(run.path, variants=("no_role",))
