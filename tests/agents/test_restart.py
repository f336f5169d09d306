"""An engine's death is that engine's alone: it comes back, what it was asked is asked again, others notice nothing."""

import asyncio
import os
import signal
import time
from types import SimpleNamespace

import pytest

from agents.backends.base import EngineLost, Generation, Prompt, Sampling
from agents.backends.hooked.actor import ActorBackend
from agents.backends.restart import Deaths, Restartable, answered
from agents.backends.vllm.engine import VllmBackend
from agents.backends.vllm.link import Box

ray = pytest.importorskip("ray")
SLOW, DEADLY = 1, 2


class Replica(Restartable):
    """An engine's actor without an engine: says its prompt back, slowly or never where the prompt says so."""

    def __init__(self) -> None:
        self.boxes = {}

    async def ready(self) -> int:
        return os.getpid()

    async def exchange(self, wire, prompts):
        return await self.boxes.setdefault(wire, Box(self._one)).exchange(prompts)

    async def _one(self, prompt):
        if DEADLY in prompt.ids:
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(1.0 if SLOW in prompt.ids else 0.0)
        return Generation(prompt.ids, str(os.getpid()))

    async def generate(self, prompts):
        return [await self._one(prompt) for prompt in prompts]


def replica(restarts: int):
    return ray.remote(Replica).options(num_cpus=0, max_restarts=restarts, max_concurrency=100).remote()


def asked(session: str, *ids: int) -> list[Prompt]:
    return [Prompt(ids, Sampling(), session)]


def listen(deaths: Deaths, n: int, seconds: float = 60.0, final: bool = False) -> list:
    heard, deadline = [], time.monotonic() + seconds
    while len(heard) < n and time.monotonic() < deadline:
        heard += deaths.news(final)
        time.sleep(0.05)
    return heard


@pytest.mark.usefixtures("ray_cluster")
class TestReplicas:
    def test_a_dead_replica_alone_is_started_again_and_what_it_was_asked_is_answered(self):
        actors = [replica(restarts=3) for _ in range(2)]
        pids = ray.get([actor.ready.remote() for actor in actors])

        async def play():
            backend = VllmBackend("m@0", actors, 512)
            first = asyncio.create_task(backend.generate(asked("a", 5, SLOW)))
            await asyncio.sleep(0.3)  # the first replica has work, so a new session goes to the second
            os.kill(pids[0], signal.SIGKILL)
            others = []
            while not first.done():
                others += await backend.generate(asked("b", 6))
            return (await first)[0], others

        late, others = asyncio.run(play())
        assert late.output_ids == (5, SLOW)
        assert int(late.text) not in pids
        assert others
        assert {int(one.text) for one in others} == {pids[1]}
        for actor in actors:
            ray.kill(actor)

    def test_a_dead_transformers_engine_answers_what_it_was_asked_once_it_is_back(self):
        actor = replica(restarts=3)
        pid = ray.get(actor.ready.remote())

        async def play():
            asking = asyncio.create_task(ActorBackend("m@0", actor).generate(asked("a", 5, SLOW)))
            await asyncio.sleep(0.3)
            os.kill(pid, signal.SIGKILL)
            return await asking

        (answer,) = asyncio.run(play())
        assert answer.output_ids == (5, SLOW)
        assert int(answer.text) != pid
        ray.kill(actor)

    def test_who_only_looks_on_hears_of_a_death_and_of_the_return_once_each(self):
        actors = {name: replica(restarts=1) for name in ("a", "b")}
        pid = ray.get([actor.ready.remote() for actor in actors.values()])[0]
        deaths = Deaths(actors, every_s=0.05)
        assert list(deaths.news()) == []
        os.kill(pid, signal.SIGKILL)
        heard = listen(deaths, 2)
        assert [name for name, _ in heard] == ["a", "a"]
        assert heard[0][1] is None
        assert heard[1][1] > 0
        os.kill(ray.get(actors["a"].ready.remote()), signal.SIGKILL)  # for good: its askers hear of it
        assert listen(deaths, 1, seconds=2.0) == []
        for actor in actors.values():
            ray.kill(actor)

    def test_the_final_look_hears_of_what_came_between_two_looks(self):
        actors = {name: replica(restarts=1) for name in ("a", "b")}
        pid = ray.get([actor.ready.remote() for actor in actors.values()])[0]
        deaths = Deaths(actors, every_s=30.0)
        assert list(deaths.news()) == []
        noticed = actors["a"].life.remote()
        os.kill(pid, signal.SIGKILL)
        assert ray.wait([noticed], timeout=30)[0]
        assert list(deaths.news()) == []  # it is not time for another look
        # Ray tells one asker of a death before another, so the first final look may be too early.
        (died, away), (back, seconds) = listen(deaths, 2, 30.0, final=True)
        assert (died, away, back) == ("a", None, "a")
        assert seconds < 30.0
        assert list(Deaths({}).news(final=True)) == []
        for actor in actors.values():
            ray.kill(actor)

    @pytest.mark.parametrize("every_s", [0.05, 30.0])
    def test_the_final_look_waits_for_an_engine_that_is_not_back_when_first_asked(self, every_s):
        @ray.remote
        def unavailable():
            raise ray.exceptions.ActorUnavailableError("starting", None)

        @ray.remote
        def back():
            return 0

        class Call:
            def __init__(self, *tasks):
                self.calls = [task.remote() for task in tasks]
                ray.wait(self.calls, num_returns=len(self.calls), timeout=60)

            def remote(self):
                return self.calls.pop(0)

        engine = SimpleNamespace(
            life=Call(unavailable, back), ready=Call(unavailable, unavailable, unavailable, back)
        )
        (died, away), (returned, seconds) = Deaths({"a": engine}, every_s).news(final=True)
        assert (died, away, returned) == ("a", None, "a")
        assert seconds < 30.0

    def test_a_question_under_which_engines_die_is_given_up(self):
        actor = replica(restarts=10)
        ray.get(actor.ready.remote())
        with pytest.raises(EngineLost, match="engine 0 is gone"):
            asyncio.run(VllmBackend("m@0", [actor], 512).generate(asked("a", DEADLY)))
        ray.kill(actor)

    def test_an_engine_that_never_comes_back_is_lost(self):
        actor = replica(restarts=0)
        os.kill(ray.get(actor.ready.remote()), signal.SIGKILL)
        with pytest.raises(EngineLost, match="ActorDiedError"):
            asyncio.run(VllmBackend("m@0", [actor], 512).generate(asked("a", 5)))


def test_an_engine_is_not_waited_for_longer_than_it_may_take():
    class Away:
        def __init__(self, error):
            self.ready = self
            self.error, self.n = error, 0

        def remote(self):
            future = asyncio.get_running_loop().create_future()
            future.set_exception(self.error)
            return future

    error = ray.exceptions.ActorUnavailableError("away", None)

    async def ask():
        raise error

    with pytest.raises(ray.exceptions.ActorUnavailableError):
        asyncio.run(answered(Away(error), ask, back_s=0.2))
