"""A server that refuses everybody from some point on stops the run, and the same command goes on later."""

from __future__ import annotations

import pytest

from harness import load_run
from harness.check.check import check_run
from harness.config.files import parse_config
from harness.errors import TournamentError
from harness.play.progress import Progress
from harness.play.tournament import run_tournament
from tests.fixtures.hostile_server import Asked, Reply, hostile_server, said


@pytest.mark.usefixtures("ray_cluster")
def test_a_run_that_is_refused_stops_without_a_fallback_and_goes_on_later(run_path):
    with hostile_server() as server:
        config = parse_config(
            {
                "run": {"games": 2, "runners": 1},
                "game": {"preset": "aiwolf-5"},
                "agents": {"m": {"kind": "llm", "backend": "s", "prompt": "chat"}},
                "backends": {
                    "s": {"kind": "openai", "model": "tiny", "url": server.url, "settings": {"api": "chat"}}
                },
                "roster": {"mix": {"m": 1}},
            }
        )

        def spent(asked: Asked) -> Reply:
            refused = Reply(402, {"error": {"message": "no credit is left"}})
            return refused if len(server.asked) > 8 else said("SAY: Hello.\nCHOICE: nobody")

        server.answer = spent
        with pytest.raises(TournamentError, match=r"status 402: 'no credit is left'.*same command again"):
            run_tournament(config, run_path, Progress("quiet"))
        stopped = load_run(run_path)
        assert not stopped.journal.ends
        records = [r for game in stopped.journal.game_ids for r in stopped.journal.records(game)]
        assert not any(getattr(r, "fallback", None) == "backend_error" for r in records)
        server.answer = lambda asked: said("SAY: Hello.\nCHOICE: nobody")
        run_tournament(config, run_path, Progress("quiet"))
        assert load_run(run_path).games.collect()["status"].to_list() == ["finished"] * 2
        assert check_run(run_path) == []
