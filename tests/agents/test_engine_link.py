"""The wire to an engine: bundles instead of single calls, and every question gets its own answer."""

import asyncio

import pytest

from agents.backends.vllm.link import Box, Link


class Method:
    def __init__(self, call):
        self.remote = call


class Actor:
    """A `Box` behind methods like those of a Ray actor, in the same event loop; counts its calls."""

    def __init__(self, seconds=lambda question: 0.0, fails_at=None):
        self.seconds, self.fails_at = seconds, fails_at
        self.boxes, self.bundles, self.dropped, self.answered = {}, [], [], []
        self.exchange = Method(lambda wire, questions: asyncio.ensure_future(self._exchange(wire, questions)))
        self.drop = Method(self._drop)

    async def _answer(self, question):
        await asyncio.sleep(self.seconds(question))
        self.answered.append(question)
        return question * 10

    async def _exchange(self, wire, questions):
        self.bundles.append(len(questions))
        if self.fails_at is not None and len(self.bundles) > self.fails_at:
            raise ConnectionError("gone")
        return await self.boxes.setdefault(wire, Box(self._answer)).exchange(questions)

    def _drop(self, wire, numbers):
        self.dropped += numbers
        self.boxes[wire].drop(numbers)


def test_questions_of_one_moment_travel_in_one_call():
    async def play():
        actor = Actor(lambda question: 0.02)
        link = Link(actor)
        answers = await asyncio.gather(*(link.ask([i], 5) for i in range(50)))
        return answers, actor.bundles

    answers, bundles = asyncio.run(play())
    assert answers == [[10 * i] for i in range(50)]
    assert bundles[0] == 50
    assert len(bundles) < 10


def test_quick_answer_does_not_wait_for_a_slow_one_of_the_same_bundle():
    async def play():
        order = []
        link = Link(Actor(lambda question: 0.2 if question == 0 else 0.0))

        async def ask(question):
            await link.ask([question], 5)
            order.append(question)

        await asyncio.gather(*(ask(i) for i in range(3)))
        return order

    assert asyncio.run(play()) == [1, 2, 0]


def test_question_that_comes_while_another_is_answered_goes_out_at_once():
    async def play():
        link = Link(Actor(lambda question: 0.3 if question == 0 else 0.0))
        slow = asyncio.create_task(link.ask([0], 5))
        await asyncio.sleep(0.05)
        assert await asyncio.wait_for(link.ask([1], 5), 0.2) == [10]
        assert not slow.done()
        assert await slow == [0]

    asyncio.run(play())


def test_lost_engine_is_told_to_everybody_who_waits():
    async def play():
        link = Link(Actor(fails_at=0))
        return await asyncio.gather(*(link.ask([i], 5) for i in range(3)), return_exceptions=True)

    assert {type(error) for error in asyncio.run(play())} == {ConnectionError}


def test_question_that_nobody_waits_for_any_more_is_dropped():
    async def play():
        actor = Actor(lambda question: 1.0 if question == 0 else 0.0)
        link = Link(actor)
        with pytest.raises(TimeoutError):
            await link.ask([0], 0.05)
        assert await link.ask([1], 5) == [10]
        return actor

    actor = asyncio.run(play())
    assert actor.dropped == [0]
    assert actor.answered == [1]


def test_a_link_rests_between_questions_and_is_of_one_event_loop():
    async def play():
        actor = Actor()
        link = Link(actor)
        for i in range(3):
            assert await link.ask([i, i + 1], 5) == [10 * i, 10 * i + 10]
            await asyncio.sleep(0.01)
        return link, actor.bundles

    link, bundles = asyncio.run(play())
    assert bundles == [2, 2, 2]

    async def elsewhere():
        return link.here()

    assert asyncio.run(elsewhere()) is False
