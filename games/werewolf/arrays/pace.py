"""Constant numbers of steps for hidden parts of the game, for environments whose seats can count steps.

The night's acts, and the werewolves' channel by day, are asked of whoever lives and has the role. The number of waves
reveals how many werewolves, doctors or witches live, which is secret where roles are not revealed. So each hidden stage
has as many slots as it can have waves under the configuration; a slot in which nobody is asked is a step in which
nothing happens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from games.records import Event, Record, Request
from games.werewolf.config import WerewolfConfig

Place = tuple[int, int, int]
"""(day, stage, slot) of a wave; a night comes before its day. Public waves have slot 0."""

NIGHT: Final = 0
BEFORE_BALLOT: Final = 2
AFTER_BALLOT: Final = 4
_DISCUSSION, _BALLOT, _SUMMARY = 1, 3, 5
START: Final[Place] = (1, -1, 0)


class Pace:
    """The slots of one configuration."""

    def __init__(self, config: WerewolfConfig) -> None:
        n_wolves = config.count("werewolf")
        chat = [f"whisper {wolf}" for _ in range(config.chat_rounds) for wolf in range(n_wolves)]
        night: list[str] = []
        for wave in config.night_order:
            if wave == ("chat",):
                night += chat
                continue
            night.append(" ".join("heal" if act == "witch" else act for act in wave))
            if "witch" in wave:
                night.append("poison")
        self._kill = next(i for i, acts in enumerate(night) if "night_kill" in acts.split(" "))
        self._slots = {NIGHT: night}
        for stage, moment in ((BEFORE_BALLOT, "before_ballot"), (AFTER_BALLOT, "after_ballot")):
            if moment in config.chat_by_day:
                self._slots[stage] = chat

    def place(
        self, requests: Sequence[Request], log: Sequence[Record], pack: Sequence[int], last: Place
    ) -> Place | None:
        """Where the next wave stands; None where the game is over.

        pack: the seats that were dealt a werewolf. last: the place of the wave before it.
        """
        if not requests:
            return None
        first = requests[0]
        if first.kind == "whisper":
            stage = (
                NIGHT
                if first.phase == "night"
                else AFTER_BALLOT
                if _exiled(log, first.day)
                else BEFORE_BALLOT
            )
            since = last[2] + 1 if last[:2] == (first.day, stage) else 0
            return first.day, stage, self._slots[stage].index(f"whisper {pack.index(first.seat)}", since)
        if first.phase == "night":
            [slot] = [i for i, acts in enumerate(self._slots[NIGHT]) if first.kind in acts.split(" ")]
            return first.day, NIGHT, slot
        if first.kind == "summary":
            return first.day, _SUMMARY, 0
        after = first.kind in ("ballot", "tie_break") or _exiled(log, first.day)
        return first.day, _BALLOT if after else _DISCUSSION, 0

    def n_shown(self, records: Sequence[Record], place: Place) -> int:
        """How many of the records that followed the last wave are shown in an empty slot: none of a later phase, and
        not whom the werewolves chose before the slot in which they vote has passed."""
        day, stage, slot = place
        ends = ("day", day) if stage == NIGHT else ("night", day + 1)
        early = stage == NIGHT and slot <= self._kill
        for i, record in enumerate(records):
            if not isinstance(record, Event):
                continue
            if (early and record.kind == "prey") or (
                record.kind == "phase" and (record.value, record.day) == ends
            ):
                return i
        return len(records)

    def between(self, last: Place, following: Place | None) -> Iterator[Place]:
        """The slots that nobody is asked in between two waves; None: the game is over."""
        if following is None:
            following = (last[0], last[1] + 1, 0)
        for day in range(last[0], following[0] + 1):
            for stage, slots in sorted(self._slots.items()):
                for slot in range(len(slots)):
                    if last < (day, stage, slot) < following:
                        yield day, stage, slot


def _exiled(log: Sequence[Record], day: int) -> bool:
    """Whether the ballot of a day has been decided."""
    for record in reversed(log):
        if record.day < day or record.phase == "night":
            return False
        if record.kind == "exile":
            return True
    return False
