"""Percentages that a model states in words, read from the forms in which models write them.

A statement gives one percentage to each of the wanted words. The last complete one counts, since models think aloud
before they answer. Read are lines (`werewolf: 30%`, `1. **werewolf:** ~30 %`, `werewolf (12,5%)`, `werewolf = <1%`),
tables whose rows or columns are the words, JSON, and `30% werewolf`. What cannot be one number is refused and never
guessed at: a range, a number above 100%, percentages that do not add up.

A model can run on for ever in spaces or stars, and a server can send what it likes: each pattern takes such a run whole
and gives nothing of it back (`*+`, `++`), so that reading takes time in proportion to the answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_BOUND = r"[<>≤≥~≈]|<=|>=|about|around|approx\.?|approximately|roughly|under|over|less than|more than"
NUMBER = (
    rf"(?P<bound>{_BOUND})?\s*+(?P<minus>-)?(?P<number>\d++(?:[.,]\d++)?|[.,]\d++)"
    r"\s*+(?P<percent>%|percent\b|per cent\b)?"
)
_RANGE = re.compile(r"\s*+(?:-|–|—|to|bis|\.\.\.?)\s*+[~≈]?\s*+\d", re.IGNORECASE)
_DECOR = r"[\s*_`\"'“”]*+"
LONGEST = 100_000
"""Characters of an answer; a longer one is no statement."""
ADDS_UP = (85.0, 115.0)
"""Percentages that add up to less or more are no distribution; models round."""


class NoStatement(ValueError):
    """The answer holds no statement that can be used; says why."""


def read(answer: str, words: Mapping[str, str]) -> dict[str, float]:
    """Key -> probability, from the last complete statement. words: key -> the word that stands for it.

    The probabilities add up to 1. Raises NoStatement.
    """
    if len(answer) > LONGEST:
        raise NoStatement(f"the answer has {len(answer):,} characters")
    found = None
    for form in (_from_json, _from_columns, _from_lines, _from_reversed):
        at, stated = form(answer, words)
        if stated is not None and (found is None or at > found[0]):
            found = (at, stated)
    if found is None:
        missing = [word for word in words.values() if not _word(word).search(answer)]
        raise NoStatement(
            f"no percentage for {', '.join(missing)}" if missing else "no complete list of percentages"
        )
    return _distribution(found[1])


Stated = dict[str, "tuple[float, bool]"]
"""Key -> (number, whether it was marked as percent)."""


def _distribution(stated: Mapping[str, tuple[float, bool]]) -> dict[str, float]:
    total = sum(value for value, _ in stated.values())
    if any(value < 0 for value, _ in stated.values()):
        raise NoStatement("a percentage is negative")
    marked = any(percent for _, percent in stated.values())
    if marked and any(value > 100 for value, _ in stated.values()):
        raise NoStatement("a percentage is above 100")
    if total <= 0:
        raise NoStatement("all percentages are 0")
    if marked and not ADDS_UP[0] <= total <= ADDS_UP[1]:
        raise NoStatement(f"the percentages add up to {total:g}%")
    return {key: value / total for key, (value, _) in stated.items()}


def _word(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(word)}s?(?!\w)", re.IGNORECASE)


def _number(match: re.Match[str], answer: str) -> tuple[float, bool]:
    """What a match of `NUMBER` says; a bound stands for the middle of what it leaves. Raises NoStatement."""
    if _RANGE.match(answer, match.end()):
        raise NoStatement(f"{answer[match.start() : match.end() + 8].strip()!r} is a range and no number")
    value = float(match["number"].replace(",", "."))
    bound, percent = (match["bound"] or "").casefold(), match["percent"] is not None
    top = 100.0 if percent or value > 1 else 1.0
    if bound in ("<", "≤", "<=", "under", "less than"):
        value /= 2
    elif bound in (">", "≥", ">=", "over", "more than"):
        value = (value + top) / 2
    return (-value if match["minus"] else value), percent


def _last_complete(
    found: Iterator[tuple[int, str, re.Match[str]]], answer: str, words: Mapping[str, str]
) -> tuple[int, Stated | None]:
    """The last run of (place, key, number) that names each key once."""
    block: dict[str, tuple[int, re.Match[str]]] = {}
    whole: dict[str, tuple[int, re.Match[str]]] | None = None
    for at, key, number in found:
        if key in block:
            block = {}
        block[key] = (at, number)
        if len(block) == len(words):
            whole, block = block, {}
    if whole is None:
        return -1, None
    return max(at for at, _ in whole.values()), {key: _number(whole[key][1], answer) for key in words}


def _by_length(words: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted(words.items(), key=lambda item: -len(item[1]))


def _from_lines(answer: str, words: Mapping[str, str]) -> tuple[int, Stated | None]:
    """`word: 30%`, with what may stand around word, sign and number."""
    each = "|".join(f"(?P<w{i}>{re.escape(word)})" for i, (_, word) in enumerate(_by_length(words)))
    sign = rf"s?(?!\w){_DECOR}(?P<sign>[:=|(]|-+>?|–|—|→|\bis\b|\bat\b|\bwith\b)?[\s*_`\"'|:(=]*+"
    pattern = re.compile(rf"(?<![\w-])(?:{each}){sign}{NUMBER}", re.IGNORECASE)
    keys = [key for key, _ in _by_length(words)]

    def matches() -> Iterator[tuple[int, str, re.Match[str]]]:
        for match in pattern.finditer(answer):
            if match["sign"] is None and match["percent"] is None:
                continue
            key = next(keys[i] for i in range(len(keys)) if match[f"w{i}"] is not None)
            yield match.start(), key, match

    return _last_complete(matches(), answer, words)


def _from_reversed(answer: str, words: Mapping[str, str]) -> tuple[int, Stated | None]:
    """`30% werewolf`, `a 30% chance of werewolf`, in answers without any `werewolf: 30%`."""
    if _from_lines(answer, words)[1] is not None:
        return -1, None
    each = "|".join(f"(?P<w{i}>{re.escape(word)})" for i, (_, word) in enumerate(_by_length(words)))
    chance = r"(?:(?:chance|probability|likelihood|likely)\s++)?(?:of\s++)?(?:being\s++)?(?:an?\s++|the\s++)?"
    link = f"{_DECOR}{chance}{_DECOR}"
    pattern = re.compile(rf"(?<![\w.,])(?!\s){NUMBER}{link}(?:{each})s?(?!\w)", re.IGNORECASE)
    keys = [key for key, _ in _by_length(words)]
    found = [m for m in pattern.finditer(answer) if m["percent"]]
    named = ((m.start(), next(keys[i] for i in range(len(keys)) if m[f"w{i}"] is not None), m) for m in found)
    return _last_complete(named, answer, words)


def _from_columns(answer: str, words: Mapping[str, str]) -> tuple[int, Stated | None]:
    """A table whose head names the words and whose last row has the numbers."""
    places: dict[str, int] | None = None
    found: tuple[int, Stated | None] = (-1, None)
    for line in re.finditer(r"(?m)^.*\|.*$", answer):
        if (head := _columns(line[0], words)) is not None:
            places = head
        elif places is not None:
            cells = [cell.strip(" *_`") for cell in line[0].strip().strip("|").split("|")]
            numbers = {k: re.fullmatch(NUMBER, cells[at], re.IGNORECASE) if at < len(cells) else None
                       for k, at in places.items()}  # fmt: skip
            if all(match is not None for match in numbers.values()):
                stated = {k: _number(m, m.string) for k, m in numbers.items() if m is not None}
                found = (line.start(), stated)
    return found


def _columns(line: str, words: Mapping[str, str]) -> dict[str, int] | None:
    cells = [cell.strip(" *_`%").casefold() for cell in line.strip().strip("|").split("|")]
    places = {}
    for key, word in words.items():
        at = [i for i, cell in enumerate(cells) if cell in (word.casefold(), f"{word.casefold()}s")]
        if len(at) != 1:
            return None
        places[key] = at[0]
    return places


def _from_json(answer: str, words: Mapping[str, str]) -> tuple[int, Stated | None]:
    """An object, in or outside a code block, that has the words (or the keys) as names."""
    found: tuple[int, Stated | None] = (-1, None)
    for match in re.finditer(r"\{[^{}]{1,4000}\}", answer):
        try:
            told = json.loads(match[0])
        except ValueError:
            continue
        named = {str(name).strip().casefold(): value for name, value in told.items()}
        values: Sequence[Any] = [
            next((named[n] for n in (word.casefold(), f"{word.casefold()}s", key) if n in named), None)
            for key, word in words.items()
        ]
        numbers = [re.match(rf"\s*{NUMBER}", str(value), re.IGNORECASE) for value in values]
        if all(value is not None for value in values) and all(n is not None for n in numbers):
            read = {k: _number(n, n.string) for k, n in zip(words, numbers, strict=True) if n is not None}
            found = (match.start(), read)
    return found
