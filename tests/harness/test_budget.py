"""Budgets: what is used is counted where it is used, and what is over ends with its reason."""

import asyncio
from pathlib import Path

import pytest

from agents.backends.base import Generation, Message, Prompt, Sampling
from agents.models.small import SMALL_MODEL
from games import load_game
from games.base import Observation
from games.records import Action, Decision, Reply, Trace
from harness import load_run
from harness.check.check import check_run
from harness.config.files import parse_config
from harness.config.sections import BudgetSection, Config, LimitSection, PriceSection
from harness.errors import ConfigurationError, RunFolderError
from harness.play.budget import (
    REASON,
    Booked,
    BudgetExceeded,
    BudgetSpent,
    Ledger,
    Meter,
    cost_of,
    usage_lines,
    usage_of,
    used,
)
from harness.play.runner import Runner
from harness.play.tournament import run_tournament
from harness.run.journal import End, Journal
from harness.run.usage import Usage
from harness.schedule.tournament import Schedule
from tests.fixtures.player_fixtures import FakeBackend, transcript_line

PRICE = PriceSection(prompt=2.0, cached=0.5, generated=10.0)


def config(games: int = 1, budget: dict | None = None, prices: dict | None = None) -> Config:
    return parse_config(
        {
            "run": {"games": games, "seed": 5},
            "agents": {
                "small": {"kind": "llm", "backend": "b"},
                "r": {"kind": "scripted", "policy": "random"},
            },
            "backends": {"b": {"kind": "transformers", "prices": prices}},
            "roster": {"mix": {"small": 3, "r": 4}},
            "budget": budget or {},
        }
    )


def played(wanted: Config, folder: Path) -> tuple[Journal, FakeBackend]:
    """The games of a configuration, played in this process by a backend without a model."""
    from agents.models.folder import load_tokenizer

    schedule = Schedule(wanted)
    backend = FakeBackend(load_tokenizer(SMALL_MODEL), transcript_line)
    (folder / "journal").mkdir()
    runner = Runner(folder / "journal" / "s0001-r000.jsonl", schedule.cells, schedule.configs, {"b": backend})

    async def all_games() -> None:
        for planned in schedule:
            await runner.play(planned)
        await runner.close()

    asyncio.run(all_games())
    return Journal([folder / "journal" / "s0001-r000.jsonl"]), backend


class Spender:
    """Takes the game's fallback and books 20 tokens for it."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def act(self, observation: Observation) -> Reply:
        Booked(FakeBackend(None, transcript_line)).book(Usage(calls=1, prompt=15, generated=5))
        return Reply(load_game(observation.game).legal_fallback(observation.request, observation.seed))


class TestAccounts:
    def test_every_call_is_booked_attempts_that_could_not_be_used_included(self, tmp_path):
        journal, backend = played(config(), tmp_path)
        (end,) = journal.ends.values()
        usage = end.usage[backend.model]
        assert usage.calls == len(backend.prompts)
        assert usage.prompt == sum(len(p.ids) for p in backend.prompts)
        assert usage.generated > 0 and usage.cost == 0
        decided = [r for r in journal.records(journal.game_ids[0]) if isinstance(r, Decision) and r.trace]
        assert len(decided) < usage.calls, "some lines of this backend are illegal and asked again"

    def test_accounts_by_the_log_count_whole_prompts_of_the_attempts_that_were_used(self, tmp_path):
        journal, backend = played(config(), tmp_path)
        records = journal.records(journal.game_ids[0])
        by_log = usage_of(records)
        asked = {len(p.ids) for p in backend.prompts}
        assert {model for _, model in by_log} == {backend.model}
        assert sum(u.calls for u in by_log.values()) == sum(
            isinstance(r, Decision) and r.trace is not None for r in records
        )
        last = max((r for r in records if isinstance(r, Decision) and r.trace), key=lambda r: r.seq)
        assert usage_of(records)[last.seat, backend.model].prompt > max(asked)

    def test_cost_follows_the_price_table(self):
        assert cost_of(PRICE, 1_000_000, 400_000, 100_000) == pytest.approx(0.6 * 2 + 0.4 * 0.5 + 0.1 * 10)
        assert cost_of(PriceSection(prompt=2, generated=3), 1_000_000, 400_000, 0) == pytest.approx(2.0)
        assert cost_of(None, 10**9, 0, 10**9) == 0

    def test_one_line_a_model_with_tokens_cached_share_and_cost(self):
        lines = usage_lines({"m@1": Usage(3, 200, 50, 40, 1.25)})
        assert lines == ["m@1: 3 calls, 200 prompt tokens (25% cached), 40 generated, cost 1.2500"]


class TestGames:
    @pytest.mark.parametrize(
        ("budget", "what"),
        [
            ({"game": {"tokens": 2000}}, "the game has used"),
            ({"seat": {"tokens": 900}}, "seat "),
            ({"game": {"cost": 0.001}}, "budget.game.cost = 0.001"),
            ({"seat": {"seconds": 0}}, "budget.seat.seconds"),
        ],
    )
    def test_game_over_its_budget_ends_with_the_reason(self, tmp_path, budget, what):
        prices = {"prompt": 1.0, "generated": 1.0}
        journal, _ = played(config(budget=budget, prices=prices), tmp_path)
        (end,) = journal.ends.values()
        assert (end.status, end.reason) == ("failed", REASON)
        assert what in (end.error or "")
        assert sum(u.tokens for u in end.usage.values()) > 0

    def test_game_within_its_budget_is_the_game_without_one(self, tmp_path):
        journals = []
        for name, budget in (
            ("free", None),
            ("ample", {"game": {"tokens": 10**9}, "seat": {"seconds": 1e6}}),
        ):
            (tmp_path / name).mkdir()
            journals.append(played(config(budget=budget), tmp_path / name)[0])
        game_id = journals[0].game_ids[0]
        assert journals[0].records(game_id) == journals[1].records(game_id)
        assert journals[1].ends[game_id].status == "finished"

    def test_what_was_logged_before_an_interruption_counts(self, tmp_path):
        journal, backend = played(config(), tmp_path)
        records = journal.records(journal.game_ids[0])
        spent = sum(u.tokens for u in usage_of(records).values())
        meter = Meter(BudgetSection(game=LimitSection(tokens=spent - 1)), {}, records)
        with pytest.raises(BudgetExceeded, match=rf"the game has used {spent:,} of budget.game.tokens"):
            meter.check()
        assert meter.usage()[backend.model].tokens == spent

    def test_cost_limit_without_prices_is_refused_with_the_remedy(self):
        with pytest.raises(
            ConfigurationError, match=r"backends\.b has no prices: add \[backends\.b\.prices\]"
        ):
            config(budget={"run": {"cost": 1.0}})

    def test_budgets_and_prices_do_not_decide_which_games_are_played(self):
        plain = config()
        other = config(budget={"run": {"tokens": 5}}, prices={"prompt": 1, "generated": 2})
        assert plain.hash() == other.hash()
        assert [p.game_id for p in Schedule(plain)] == [p.game_id for p in Schedule(other)]


class TestServers:
    """What a call took where no token ids tell it."""

    def test_tokens_are_booked_as_the_server_counts_them_and_else_estimated(self):
        words = Prompt(ids=(), sampling=Sampling(), messages=(Message("user", "x" * 30),))
        counted = Generation((), "hello", n_prompt=12, n_generated=3, n_cached=99)
        assert used(words, counted) == Usage(1, 12, 12, 3)
        assert used(words, Generation((), "hello!")) == Usage(1, 10, 0, 2)
        ids = Prompt(ids=(1, 2, 3), sampling=Sampling())
        assert used(ids, Generation((4, 5), "x", n_cached=2, n_prompt=9, n_generated=9)) == Usage(1, 3, 2, 2)

    def test_a_game_that_is_taken_up_again_counts_what_the_server_told(self):
        told = {"usage": {"prompt": 40, "generated": 7}}
        made = Decision(
            0, 1, "speech", Action(text="x"), trace=Trace("m", output_text="x", n_cached=50, sampling=told)
        )
        prices = {"m": PriceSection(prompt=1e6, cached=0.0, generated=1e6)}
        assert usage_of([made], prices) == {(1, "m"): Usage(1, 40, 40, 7, cost=7.0)}


class TestRuns:
    def test_ledger_is_spent_once_the_games_have_used_up_the_run_s_tokens(self, tmp_path):
        ledger = Ledger(
            LimitSection(tokens=100), tmp_path, [End("finished", usage={"m": Usage(1, 60, 0, 0)})]
        )
        assert ledger.spent() is None
        ledger.add(End("finished", usage={"m": Usage(1, 10, 0, 30), "n": Usage(1, 1, 0, 1)}))
        assert ledger.spent() == "used 102 of budget.run.tokens = 100"

    def test_seconds_of_all_sessions_add_up(self, tmp_path):
        ledger = Ledger(LimitSection(seconds=50), tmp_path, [])
        ledger._before = 49.0
        ledger.keep()
        assert Ledger(LimitSection(seconds=50), tmp_path, []).spent() is None
        assert "budget.run.seconds = 49" in (Ledger(LimitSection(seconds=49), tmp_path, []).spent() or "")

    def test_unreadable_seconds_are_refused_with_the_remedy(self, tmp_path):
        (tmp_path / "spent.json").write_text("{")
        with pytest.raises(RunFolderError, match="delete it"):
            Ledger(LimitSection(seconds=1), tmp_path, [])

    def test_run_over_its_budget_stops_starting_games_and_goes_on_with_a_larger_one(self, run_path):
        def wanted(tokens: int) -> Config:
            return parse_config(
                {
                    "run": {"games": 16, "in_flight": 2, "runners": 1},
                    "agents": {"a": {"kind": "scripted", "policy": "tests.harness.test_budget:Spender"}},
                    "roster": {"mix": {"a": 7}},
                    "budget": {"run": {"tokens": tokens}},
                }
            )

        with pytest.raises(
            BudgetSpent, match=r"used [\d,]+ of budget.run.tokens = 1,000, \d+ of 16 games have ended"
        ):
            run_tournament(wanted(1000), run_path)
        ended = len(load_run(run_path).journal.ends)
        assert 0 < ended < 16
        assert not load_run(run_path).journal.unfinished, "games under way are played to their end"
        with pytest.raises(BudgetSpent):
            run_tournament(wanted(1000), run_path)
        assert len(load_run(run_path).journal.ends) == ended
        run_tournament(wanted(10**9), run_path)
        assert load_run(run_path).games.collect()["status"].to_list() == ["finished"] * 16
        assert check_run(run_path) == []
