"""What a dry run says about a run, held against the run."""

import itertools
import json
from typing import ClassVar

import pytest

from agents.models.adapter import weight_bytes
from agents.models.small import SMALL_MODEL
from games.records import Decision
from harness import load_run
from harness.cli.main import main
from harness.config.files import parse_config
from harness.config.models import model_names, used_backends
from harness.config.sections import Config
from harness.errors import ConfigurationError
from harness.forecast.dry_run import forecast_lines, size_of
from harness.forecast.forecast import forecast
from harness.play.ahead.in_flight import in_flight, look
from harness.play.ahead.side_by_side import engines
from harness.play.tournament import run_tournament
from harness.schedule.tournament import Schedule


def config(games: int = 4, **more: object) -> Config:
    return parse_config(
        {
            "run": {"games": games, "seed": 5, "runners": 1},
            "agents": {
                "loud": {"kind": "scripted", "policy": "loud"},
                "r": {"kind": "scripted", "policy": "random"},
            },
            "roster": {"mix": {"loud": 3, "r": 4}},
            **more,
        }
    )


def with_model(games: int = 2, prompt: str = "transcript", **more: object) -> Config:
    small = {"kind": "llm", "backend": "b", "prompt": prompt, "sampling": {"max_tokens": 40}, "retries": 2}
    return parse_config(
        {
            "run": {"games": games, "seed": 5},
            "agents": {"small": small, "r": {"kind": "scripted", "policy": "random"}},
            "backends": {"b": {"kind": "transformers", "prices": {"prompt": 1.0, "generated": 2.0}}},
            "roster": {"mix": {"small": 3, "r": 4}},
            **more,
        }
    )


class TestEnginesSideBySide:
    """On a CPU an engine computes on one core, so a model gets several where it is asked enough."""

    @pytest.fixture(autouse=True)
    def machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = 64 * 2**30
        monkeypatch.setattr("harness.play.ahead.side_by_side.cores", lambda: 4)
        monkeypatch.setattr("harness.play.ahead.side_by_side.free_memory", lambda: self.free)

    def of(self, games: int, ended: int = 0, **backend: object) -> dict[str, int]:
        schedule = Schedule(with_model(games, backends={"b": {"kind": "vllm", "device": "cpu"} | backend}))
        played = {planned.game_id for planned in itertools.islice(schedule, ended)}
        return engines(schedule, used_backends(schedule.configs), played)

    def test_cores_and_seats_bound_their_number(self):
        assert [self.of(games)["b"] for games in (10, 130, 140, 200, 900)] == [1, 1, 2, 3, 4]

    def test_games_that_have_ended_ask_nothing(self):
        assert self.of(900, ended=800) == {"b": 1}

    def test_memory_bounds_their_number(self):
        self.free = 10 * 2**30
        assert self.of(900) == {"b": 3}

    def test_an_adapter_takes_the_memory_of_its_base(self, tmp_path):
        base, adapter = tmp_path / "base", tmp_path / "adapter"
        base.mkdir(), adapter.mkdir()
        (base / "config.json").write_text("{}")
        (base / "model.safetensors").write_bytes(b"w" * 1000)
        (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
        (adapter / "adapter_model.safetensors").write_bytes(b"w")
        assert weight_bytes(adapter) == weight_bytes(base) == 1000

    def test_a_gpu_and_the_configuration_decide_before_that(self):
        assert self.of(900, device="gpu") == {"b": 1}
        assert self.of(900, replicas=2) == {"b": 2}

    def test_two_models_share_the_cores(self):
        small = {"kind": "llm", "prompt": "transcript"}
        two = with_model(
            900,
            agents={"small": small | {"backend": "b"}, "r": small | {"backend": "c"}},
            backends={name: {"kind": "vllm", "device": "cpu"} for name in ("b", "c")},
        )
        schedule = Schedule(two)
        assert engines(schedule, used_backends(schedule.configs)) == {"b": 2, "c": 2}


class TestScripted:
    def test_decisions_of_all_games_are_those_of_the_run(self, run_path):
        found = forecast(config())
        run_tournament(config(), run_path)
        counts = load_run(run_path).decisions.collect().group_by("agent", "kind").len()
        assert found.decisions == {
            agent: dict(counts.filter(agent=agent).select("kind", "len").iter_rows())
            for agent in ("loud", "r")
        }
        assert found.seconds is not None and found.usage == {}

    def test_sample_is_multiplied_up_and_leaves_nothing_behind(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr("tempfile.tempdir", None)
        found = forecast(config(games=30), sample=3)
        assert (found.games, found.from_games, found.sampled) == (30, 3, True)
        assert found.seconds is not None and found.seconds > 0
        assert list(tmp_path.glob("wolfscope-sample-*")) == []
        assert any("really played" in line for line in forecast_lines(found))


class TestModels:
    def test_prompts_and_calls_are_counted_with_the_model_s_own_tokenizer(self):
        found = forecast(with_model())
        ((_, usage),) = found.usage.items()
        n = sum(found.decisions["small"].values())
        assert usage.calls == n
        assert found.most_generated[next(iter(found.usage))] == n * 40 * 3
        assert 0 < usage.cached < usage.prompt
        assert usage.cost == pytest.approx((usage.prompt + 2 * usage.generated) / 1e6)
        assert found.seconds is None
        assert any("--sample" in line for line in forecast_lines(found))

    def test_belief_questions_are_calls_too(self):
        plain = forecast(with_model())
        asked = forecast(with_model(beliefs={"enabled": True, "before": ["ballot"]}))
        (model,) = plain.usage
        assert plain.decisions == asked.decisions
        ballots = plain.decisions["small"]["ballot"]
        assert asked.usage[model].calls - plain.usage[model].calls >= 2 * ballots

    def test_activations_have_a_row_a_decision_and_site_of_all_streams(self):
        found = forecast(with_model(activations={"enabled": True, "sites": ["prompt_last"]})).activations
        n = sum(forecast(with_model()).decisions["small"].values())
        assert found is not None
        streams = 1 + json.loads((SMALL_MODEL / "config.json").read_text())["num_hidden_layers"]
        assert (found.rows, found.streams, found.d_model) == (n, streams, 128)
        assert found.bytes == n * streams * 128 * 4
        some = {"enabled": True, "sites": ["prompt_last"], "layers": [0, 0.5, "embed"], "dtype": "bfloat16"}
        fewer = forecast(with_model(activations=some)).activations
        assert fewer is not None and (fewer.streams, fewer.bytes) == (3, n * 3 * 128 * 2)
        on_forks = {"enabled": True, "sites": ["prompt_last", "belief_mention"]}
        more = forecast(with_model(activations=on_forks))
        asked = forecast(with_model(beliefs={"enabled": True}))
        questions = sum(u.calls for u in asked.usage.values()) - sum(u.calls for u in more.usage.values())
        assert more.activations is not None and more.activations.rows == n + questions > n

    def test_games_of_each_combination_count_by_how_many_of_it_are_scheduled(self):
        factors = {"factors": {"game.preset": ["classic-7", "probe-6"]}}
        mix = {"roles": {"others": "small"}}
        found = forecast(with_model(games=50, experiment=factors, roster=mix))
        assert (found.games, found.from_games) == (100, 8)
        assert "inspect" in found.decisions["small"]

    def test_stand_in_s_log_is_one_that_the_rules_give(self):
        from games.play import fold
        from harness.config.models import model_names, used_backends
        from harness.play.ahead.stand_in import StandIns
        from harness.schedule.tournament import Schedule

        schedule = Schedule(with_model(games=1))
        (game,) = StandIns(schedule, model_names(used_backends(schedule.configs))).play(1)
        rules, settings = schedule.cells[0].rules()
        fold(rules, settings, game.planned.seed, game.records)
        traced = [r for r in game.records if isinstance(r, Decision) and r.trace]
        assert any(r.trace.continues is not None for r in traced if r.trace)


def test_a_model_that_does_not_know_the_game_s_words_is_refused_before_anything_starts(tmp_path):
    def under(lexicon: str, model: str, **more: object) -> Config:
        backend = {"kind": "transformers", "model": model}
        return with_model(game={"lexicon": lexicon}, backends={"b": backend}, **more)

    words = (
        r"agents\.small: the tokenizer of small does not know 46 of the 46 words of the lexicon 'nonsense'"
    )
    with pytest.raises(ConfigurationError, match=words):
        forecast(under("nonsense", "small"))
    with pytest.raises(ConfigurationError, match=words):
        run_tournament(under("nonsense", "small"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    crossed = {"factors": {"game.lexicon": ["classic", "nonsense"]}}
    with pytest.raises(ConfigurationError, match=words):
        forecast(under("classic", "small", experiment=crossed))
    assert forecast(under("nonsense", "small-nonsense")).usage


def test_a_context_that_the_games_do_not_fit_into_is_refused_with_both_numbers():
    short = {"kind": "vllm", "model": "small", "settings": {"max_context": 200}}
    with pytest.raises(
        ConfigurationError, match=r"backends\.b: settings\.max_context = 200, .* needs up to \d{3,} tokens"
    ):
        forecast(with_model(backends={"b": short}))
    assert forecast(with_model()).usage


class TestGamesAtATime:
    AVALON: ClassVar = {
        "agents": {"m": {"kind": "llm", "backend": "b"}},
        "game": {"name": "avalon"},
        "roster": {"mix": {"m": 5}},
    }

    def of(self, kind: str = "vllm", run: dict[str, object] | None = None, **settings: object) -> Config:
        backend = {"kind": kind, "model": "small-avalon", "device": "cpu", "settings": settings}
        return parse_config(
            {**self.AVALON, "backends": {"b": backend}, "run": {"games": 64, "seed": 3, **(run or {})}}
        )

    def test_as_many_games_are_played_as_the_engine_keeps_contexts_of(self):
        found = forecast(self.of())
        (fit,) = found.fits
        assert fit.cache == 2**30 // (2 * 8 * 128 * 4)  # keys and values, 8 layers of width 128, float32
        assert fit.game > 5 * 300
        assert found.in_flight == fit.games == fit.cache // fit.game < 64
        assert f"{fit.games} games fit, and so many are played at a time, not 64" in " ".join(found.advice)
        assert "settings.kv_cache_gb" in found.advice[0]
        assert any(f"a game takes up to {fit.game:,}" in line for line in forecast_lines(found))

    def test_a_larger_cache_takes_them_all_and_nothing_is_advised(self):
        found = forecast(self.of(kv_cache_gb=8))
        assert (found.in_flight, found.advice) == (64, ())

    def test_a_number_that_was_asked_for_stays_and_the_dry_run_says_what_it_costs(self):
        found = forecast(self.of(kind="transformers", run={"in_flight": 60}, cache_tokens=50_000))
        assert found.in_flight == 60
        line, _ = found.advice
        assert "run.in_flight = 60: contexts displace each other" in line and "settings.cache_tokens" in line

    def test_the_engine_that_is_done_first_with_a_small_model_is_named(self):
        few, many = ({"games": games, "seed": 3, "in_flight": 2} for games in (2, 64))
        assert forecast(self.of("transformers", few)).advice == ()
        assert (
            'with kind = "transformers" the run would be done sooner' in forecast(self.of(run=few)).advice[0]
        )
        assert (
            'with kind = "vllm" the run would be done sooner'
            in forecast(self.of("transformers", many)).advice[0]
        )
        assert forecast(self.of("vllm", many)).advice == ()

    def test_a_tournament_looks_before_it_plays_unless_all_its_games_fit_however_long(self):
        config = self.of()
        schedule = Schedule(config)
        used = used_backends(schedule.configs)
        models = model_names(used)
        assert look(schedule, used, models, 4) == []
        (fit,) = look(schedule, used, models, 64)
        assert in_flight(config, [fit]) == fit.games < 64


def test_attempts_of_answers_that_may_be_unusable_are_a_range():
    found = forecast(with_model())
    (model,) = found.usage
    assert found.most_calls[model] > found.usage[model].calls


class TestCommand:
    def test_dry_run_prints_schedule_and_estimate_as_json(self, tmp_path, capsys):
        file = tmp_path / "c.toml"
        file.write_text(
            '[agents.r]\nkind = "scripted"\npolicy = "random"\n[roster]\nmix = { r = 7 }\n[run]\ngames = 12\n'
        )
        with pytest.raises(SystemExit) as stopped:
            main(["run", str(file), "--dry-run", "--json", "--out", str(tmp_path / "run")])
        assert stopped.value.code == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["games"], found["seats"]) == (12, {"r": 84})
        assert found["forecast"]["decisions"]["r"]["ballot"] > 0
        assert not (tmp_path / "run").exists()

    def test_sample_without_dry_run_is_refused(self, tmp_path, capsys):
        file = tmp_path / "c.toml"
        file.write_text('[agents.r]\nkind = "scripted"\npolicy = "random"\n[roster]\nmix = { r = 7 }\n')
        with pytest.raises(SystemExit) as stopped:
            main(["run", str(file), "--sample", "2", "--out", str(tmp_path / "run")])
        assert stopped.value.code == 2
        assert "--sample belongs to --dry-run" in capsys.readouterr().err

    def test_sizes_are_said_in_units_of_a_thousand(self):
        assert [size_of(n) for n in (999, 1500, 2.5e9)] == ["999 B", "1.5 KB", "2.5 GB"]


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("vllm", {"kv_cach_gb": 2}, "kv_cach_gb"),
        ("vllm", {"gpu_memory": 7}, "gpu_memory"),
        ("transformers", {"max_batch_tokns": 1}, "max_batch_tokns"),
        ("openai", {"api": "tokns"}, "tokns"),
    ],
    ids=str,
)
def test_dry_run_refuses_settings_that_a_backend_cannot_have(kind, settings, said):
    where = {"url": "http://127.0.0.1:1/v1", "tokenizer": str(SMALL_MODEL)} if kind == "openai" else {}
    config = parse_config(
        {
            "run": {"games": 1},
            "agents": {
                "m": {"kind": "llm", "backend": "b"},
                "random": {"kind": "scripted", "policy": "random"},
            },
            "backends": {"b": {"kind": kind, "model": "small", "settings": settings, **where}},
            "roster": {"mix": {"m": 1, "random": 6}},
        }
    )
    with pytest.raises(ConfigurationError, match=said):
        forecast(config)
