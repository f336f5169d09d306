"""The text before a decision in each arm: nothing, filler, the model's own thought, or that with one change."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from agents.backends.base import Backend, Prompt, Sampling
from agents.llm.transcript import TranscriptPlayer
from agents.llm.transcript_context import Context
from agents.llm.written.line import SO, Kind, Line, Step, Unwritten, read, written
from games import chance
from harness.model_evaluation.thinking.moments import Moment

ARMS = (
    "none",
    "filler",
    "short filler",
    "belief",
    "steps",
    "shuffled",
    "corrupted",
    "exact belief",
    "exact steps",
)
"""none: no line. filler, short filler: as many words as the line of `steps` has, or that of `belief`. belief, steps:
what the model writes. shuffled, corrupted: its own steps in another order, or with the largest one turned round (for
<-> against); it then writes the belief again. exact: the exact observer's line is prefilled."""
KIND_OF: dict[str, Kind] = {
    "none": "none", "filler": "filler", "short filler": "filler", "belief": "belief", "exact belief": "belief",
    "steps": "steps", "shuffled": "steps", "corrupted": "steps", "exact steps": "steps",
}  # fmt: skip
AGAINST = {"filler": "none", "short filler": "none", "belief": "short filler", "exact belief": "short filler"}
"""The arm that each arm is compared with, a filler of its length; for arms not named here it is `filler`."""


class Thought(msgspec.Struct, frozen=True):
    """A moment with the thought before its decision."""

    moment: int
    arm: str
    context: Context
    """Up to the end of the line."""
    text: str = ""
    """The line's text after its opening."""
    line: Line | None = None
    """The text parsed; None for filler, `none`, and unparsable text."""
    n_tokens: int = 0
    """Tokens of the line after the opening."""


class Thinkers:
    """One model as players with each kind of thinking, on one backend."""

    def __init__(
        self, backend: Backend, tokenizer: object, temperature: float = 0.0, budget: int = 160
    ) -> None:
        self.backend, self.temperature, self.budget = backend, temperature, budget
        self.players = {
            kind: TranscriptPlayer(f"{kind}", backend, tokenizer, thinks={"kind": kind, "budget": budget})
            for kind in ("none", "belief", "steps")
        }
        self.encoder = self.players["none"].encoder
        self.stop_ids = self.players["none"].stop_ids

    def opened(self, moment: Moment, kind: Kind) -> Context:
        """The context up to the end of the line's opening; for `none` up to the end of the log."""
        plain = self.players["none"]
        if kind == "none":
            builder = plain.builder(moment.observation)
            return builder.read(moment.observation.records).copy()
        if kind == "filler":
            whole = self.opened(moment, "none")
            other = self.players["steps"].context(moment.observation)
            start = self.encoder.decode(other.ids[len(whole.ids) :]).replace("steps", "filler", 1)
            plain.builder(moment.observation).write(whole, start, "question", moment.viewer)
            return whole
        return self.players[kind].context(moment.observation)

    def order(self, moment: Moment) -> list[str]:
        """The living others in the order of the opening."""
        context = self.opened(moment, "belief")
        names = {moment.names[j] for j in moment.subjects}
        tail = self.encoder.decode(context.ids[-2 - len(names) :])
        return [word for word in tail.replace("(", " ").replace(")", " ").split() if word in names]

    def with_text(self, moment: Moment, arm: str, text: str) -> Thought:
        """The moment with a prefilled line; `text` as `written` gives it."""
        context = self.opened(moment, KIND_OF[arm])
        ids = self.encoder.encode(text + "\n")[0]
        context.write(ids, "reasoning", moment.viewer)
        return Thought(moment.id, arm, context, text, _read(text), len(ids))

    def write(self, moments: Sequence[Moment], kind: Kind, starts: Sequence[str] | None = None) -> list[str]:
        """The lines that the model writes after the opening, or after the opening and a prefill: whole lines, as
        text."""
        prompts, begun = [], list(starts or [""] * len(moments))
        for moment, start in zip(moments, begun, strict=True):
            context = self.opened(moment, kind)
            ids = [*context.ids, *self.encoder.encode(start)[0]]
            seed = chance.key(moment.observation.seed, "thought") >> 33
            sampling = Sampling(
                temperature=self.temperature, max_tokens=self.budget, seed=seed, stop_ids=self.stop_ids
            )
            prompts.append(Prompt(ids=tuple(ids), sampling=sampling, session=f"{moment.id} {kind}"))
        answers = asyncio.run(self.backend.generate(prompts)) if prompts else []
        return [
            (start + " " + self.encoder.decode(a.output_ids).strip()).rstrip()
            for start, a in zip(begun, answers, strict=True)
        ]


def thoughts(
    thinkers: Thinkers, moments: Sequence[Moment], arms: Sequence[str] = ARMS
) -> dict[str, list[Thought]]:
    """Each arm's thoughts; moments of which an arm has none (nothing to shuffle, a line that cannot be read) are left
    out of it."""
    found: dict[str, list[Thought]] = {}
    made: dict[Kind, list[str]] = {}

    def own(kind: Kind) -> list[str]:
        if kind not in made:
            made[kind] = thinkers.write(moments, kind)
        return made[kind]

    for arm in arms:
        if arm == "none":
            found[arm] = [Thought(m.id, arm, thinkers.opened(m, "none")) for m in moments]
        elif arm in ("filler", "short filler"):
            lines = own("steps" if arm == "filler" else "belief")
            lengths = [max(1, len(thinkers.encoder.encode(line)[0]) - 1) for line in lines]
            texts = [written("filler", Line(), n) for n in lengths]
            found[arm] = [thinkers.with_text(m, arm, t) for m, t in zip(moments, texts, strict=True)]
        elif arm in ("belief", "steps"):
            found[arm] = [
                thinkers.with_text(m, arm, t) for m, t in zip(moments, own(KIND_OF[arm]), strict=True)
            ]
        elif arm in ("shuffled", "corrupted"):
            lines = own("steps")
            found[arm] = _changed(
                thinkers, moments, {m.id: t for m, t in zip(moments, lines, strict=True)}, arm
            )
        else:
            kind = KIND_OF[arm]
            found[arm] = []
            for m in moments:
                order = thinkers.order(m)
                exact = msgspec.structs.replace(m.line, belief={name: m.line.belief[name] for name in order})
                found[arm].append(thinkers.with_text(m, arm, written(kind, exact)))
    return found


def _changed(thinkers: Thinkers, moments: Sequence[Moment], own: dict[int, str], arm: str) -> list[Thought]:
    kept, starts = [], []
    for moment in moments:
        line = _read(own[moment.id])
        steps = None if line is None else changed_steps(line.steps, arm, moment.observation.seed)
        if steps is not None:
            kept.append(moment)
            starts.append(" ".join(["", *map(str, steps), SO]))
    lines = thinkers.write(kept, "steps", starts)
    return [thinkers.with_text(m, arm, text) for m, text in zip(kept, lines, strict=True)]


def changed_steps(steps: Sequence[Step], arm: str, key: int) -> list[Step] | None:
    """The steps in another order, or with the largest one inverted; None where that is impossible."""
    if arm == "corrupted":
        if not steps:
            return None
        at = max(range(len(steps)), key=lambda i: abs(steps[i].amount))
        return [msgspec.structs.replace(s, amount=-s.amount) if i == at else s for i, s in enumerate(steps)]
    if len(steps) < 2:
        return None
    shuffled = chance.shuffled(list(steps), chance.key(key, "shuffled steps"))
    return list(shuffled) if list(shuffled) != list(steps) else [*steps[1:], steps[0]]


def _read(text: str) -> Line | None:
    try:
        return read(text)
    except Unwritten:
        return None
