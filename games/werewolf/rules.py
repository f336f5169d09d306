"""The rules of Werewolf as a pure state machine: `start`, `to_act`, `apply`, `outcome`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from games import chance
from games.base import GameError, IllegalAction, Outcome, ReplayError, SeatFacts
from games.records import MODERATOR, NOBODY, Action, Decision, Event, Record, Request
from games.werewolf import day, night, text, truth
from games.werewolf.acts import ROLE_TERMS
from games.werewolf.config import WerewolfConfig, faction_of
from games.werewolf.lexicon import N_NAMES
from games.werewolf.presets import configure
from games.werewolf.rules_text import rules_text
from games.werewolf.state import State, Step, Turn
from games.werewolf.text import transcript, words_of

Ask = Callable[[State, Step], tuple[Request, ...]]
Do = Callable[[Turn, Step, night.Answers], None]


def nobody(s: State, step: Step) -> tuple[Request, ...]:
    """A step that happens by itself."""
    return ()


STEPS: dict[str, tuple[Ask, Do]] = {
    "night": (nobody, night.night),
    "chat": (night.ask_chat, night.chat),
    "wave": (night.ask_wave, night.wave),
    "dawn": (nobody, night.dawn),
    "day": (nobody, day.day),
    "candidacy": (day.ask_candidacy, day.candidacy),
    "mayor_ballot": (day.ask_mayor_ballot, day.mayor_ballot),
    "succession": (day.ask_succession, day.succession),
    "discussion": (nobody, day.discussion),
    "speech": (day.ask_speech, day.speech),
    "speeches": (day.ask_speeches, day.speeches),
    "bid": (day.ask_bid, day.bid),
    "talk": (day.ask_talk, day.talk),
    "shadow": (day.ask_shadow, day.shadow),
    "conclave": (nobody, day.conclave),
    "ballot": (day.ask_ballot, day.ballot),
    "tie_break": (day.ask_tie_break, day.tie_break),
    "shoot": (day.ask_shoot, day.shoot),
    "last_words": (day.ask_last_words, day.last_words),
    "summary": (day.ask_summary, day.summary),
    "check": (nobody, day.check),
}
"""What each step asks, and what the answers do."""


def start(
    config: WerewolfConfig, seed: int, dealt: Sequence[str] | None = None
) -> tuple[State, tuple[Event, ...]]:
    """Deal the roles and names and go on to the first requests.

    `seed` is an integer, 0 <= seed < 2**63; every draw of the game derives from it. With `dealt`, each seat's role, the
    deck is not shuffled. Raises GameError where `dealt` is another deck.
    """
    n = config.n_players
    roles = chance.shuffled(config.decks, chance.key(seed, "deal")) if dealt is None else tuple(dealt)
    if dealt is not None and sorted(roles) != sorted(config.decks):
        raise GameError(f"the deal {list(roles)} is not the deck, which is {list(config.decks)}")
    names = chance.sample(range(N_NAMES), n, chance.key(seed, "names"))
    s = State(
        config=config,
        seed=seed,
        roles=roles,
        names=names,
        pack=tuple([i for i, role in enumerate(roles) if role == "werewolf"]),
        present=tuple(range(n)),
        inspected=((),) * n,
        last_protected=(NOBODY,) * n,
        heals=tuple([config.witch_heals if r == "witch" else 0 for r in roles]),
        poisons=tuple([config.witch_poisons if r == "witch" else 0 for r in roles]),
        agenda=(Step("night"),),
    )
    t = Turn(s)
    t.emit("setup", data={"names": list(names)})
    t.emit("deal", MODERATOR, data={"roles": list(roles)})
    for seat, role in enumerate(roles):
        known: dict[str, str] = {}
        if role == "werewolf" or role == "mason":
            known = {str(j): r for j, r in enumerate(roles) if r == role and j != seat}
        t.emit("role", (seat,), target=seat, value=role, data={"known": known})
    return _advance(t)


def to_act(state: State) -> tuple[Request, ...]:
    """All requests that can be answered now; empty when the game is over."""
    return state.requests


def apply(state: State, decisions: Sequence[Decision]) -> tuple[State, tuple[Event, ...]]:
    """The state after the decisions, one for each of `to_act(state)` in that order, and the events they cause.

    Raises:
        IllegalAction: a decision that does not fit its request.
    """
    requests = state.requests
    if len(decisions) != len(requests):
        raise IllegalAction(f"{len(requests)} requests are open, but {len(decisions)} decisions came")
    seq, n = state.seq, len(state.roles)
    answers = []
    for request, decision in zip(requests, decisions):
        if decision.seq != seq:
            raise IllegalAction(f"a decision has seq {decision.seq}; the log goes on at {seq}")
        action = decision.action
        plain = action.option in request.options and not action.text and not action.acts
        if not plain or decision.seat != request.seat or decision.kind != request.kind:
            check_legal(request, decision.seat, decision.kind, action, n)
        answers.append((request, action))
        seq += 1
    t = Turn(state)
    s = t.state
    s.seq = seq
    step, s.agenda = s.agenda[0], s.agenda[1:]
    STEPS[step.kind][1](t, step, answers)
    return _advance(t)


def outcome(state: State) -> Outcome | None:
    """The outcome, None while the game goes on."""
    return state.outcome


def _advance(t: Turn) -> tuple[State, tuple[Event, ...]]:
    """Let everything happen that asks nobody."""
    s = t.state
    requests: tuple[Request, ...] = ()
    while s.agenda:
        step = s.agenda[0]
        ask, do = STEPS[step.kind]
        if requests := ask(s, step):
            break
        s.agenda = s.agenda[1:]
        do(t, step, ())
    s.requests = requests
    return s, tuple(t.events)


def check_legal(request: Request, seat: int, kind: str, action: Action, n: int) -> None:
    """Raises IllegalAction where an action does not fit its request, naming what was allowed."""
    if seat != request.seat or kind != request.kind:
        raise IllegalAction(
            f"seat {seat} answers {kind!r}, but seat {request.seat} was asked for {request.kind!r}"
        )
    if request.options:
        if action.option not in request.options:
            raise IllegalAction(
                f"seat {seat} chose {action.option} for {kind!r}; allowed are {sorted(request.options)}"
            )
    elif action.option is not None:
        raise IllegalAction(f"seat {seat} chose {action.option} for {kind!r}, which takes no option")
    if not request.speaks and (action.text or action.acts):
        raise IllegalAction(f"seat {seat} spoke at {kind!r}, which takes no words")
    if action.text and not action.text.isascii() and not text.writable(action.text):
        raise IllegalAction(f"seat {seat} said half a character (a lone surrogate), which no log can hold")
    for act in action.acts:
        if act.subject is not None and not 0 <= act.subject < n:
            raise IllegalAction(f"seat {seat} spoke about seat {act.subject}; there are seats 0 to {n - 1}")
        if act.role is not None and act.role not in ROLE_TERMS:
            raise IllegalAction(
                f"seat {seat} spoke about the role {act.role!r}; there are {', '.join(ROLE_TERMS)}"
            )


class Werewolf:
    """The game as the harness sees it (`games.base.Game`)."""

    name = "werewolf"
    configure = staticmethod(configure)
    start = staticmethod(start)
    to_act = staticmethod(to_act)
    apply = staticmethod(apply)
    outcome = staticmethod(outcome)
    transcript = staticmethod(transcript)
    rules_text = staticmethod(rules_text)
    statements = staticmethod(truth.statements)
    text = text

    @staticmethod
    def legal_fallback(request: Request, seed: int) -> Action:
        """Silence, abstention where it is allowed, else an option drawn by `seed`."""
        if not request.options:
            return Action()
        if request.kind == "speech":
            return Action(option=day.SKIP)
        if NOBODY in request.options:
            return Action(option=NOBODY)
        return Action(option=chance.choice(request.options, seed))

    @staticmethod
    def seats(config: WerewolfConfig, records: Sequence[Record]) -> list[SeatFacts]:
        """Name, role and faction of every seat, from the moderator's first events of a log."""
        deal = next((r for r in records if isinstance(r, Event) and r.kind == "deal"), None)
        if deal is None or deal.data is None:
            raise ReplayError("this log has no deal event: it is one seat's view, not the moderator's log")
        names = words_of(config, records).names
        roles = deal.data["roles"]
        return [SeatFacts(name, role, faction_of(role)) for name, role in zip(names, roles, strict=True)]


GAME = Werewolf()
