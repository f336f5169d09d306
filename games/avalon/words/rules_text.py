"""The rules of a game in words, made from the running configuration, so that they cannot differ from what is enforced.

Every word with a meaning in the game comes from the configuration's lexicon. The prose between them is shared by all
lexicons: it holds no term of any of them and no moral colour, so that a re-skinned game leaks nothing of another.
"""

from __future__ import annotations

from collections.abc import Iterator

from games.avalon.config import AvalonConfig
from games.avalon.lexicon import lexicon
from games.avalon.roles import EVIL, shown, side_of
from games.avalon.words.acts import FORMS


def rules_text(config: AvalonConfig, role: str | None = None) -> str:
    """The complete rules, one a line; with `role`, first what they mean for a player who has it.

    Every field of the configuration that changes the rules changes this text.
    """
    terms = lexicon(config.lexicon).terms
    lines = [*_setting(config), *_missions(config), *_winning(config), *_speaking(config)]
    if role is not None:
        lines = [*_part(config, role), *lines]
    return "\n".join(line.format(**terms) for line in lines)


def _dealt(config: AvalonConfig) -> list[str]:
    return [role for role, count in config.roles.items() if count]


def _list(roles: list[str]) -> str:
    return " and ".join([f"{{{role}}}" for role in roles])


def _part(config: AvalonConfig, role: str) -> Iterator[str]:
    """What the rules mean for one role."""
    yield f"Your role is {{{role}}}. You win with the {{{side_of(role)}}} side."
    yield from _told(config, role, "You are")
    if side_of(role) == "evil":
        yield "In a {team} you may play {success} or {failure}."
    else:
        yield "In a {team} you can only play {success}."
    if role == "assassin":
        yield "At the end you may name whom you take for {merlin}."


def _told(config: AvalonConfig, role: str, who: str) -> Iterator[str]:
    """What a role is shown at the start."""
    dealt = _dealt(config)
    others = [other for other in dealt if shown(role, other) is not None]
    if role in others and config.count(role) == 1 and len(others) == 1:
        others = []  # itself alone
    if not others:
        yield f"{who} shown the role of nobody."
    elif role == "percival":
        alike = ", all of them as {merlin}" if len(others) > 1 else ""
        yield f"{who} shown who is {_list(others)}{alike}."
    else:
        hidden = [other for other in dealt if other in EVIL and other not in others and other != role]
        out = f" but {_list(hidden)}" if hidden else ""
        yield f"{who} shown who is of the {{evil}} side{out}, and not which role each has."


def _setting(config: AvalonConfig) -> Iterator[str]:
    dealt = ", ".join(f"{count} {{{role}}}" for role, count in config.roles.items() if count)
    yield f"There are {config.n_players} players. Each is dealt one role in secret. The roles: {dealt}."
    evil = [role for role in _dealt(config) if role in EVIL]
    yield f"The {{evil}} side is {_list(evil)}. All others are the {{good}} side."
    for role in _dealt(config):
        yield from _told(config, role, f"Each {{{role}}} is" if config.count(role) > 1 else f"{{{role}}} is")


def _missions(config: AvalonConfig) -> Iterator[str]:
    sizes = ", ".join(str(config.team_size(k)) for k in range(1, 6))
    yield f"There are up to five {{mission}} rounds, with {sizes} players in the {{team}}."
    yield (
        "For each, the {leader} {picks} a {team} of that size, itself too if it likes, one player after another for "
        "all to see. The first {leader} is drawn by chance; after every proposal the next player in the order of the "
        "list of players is {leader}."
    )
    yield (
        "Then every player, the {leader} too, {votes} {approve} or {reject}, all at the same time, and all are told "
        "who did what. The {team} is {approved} if more than half {approve}; otherwise it is {rejected}, and the next "
        "{leader} proposes one for the same {mission}."
    )
    if config.hammer:
        yield (
            f"Proposal number {config.max_rejections} for a {{mission}} goes through at once: it is {{approved}}."
        )
    else:
        yield (
            f"If {config.max_rejections} proposals for one {{mission}} are {{rejected}}, the {{evil}} side wins at "
            "once. As soon as one is {approved}, the count begins anew."
        )
    yield (
        "Once the {team} is {approved}, each of its players {plays} one card in secret: {success}, or, on the {evil} "
        "side only, {success} or {failure}. "
        "All are told how many {failure} cards there were, and nobody who played them."
    )
    twice = [k for k in range(1, 6) if config.fails_needed(k) == 2]
    but = "".join(f" In {{mission}} {k} two are needed." for k in twice)
    yield f"One {{failure}} makes the {{mission}} a {{failure}}; without it is a {{success}}.{but}"


def _winning(config: AvalonConfig) -> Iterator[str]:
    yield "With three {failure} rounds the {evil} side wins."
    if config.count("assassin"):
        yield (
            "After three {success} rounds the {assassin} {stabs} one player whom it does not know to be of the {evil} "
            "side. If that is {merlin}, the {evil} side wins; otherwise the {good} side wins."
        )
    else:
        yield "With three {success} rounds the {good} side wins."
    yield "Players of one side win together. Nobody leaves the game before its end."


def _speaking(config: AvalonConfig) -> Iterator[str]:
    rounds = "1 round" if config.speech_rounds == 1 else f"{config.speech_rounds} rounds"
    if not config.talk_before:
        yield "There is no discussion."
        return
    moments = {"proposal": "before each proposal", "vote": "after each proposal"}
    when = " and again ".join([moments[moment] for moment in config.talk_before])
    how = {
        "round_robin": f"all speak in turn, {rounds}; who begins is drawn by chance.",
        "random_order": f"all speak in an order drawn by chance, {rounds} in the same order.",
        "bidding": (
            f"{config.speech_turns} speeches are made. Before each, everybody but the last speaker {{bids}} 0 to 4 in "
            "secret, and the highest speaks. Among equals those come first whom the last speech was about, then chance "
            "decides."
        ),
        "free": (
            "all get turns in an order drawn by chance, again and again. On each turn one says something, skips, or "
            f"ends, which means no more turns in this discussion. At most {config.free_per_seat} speeches a player and "
            f"{config.free_per_day} in all; no more than {config.free_per_seat + 2} turns a player."
        ),
        "simultaneous": f"all speak at once, {rounds}; all are heard afterwards.",
    }[config.discussion]
    yield (
        f"Discussion, {when}: {how} Others hear the first {config.max_speech_chars} characters of a speech."
    )
    said, vote = " ".join([form.sentence for form in FORMS.values()]), "<{approve} or {reject}>"
    for slot, shown_as in (
        ("will {role}", f"will {vote}"),
        ("{voted} {role}", f"{{voted}} {vote}"),
        ("{role}", "<role>"),
        ("{subject}", "<player>"),
        ("{team}", "<players>"),
    ):
        said = said.replace(slot, shown_as)
    yield f"You may say anything in a speech. Sentences that all understand alike: {said}"
