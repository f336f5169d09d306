"""Strength by side: what equal players are said to be, what unequal ones are, and what a sum over teams makes of it."""

import numpy as np
import polars as pl
import pytest

from analysis.behaviour.ratings import (
    differences_table,
    head_to_head,
    rate,
    ratings_lines,
    ratings_table,
    results_of,
)
from analysis.stats.errors import AnalysisError
from harness import load_run
from harness.cli.main import main
from tests.fixtures.local_runs import play_run, scripted

WOLVES, VILLAGERS = 2, 5
ATTACK = {"a": 1.2, "b": 0.0, "c": -1.2}
DEFENCE = {"a": -0.8, "b": 0.9, "c": -0.1}
"""Strengths of three agents as the werewolf and in all other seats, in logits."""


def simulate(
    n_games: int,
    rng: np.random.Generator,
    strengths: dict[str, float] | None = None,
    p_werewolves: float = 0.5,
    wolfish: float = 0.8,
    agents: tuple[str, str] = ("x", "y"),
) -> pl.DataFrame:
    """Games of 2 werewolves against 5 villagers; the first agent sits among the werewolves with probability `wolfish`.

    strengths: of the werewolf side's agents, in logits; none: who wins does not depend on who plays.
    """
    rows = []
    for game in range(n_games):
        wolves = [agents[int(rng.random() > wolfish)] for _ in range(WOLVES)]
        village = [agents[int(rng.random() < wolfish)] for _ in range(VILLAGERS)]
        logit = np.log(p_werewolves / (1 - p_werewolves)) + np.mean(
            [(strengths or {}).get(a, 0.0) for a in wolves]
        )
        winner = "werewolf" if rng.random() < 1 / (1 + np.exp(-logit)) else "village"
        rows += [(f"g{game}", "rules", winner, "werewolf", a, winner == "werewolf") for a in wolves]
        rows += [(f"g{game}", "rules", winner, "village", a, winner == "village") for a in village]
    return pl.DataFrame(rows, schema=["game_id", "rules", "winner", "side", "agent", "won"], orient="row")


class TestNullDesign:
    """Equal players, unequal teams, and one of them is a werewolf four times as often as the other."""

    @pytest.mark.parametrize("p_werewolves", [0.5, 0.7])
    def test_intervals_cover_equality_at_the_nominal_rate(self, p_werewolves):
        rng = np.random.default_rng(1)
        n, missed = 150, {"werewolf": 0, "village": 0}
        for k in range(n):
            fit = rate(simulate(120, rng, p_werewolves=p_werewolves), n_boot=300, seed=k)
            for side in missed:
                d = fit.difference(side, "x", "y")
                missed[side] += not d.low <= 0 <= d.high
        # 95% intervals miss 5%; of 150 that is 7.5, and 16 or more would happen once in 400 times.
        assert all(count <= 15 for count in missed.values()), missed

    def test_sums_over_teams_call_the_more_frequent_werewolf_the_better_player(self):
        """OpenSkill's Plackett-Luce on the same kind of games: seven different players of 14, who are all alike."""
        from openskill.models import PlackettLuce

        rng = np.random.default_rng(2)
        model = PlackettLuce()
        ratings = {f"p{i}": model.rating(name=f"p{i}") for i in range(14)}
        often, seldom = [f"p{i}" for i in range(7)], [f"p{i}" for i in range(7, 14)]
        rows = []
        for game in range(600):
            n_often = int(rng.binomial(WOLVES, 0.8))
            wolves = [
                *rng.choice(often, n_often, replace=False),
                *rng.choice(seldom, WOLVES - n_often, replace=False),
            ]
            rest_often = int(rng.binomial(VILLAGERS, 0.2))
            village = [
                *rng.choice([p for p in often if p not in wolves], rest_often, replace=False),
                *rng.choice([p for p in seldom if p not in wolves], VILLAGERS - rest_often, replace=False),
            ]
            winner = "werewolf" if rng.random() < 0.5 else "village"
            teams = [[ratings[p] for p in wolves], [ratings[p] for p in village]]
            rated = model.rate(teams, ranks=[1, 2] if winner == "werewolf" else [2, 1])
            for rating in (r for team in rated for r in team):
                ratings[rating.name] = rating
            for side, players in (("werewolf", wolves), ("village", village)):
                rows += [(f"g{game}", "rules", winner, side, str(p), winner == side) for p in players]
        gap = np.mean([ratings[p].mu for p in often]) - np.mean([ratings[p].mu for p in seldom])
        spread = np.sqrt(np.mean([r.sigma**2 for r in ratings.values()]) * 2 / 7)
        assert gap > 4 * spread, (
            "a team of two that wins every other game against five must be strong, it concludes"
        )
        kinds = {p: "often" if p in often else "seldom" for p in ratings}
        results = pl.DataFrame(
            rows, schema=["game_id", "rules", "winner", "side", "agent", "won"], orient="row"
        ).with_columns(pl.col("agent").replace(kinds))
        fit = rate(results)
        for side in ("werewolf", "village"):
            d = fit.difference(side, "often", "seldom")
            assert d.low <= 0 <= d.high


class TestMiniMafia:
    """One werewolf against one agent in all other seats: logit(p) = attack - defence, the rating model of Mini-Mafia
    (arXiv 2509.23023) for villagers who detect alike."""

    def games(self, n: int, seed: int) -> pl.DataFrame:
        rng, rows = np.random.default_rng(seed), []
        for game in range(n):
            attacker, defender = rng.choice(list(ATTACK), 2)
            p = 1 / (1 + np.exp(DEFENCE[defender] - ATTACK[attacker]))
            winner = "werewolf" if rng.random() < p else "village"
            for side, agent in (("werewolf", attacker), *[("village", defender)] * 3):
                rows.append((f"g{game}", "mini-mafia-4", winner, side, str(agent), winner == side))
        return pl.DataFrame(rows, schema=["game_id", "rules", "winner", "side", "agent", "won"], orient="row")

    def test_attack_and_defence_are_found_in_logits(self):
        fit = rate(self.games(3000, 5), n_boot=300)
        for side, truth in (("werewolf", ATTACK), ("village", DEFENCE)):
            for one, other in (("a", "b"), ("b", "c"), ("a", "c")):
                d, expected = fit.difference(side, one, other), truth[one] - truth[other]
                standard_error = (d.high - d.low) / (2 * 1.96)
                assert abs(d.value - expected) < 4 * standard_error < 0.6, (side, one, other)


class TestStrength:
    def test_stronger_werewolf_is_found_on_the_werewolf_side_alone(self):
        results = simulate(800, np.random.default_rng(3), {"x": 0.75, "y": -0.75}, wolfish=0.5)
        fit = rate(results)
        d = fit.difference("werewolf", "x", "y")
        assert d.low > 0 and d.low <= 1.5 <= d.high
        village = fit.difference("village", "x", "y")
        assert village.low <= 0 <= village.high
        assert fit.strength("werewolf", "x").value == pytest.approx(-fit.strength("werewolf", "y").value)
        assert fit.p_win("werewolf", "x").low > 0.5 > fit.p_win("werewolf", "y").high

    def test_rules_that_favour_a_side_make_nobody_strong(self):
        rng = np.random.default_rng(4)
        hard = simulate(300, rng, p_werewolves=0.15).with_columns(
            rules=pl.lit("hard"), game_id="h" + pl.col("game_id")
        )
        fit = rate(pl.concat([hard, simulate(300, rng, p_werewolves=0.85)]))
        for side in ("werewolf", "village"):
            d = fit.difference(side, "x", "y")
            assert d.low <= 0 <= d.high
        assert abs(fit.bases[0]) < 0.4, "the average of rules that favour either side favours none"

    def test_agent_that_always_won_gets_a_finite_strength(self):
        results = simulate(60, np.random.default_rng(5), {"x": 50.0, "y": -50.0}, wolfish=0.5)
        strength = rate(results).strength("werewolf", "x")
        assert 0 < strength.low < strength.high < 20

    def test_head_to_head_counts_each_game_once_a_pair(self):
        results = pl.DataFrame(
            [
                ("g0", "r", "werewolf", "werewolf", "a", True), ("g0", "r", "werewolf", "werewolf", "a", True),
                ("g0", "r", "werewolf", "village", "b", False), ("g0", "r", "werewolf", "village", "b", False),
                ("g1", "r", "village", "werewolf", "a", False), ("g1", "r", "village", "village", "b", True),
                ("g1", "r", "village", "village", "a", True),
                ("g2", "r", "jester", "werewolf", "b", False), ("g2", "r", "jester", "village", "b", False),
            ],
            schema=["game_id", "rules", "winner", "side", "agent", "won"], orient="row",
        )  # fmt: skip
        table = head_to_head(results)
        assert table.select("werewolf", "village", "games", "wins").rows() == [
            ("a", "a", 1, 0),
            ("a", "b", 2, 1),
        ]
        assert rate(results, n_boot=10).n_dropped == 1

    def test_games_without_a_winner_are_refused(self):
        results = simulate(3, np.random.default_rng(0)).with_columns(winner=pl.lit("nobody"))
        with pytest.raises(AnalysisError, match="none of 3 games"):
            rate(results)


class TestRuns:
    def test_command_prints_and_writes_what_the_run_s_seats_say(self, tmp_path, capsys):
        run = play_run(scripted(30, mix={"bayesian": 3, "random": 4}), tmp_path / "run")
        with pytest.raises(SystemExit) as stopped:
            main(["ratings", str(run)])
        assert stopped.value.code == 0
        results = results_of([load_run(run)])
        fit = rate(results)
        assert capsys.readouterr().out.splitlines()[:-1] == ratings_lines(fit, results)
        assert pl.read_parquet(run / "derived" / "ratings.parquet").equals(ratings_table(fit, results))
        assert pl.read_parquet(run / "derived" / "head_to_head.parquet").equals(head_to_head(results))
        assert differences_table(fit)["agent"].to_list() == ["bayesian", "bayesian"]
        village = fit.difference("village", "bayesian", "random")
        assert village.value > 0

    def test_continuations_of_one_game_are_no_sample(self, tmp_path):
        run = load_run(play_run(scripted(2), tmp_path / "run"))
        run.manifest.parent = {"run": "another"}
        with pytest.raises(AnalysisError, match="continues a recorded game"):
            results_of([run])

    def test_runs_that_share_games_are_refused(self, tmp_path):
        run = load_run(play_run(scripted(2), tmp_path / "run"))
        with pytest.raises(AnalysisError, match="wolfscope merge"):
            results_of([run, run])
