"""Win rates on the same deals, with intervals; fallbacks counted by kind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from analysis.behaviour.reliability import fallback_counts, own_decisions, reliability_lines
from analysis.behaviour.standings import competence_lines, differences, standings
from analysis.stats.errors import AnalysisError
from harness.config.files import load_config, parse_config
from harness.play.runner import Runner
from harness.run.folder import load_run
from harness.run.held import RunFolder, new_manifest
from harness.schedule.tournament import Schedule
from tests.agents.test_llm_player import nonsense, player_of

SCRIPTED = {name: {"kind": "scripted", "policy": name} for name in ("random", "naive", "cautious", "loud")}


def played(path: Path, plain: dict[str, Any], model: Any = None) -> Any:
    """A finished run of a configuration, played in this process."""
    config = parse_config(plain)
    schedule = Schedule(config)
    wanted = new_manifest("t", config.plain(), config.hash(), len(schedule), schedule.cells)
    with RunFolder.claim(path, wanted) as folder:
        backends = {} if model is None else {"b": model.backend}
        journal = folder.journal_folder / "s0001-r000.jsonl"
        runner = Runner(journal, schedule.cells, schedule.configs, backends)
        if model is not None:
            for cell in range(len(schedule.cells)):
                runner._agents[cell, "model"] = model

        async def play() -> None:
            await asyncio.gather(*(runner.play(planned) for planned in schedule))
            await runner.close()

        asyncio.run(play())
        folder.finish()
    return load_run(path)


def plain(*contenders: str, games: int = 30) -> dict[str, Any]:
    return {
        "run": {"games": games, "seed": 3},
        "game": {"preset": "classic-7"},
        "agents": SCRIPTED | {"model": {"kind": "llm", "backend": "b"}},
        "backends": {"b": {"kind": "transformers"}},
        "roster": {"roles": {"werewolf": "random", "village": ["cautious", "loud"]}},
        "experiment": {
            "factors": {
                "roster.roles": [
                    *({"village": c, "werewolf": ["cautious", "loud"]} for c in contenders),
                    *({"werewolf": c, "village": ["cautious", "loud"]} for c in contenders),
                ]
            }
        },
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return played(tmp_path_factory.mktemp("runs") / "r", plain("random", "naive"))


def test_every_contender_stands_on_every_side(run: Any) -> None:
    found = {(s.side, s.agent): s for s in standings(run)}
    assert set(found) == {(side, agent) for side in ("village", "werewolf") for agent in ("random", "naive")}
    for s in found.values():
        assert s.games == 30
        assert 0 <= s.low <= s.rate <= s.high <= 1
        assert s.opponents == "cautious, loud"
        assert s.fallbacks == 0


def test_wins_are_those_of_the_games_table(run: Any) -> None:
    by_cell: dict[int, int] = {}
    for cell, winner in run.games.select("cell", "winner").collect().iter_rows():
        by_cell[cell] = by_cell.get(cell, 0) + (winner == ("village" if cell < 2 else "werewolf"))
    assert [s.wins for s in standings(run)] == [by_cell[i] for i in range(4)]


def test_players_that_follow_the_evidence_beat_random_ones(run: Any) -> None:
    village = [d for d in differences(run, "naive") if d.side == "village"]
    assert len(village) == 1
    assert village[0].baseline == "random"
    assert village[0].games == 30
    assert village[0].value > 0
    assert village[0].low <= village[0].value <= village[0].high


def test_contenders_play_the_same_deals(run: Any) -> None:
    deals = run.games.select("cell", "seed").collect()
    by_cell = [set(deals.filter(deals["cell"] == cell)["seed"]) for cell in range(4)]
    assert by_cell[0] == by_cell[1] == by_cell[2] == by_cell[3]


def test_run_without_sides_of_their_own_is_refused_with_the_remedy(tmp_path: Path) -> None:
    mixed = plain("random", games=2)
    del mixed["experiment"]
    mixed["roster"] = {"mix": {"cautious": 4, "loud": 3}}
    with pytest.raises(AnalysisError, match=r"competence\.toml"):
        standings(played(tmp_path / "r", mixed))


def test_fallbacks_are_counted_by_kind_and_model_and_can_be_excluded(tmp_path: Path) -> None:
    run = played(tmp_path / "r", plain("model", games=2), player_of(nonsense, retries=0))
    counts = fallback_counts(run)
    (row,) = counts.filter(counts["agent"] == "model").iter_rows(named=True)
    assert (row["fallback"], row["model"], row["share"]) == ("malformed", "mock@000000000000", 1.0)
    assert row["n"] == row["decisions"] > 10
    left = own_decisions(run).collect()
    assert "model" not in set(left["agent"])
    assert len(left) > 0
    (line,) = reliability_lines(run)
    assert line.startswith("model (mock@000000000000): ")
    assert "(100.0%)" in line
    assert "malformed" in line
    lines = competence_lines(run)
    assert any("100.00%" in line for line in lines)


def test_shipped_configuration_is_balanced() -> None:
    path = Path(__file__).parents[2] / "harness" / "config" / "examples" / "competence.toml"
    schedule = Schedule(load_config(path, ["run.games=2"]))
    assert len(schedule.cells) == 8
    assert len(list(schedule)) == 16
