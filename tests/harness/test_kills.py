"""kill -9 of anything at any moment loses nothing: the same command finishes the very same games.

`tests/benchmarks/bench_kills.py` does the same many times, engines included.
"""

import numpy as np
import pytest

from tests.fixtures.kill_runs import KilledRun


@pytest.mark.slow
@pytest.mark.xdist_group("engine")
def test_kills_on_a_cluster_of_two_nodes_change_nothing(tmp_path):
    rng = np.random.default_rng(20)
    with KilledRun(tmp_path, games=80, delay=0.03) as run:
        run.start()
        assert run.played_on(0)
        assert [len(run.actors("RunnerActor", node)) for node in (run.head, run.other)] == [1, 1]
        run.kill_many(["node", *(str(k) for k in rng.permutation(["driver", "runner"]))], rng, 0.6)
        assert len(run.kills) >= 2
        run.wait(90)
        assert "going on from the journal" in run.log.read_text()
        run.check()
