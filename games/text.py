"""The interface of a game's language: how records become text, and text becomes actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from games.records import Action, Decision, Record, Request, SpeechAct


class Words(Protocol):
    """The vocabulary of one game in play: what each seat and each term is called."""

    @property
    def names(self) -> tuple[str, ...]:
        """Public name of each seat."""
        ...

    @property
    def lexicon(self) -> str:
        """The name of the lexicon that the terms come from."""
        ...

    @property
    def max_chars(self) -> int:
        """Longest speech that others are shown."""
        ...

    def name(self, seat: int | None) -> str:
        """What a target is called: a seat by its name, NOBODY and None `nobody`."""
        ...

    def term(self, key: str) -> str:
        """The lexicon's word for a key."""
        ...


class Text(Protocol):
    """The language of a game; a module can implement it. `words` is the result of `words_of` for the same log.

    `question` + `answer` is the line of a decision, `parse` is the inverse of `answer`, `read_acts` that of `say`.
    """

    def words_of(self, config: Any, records: Sequence[Record]) -> Any:
        """The `Words` of a game, from the first record of its log. Raises GameError where that is no set-up event."""
        ...

    def words_in(self, config: Any) -> Sequence[str]:
        """Every word with a meaning that a game of this configuration can show, and all names."""
        ...

    def line(self, record: Record, seat: int | None, config: Any, words: Any) -> str | None:
        """One record as `seat` reads it (None: the moderator's view), without a line break; None if it adds nothing."""
        ...

    def own_line(self, decision: Decision, words: Any) -> str:
        """A decision as its own seat reads it afterwards: question and answer in one line."""
        ...

    def question(self, request: Request | Decision, words: Any) -> str:
        """The beginning of the seat's next line, which its answer completes."""
        ...

    def offer(self, request: Request | Decision, words: Any) -> str:
        """The options, between question and answer; empty where the kind of question determines them."""
        ...

    def answer(self, request: Request | Decision, action: Action, words: Any) -> str:
        """The text that completes `question(request)` to the line of a decision."""
        ...

    def parse(self, request: Request, reply: str, words: Any) -> Action:
        """Read a reply as the completion of `question(request)`. Raises Malformed, saying what was expected."""
        ...

    def say(self, acts: Sequence[SpeechAct], words: Any) -> str:
        """Typed acts as sentences."""
        ...

    def read_acts(self, text: str, words: Any) -> tuple[SpeechAct, ...]:
        """The typed acts in a speech, in order."""
        ...

    def opposite(self, act: SpeechAct) -> SpeechAct:
        """The act with the opposite claim about its subject; the act itself where it claims nothing about one."""
        ...

    def role_words(self, config: Any, words: Any) -> dict[str, str]:
        """Role key -> word, of the roles that are dealt: what the answer to a belief question may be."""
        ...

    def belief(self, seats: Sequence[int], words: Any) -> str:
        """The beginning of a line about a belief that a role word completes: `Ada believes Ben` for (0, 1)."""
        ...
