"""The rules of a game in words, made from the running configuration, so that they cannot differ from what is enforced.

Every word with a meaning in the game comes from the configuration's lexicon. The prose between them is shared by all
lexicons: it holds no term of any of them and no moral colour, so that a re-skinned game leaks nothing of another.
"""

from __future__ import annotations

from collections.abc import Iterator

from games.werewolf.config import WerewolfConfig
from games.werewolf.lexicon import lexicon
from games.werewolf.roles import ACQUAINTED, CARDS, NIGHT_ACTS, ROLES, faction_of
from games.werewolf.words.acts import SENTENCES

SIDES = ("village", "werewolf")
"""The sides that several roles share; any other faction is one role that plays alone."""


def rules_text(config: WerewolfConfig, role: str | None = None) -> str:
    """The complete rules, one a line; with `role`, first what they mean for a player who has it.

    Every field of the configuration that changes the rules changes this text.
    """
    terms = lexicon(config.lexicon).terms
    lines = [
        *_setting(config),
        *_winning(config),
        *_night(config),
        *_day(config),
        *_leaving(config),
        *_speaking(config),
    ]
    if role is not None:
        lines = [*_part(config, role), *lines]
    return "\n".join(line.format(**terms) for line in lines)


def _times(count: int, what: str = "time") -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _reveal(reveal: str) -> str:
    return {
        "none": "nothing more is told",
        "role": "everybody is told the role",
        "faction": "everybody is told the side",
        "species": "everybody is told the kind ({werewolf} or {human})",
    }[reveal]


def _part(config: WerewolfConfig, role: str) -> Iterator[str]:
    """What the rules mean for one role."""
    card, side = ROLES[role], faction_of(role)
    yield f"Your role is {{{role}}}."
    if side not in SIDES:
        yield "You win alone, by being {exiled}; you lose otherwise."
    else:
        yield f"You win with the {{{side}}} side, in the game or out of it."
    if card.acquainted and config.count(role) > 1:
        yield f"You know every other {{{role}}}."
    elif config.count("werewolf") and role != "werewolf":
        yield "You know the role of nobody else."
    acts = [act for wave in config.night_order for act in wave if NIGHT_ACTS[act] == role and act != "chat"]
    for act in acts:
        yield f"Your act of the {{night}}: {_night_act(config, act)}"
    if card.own_act:
        yield f"Your own act: {card.own_act}"
    if not acts and not card.own_act:
        yield "You have no act of your own; you speak and you {vote}."


def _setting(config: WerewolfConfig) -> Iterator[str]:
    dealt = ", ".join(f"{count} {{{role}}}" for role, count in config.roles.items() if count)
    yield f"There are {config.n_players} players. Each is dealt one role in secret. The roles: {dealt}."
    dealt_cards = [card for card in CARDS if config.count(card.name)]
    helpers = [card.name for card in dealt_cards if card.faction == "werewolf" and not card.acquainted]
    side = "The {werewolf} side is every {werewolf}"
    side += "".join(f" and every {{{name}}}, who knows nobody" for name in helpers) + "."
    side += "".join(
        f" Each {{{card.name}}} plays alone." for card in dealt_cards if card.faction not in SIDES
    )
    yield f"{side} All others are the {{village}} side."
    if config.count("medium") or "species" in (config.seer_learns, config.reveal_night, config.reveal_day):
        yield "Only {werewolf} is of the kind {werewolf}; every other role is of the kind {human}."
    for role in ACQUAINTED:
        if config.count(role) > 1:
            yield f"Every {{{role}}} knows every other {{{role}}} from the start."


def _winning(config: WerewolfConfig) -> Iterator[str]:
    yield "The {village} side wins as soon as no {werewolf} is in the game."
    yield (
        "Otherwise the {werewolf} side wins as soon as at least as many {werewolf} as other players are in the game"
        + (", or no {villager} is." if config.edge_kill else ".")
    )
    yield (
        "This is checked, in this order, each time players have gone out of the game; those who go together count "
        "together."
    )
    if config.count("jester"):
        yield "If {jester} is {exiled}, that player alone wins and the game is over."
    yield f"If nobody has won by the end of {{day}} {config.max_days}, the game is over and nobody wins."
    yield "Players of one side win together, in the game or out of it."


def _night_act(config: WerewolfConfig, act: str) -> str:
    """One act of the night as a sentence."""
    if act == "chat":
        times = _times(config.chat_rounds, "round")
        if config.chat_until_agree:
            return (
                "where at least two {werewolf} are in the game, each whispers to all {werewolf} in turn, for at most "
                f"{times}; each message proposes one {{target}}, and after a round in which all proposals agree it "
                "is fixed without a further choice."
            )
        return f"where at least two {{werewolf}} are in the game, each whispers to all {{werewolf}} in turn, {times}."
    if act == "night_kill":
        whom = (
            "any player in the game"
            if config.kill_targets == "anyone"
            else "any player in the game but {werewolf}"
        )
        whom += " or nobody" if config.kill_abstain else ""
        if config.kill_rule == "one_random":
            how = f"one {{werewolf}}, picked by chance, {{kills}} {whom}; that player is the {{target}}"
        else:
            how = (
                f"each {{werewolf}} {{kills}} {whom}; who is chosen most often is the {{target}}, and among equals "
                "chance picks"
            )
        return f"{how}. Every {{werewolf}} is told the choices and the {{target}}."
    if act == "inspect":
        learns = {
            "role": "the role",
            "faction": "the side",
            "species": "the kind ({werewolf} or {human})",
        }[config.seer_learns]
        again = (
            "the same player again if wished"
            if config.seer_repeats
            else "as long as there is one not seen yet"
        )
        return (
            f"each {{seer}} {{inspects}} one other player in the game, {again}, and alone is told {learns}."
        )
    if act == "protect":
        itself = "itself too if wished" if config.doctor_self else "never itself"
        again = (
            "the same player again if wished"
            if config.doctor_repeats
            else "never the player of the {night} before"
        )
        return f"each {{doctor}} {{protects}} one player in the game, {itself}, {again}."
    heals, poisons = _times(config.witch_heals), _times(config.witch_poisons)
    out = []
    if config.witch_heals:
        out.append(
            f"each {{witch}} who can do so is told the {{target}} and {{heals}} that player or nobody, {heals} a game"
        )
    if config.witch_poisons:
        out.append(f"each {{witch}} {{poisons}} one other player in the game or nobody, {poisons} a game")
    return "; then ".join(out) + "."


def _night(config: WerewolfConfig) -> Iterator[str]:
    yield "The game begins with {night} 1; {day} 1 follows, then {night} 2, and so on."
    waves = [[act for act in wave if config.count(NIGHT_ACTS[act])] for wave in config.night_order]
    waves = [wave for wave in waves if wave]
    for i, wave in enumerate(waves, 1):
        at_once = ", all at the same time" if len(wave) > 1 else ""
        yield f"Step {i} of {len(waves)} of each {{night}}, in secret{at_once}:"
        for act in wave:
            yield f"- {_night_act(config, act)}"
    if config.first_night == "no_kill":
        yield "In {night} 1 nobody {kills} and no {target} is proposed; all else happens."
    elif config.first_night == "fixed":
        yield (
            "In {night} 1 nobody does any of this: chance picks the {target}, who is a {villager}, and each {seer} is "
            "told of one {werewolf}."
            if config.count("seer")
            else "In {night} 1 nobody does any of this: chance picks the {target}, who is a {villager}."
        )
    elif config.first_night == "inspect_only":
        seer = "nothing but what {seer} does" if config.count("seer") else "nothing to do"
        yield f"In {{night}} 1 there is {seer}."
    stays = [
        f"somebody {{{card.saves}}} that player" for card in CARDS if card.saves and config.count(card.name)
    ]
    end = "At the end of the {night} the {target} goes out of the game"
    end += f", unless {' or '.join(stays)}." if stays else "."
    if config.count("witch") and config.witch_poisons:
        end += " Whom {witch} {poisons} goes out in any case."
    yield end
    told = f"Then {{day}} comes: everybody is told who has gone, and of each {_reveal(config.reveal_night)}."
    yield told + (" Who stayed because of another is told to nobody." if stays else "")


def _day(config: WerewolfConfig) -> Iterator[str]:
    if config.mayor:
        yield (
            "{day} 1 begins with this: each in the game {stands} yes or no, all at once; then each {elects} one of "
            "those with yes, itself too if it is one. Who is chosen most often is {mayor}, among equals chance picks, "
            "and all of it is public. On going out of the game the {mayor} {appoints} the next one. If all say no "
            "there is no {mayor}."
        )
    yield _discussion(config)
    if config.shadow_ballots:
        yield "After each speech each player in the game {leans} in private as in a ballot; it has no effect."
    if "before_ballot" in config.chat_by_day:
        yield f"Before the ballot, {_conclave(config)}"
    yield _ballot(config)
    yield from _tie(config)
    if "after_ballot" in config.chat_by_day:
        yield f"After the ballot, {_conclave(config)}"
    if config.summaries:
        yield "At the end of each {day} every player in the game writes a private note to itself."


def _conclave(config: WerewolfConfig) -> str:
    times = _times(config.chat_rounds, "round")
    return f"where at least two {{werewolf}} are in the game, each whispers to all {{werewolf}} in turn, {times}."


def _discussion(config: WerewolfConfig) -> str:
    rounds = _times(config.speech_rounds, "round")
    cut = f" Others hear the first {config.max_speech_chars} characters of a speech."
    if config.discussion == "none":
        return "There is no discussion."
    return {
        "round_robin": f"Each {{day}} all in the game speak in turn, {rounds}; chance picks who begins.",
        "random_order": f"Each {{day}} all in the game speak in an order drawn by chance, {rounds} in the same order.",
        "bidding": (
            f"Speeches each {{day}}: {config.speech_turns}. Before each, everybody in the game but the last speaker "
            "{bids} 0 to 4 in secret, and the highest speaks. Among equals those come first whom the last speech was "
            "about, then chance picks."
        ),
        "free": (
            "Each {day} all in the game get turns in an order drawn by chance, again and again. On each turn one says "
            f"something, skips, or ends, which means no more turns this {{day}}. At most {config.free_per_seat} "
            f"speeches a player and {config.free_per_day} in all; no more than {config.free_per_seat + 2} turns a "
            "player."
        ),
        "simultaneous": f"Each {{day}} all in the game speak at once, {rounds}; all are heard afterwards.",
        "none": "",
    }[config.discussion] + cut


def _ballot(config: WerewolfConfig) -> str:
    how = (
        "at the same time"
        if config.ballot == "simultaneous"
        else "one after another in an order drawn by chance"
    )
    whom = "anybody in the game, themselves too" if config.ballot_self else "anybody else in the game"
    whom += ", or nobody" if config.ballot_abstain else ""
    shown = "Everybody is told who chose whom" if config.ballot_public else "The choices stay secret"
    if config.ballot == "sequential" and config.ballot_public:
        shown = "Everybody sees each choice when it is made"
    rule = (
        "Who is chosen by more than half of those in the game is {exiled}; otherwise nobody is."
        if config.ballot_rule == "majority"
        else "Who is chosen most often is {exiled}. If nobody is chosen, nobody is {exiled}."
    )
    return (
        f"Then all in the game {{vote}} {how}: they choose {whom}. {shown}. {rule} "
        f"The {{exiled}} player goes out of the game, and {_reveal(config.reveal_day)}."
    )


def _tie(config: WerewolfConfig) -> Iterator[str]:
    if config.ballot_rule == "majority":
        return
    steps = []
    if config.revotes:
        steps.append(f"all {{vote}} again among the {{tied}}, at most {_times(config.revotes)}")
    if config.mayor:
        steps.append(
            "the choice of the {mayor} counts if it is among the {tied}, else the {mayor} {decides} who"
        )
    steps.append("chance picks one of the {tied}" if config.tie == "random" else "nobody is {exiled}")
    yield f"On a tie: {'; failing that, '.join(steps)}."


def _leaving(config: WerewolfConfig) -> Iterator[str]:
    for card in CARDS:
        if card.own_act and config.count(card.name):
            yield f"Also: {card.own_act}"
    if config.count("hunter"):
        yield f"Of a player so gone, {_reveal(config.reveal_day)}. Whether a side has won is checked afterwards."
    if config.last_words != "none":
        who = "Who is {exiled}" if config.last_words == "exiled" else "Whoever goes out of the game"
        yield f"{who} speaks once more, if the game is not over."
    yield "Who is out of the game does nothing more but what is said here."


def _speaking(config: WerewolfConfig) -> Iterator[str]:
    said = " ".join(SENTENCES.values()).replace("{subject}", "<player>").replace("{role}", "<role>")
    yield f"You may say anything in a speech. Sentences that all understand alike: {said}"
