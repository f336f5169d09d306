"""One mission: a leader picks a team, all vote on it, and those who go play their cards in secret."""

from __future__ import annotations

from games.avalon.lexicon import lexicon
from games.avalon.state import APPROVE, FAILURE, REJECT, SUCCESS, AvalonModerator
from games.engine.discussion import discussion
from games.engine.moderator import Asking, Rules, choice_of
from games.records import EVERYONE

Team = tuple[int, ...]
"""The seats of a team, in ascending order."""


def mission(m: AvalonModerator) -> Rules:
    """Teams are proposed until one is accepted; then it goes."""
    config = m.config
    m.day += 1
    m.phase = "proposal"
    m.emit(
        "phase", value="mission", data={"size": config.team_size(m.day), "fails": config.fails_needed(m.day)}
    )
    rejected = 0
    while True:
        team = yield from proposal(m, rejected)
        accepted = yield from vote(m, team, rejected)
        m.leader = (m.leader + 1) % len(m.roles)
        if accepted:
            break
        rejected += 1
        if rejected == config.max_rejections:
            m.win("evil", f"{rejected} teams were rejected")
    yield from cards(m, team)


def proposal(m: AvalonModerator, rejected: int) -> Asking[Team]:
    """The leader picks the team, one seat after another, for all to see."""
    m.phase = "proposal"
    m.emit("leader", target=m.leader, value=str(rejected + 1))
    if "proposal" in m.config.talk_before:
        yield from discussion(m, lexicon(m.config.lexicon).names)
    team: list[int] = []
    for turn in range(m.config.team_size(m.day)):
        left = tuple([i for i in m.present if i not in team])
        [picked] = yield (m.ask(m.leader, "pick", left, place=(rejected << 8) + turn),)
        team.append(choice_of(picked))
        m.emit("pick", EVERYONE, m.leader, team[-1])
    return tuple(sorted(team))


def vote(m: AvalonModerator, team: Team, rejected: int) -> Asking[bool]:
    """All vote at once, the leader too, and everyone learns who voted what; a tie rejects."""
    m.phase = "vote"
    m.emit("team", actor=m.leader, data={"team": list(team)})
    if "vote" in m.config.talk_before:
        yield from discussion(m, lexicon(m.config.lexicon).names)
    if m.config.hammer and rejected + 1 == m.config.max_rejections:
        m.emit("verdict", value="approved", data={"approve": len(m.roles), "reject": 0, "vote": False})
        return True
    n_for = 0
    for d in (yield tuple([m.ask(i, "vote", (APPROVE, REJECT), place=rejected << 8) for i in m.present])):
        n_for += choice_of(d) == APPROVE
        m.emit("vote", EVERYONE, d.seat, value="approve" if choice_of(d) == APPROVE else "reject")
    accepted = 2 * n_for > len(m.roles)
    counts = {"approve": n_for, "reject": len(m.roles) - n_for, "vote": True}
    m.emit("verdict", value="approved" if accepted else "rejected", data=counts)
    return accepted


def cards(m: AvalonModerator, team: Team) -> Rules:
    """Each of the team plays a card in secret; good can only play success. All learn how many failures there were."""
    m.phase = "mission"
    n_failures = 0
    asked = [m.ask(i, "card", (SUCCESS, FAILURE) if i in m.evil else (SUCCESS,)) for i in team]
    for d in (yield tuple(asked)):
        failed = choice_of(d) == FAILURE
        n_failures += failed
        m.emit("card", (d.seat,), d.seat, value="failure" if failed else "success")
    failed = n_failures >= m.config.fails_needed(m.day)
    m.emit(
        "mission", value="failure" if failed else "success", data={"team": list(team), "failures": n_failures}
    )
    m.n_failures += failed
    m.n_successes += not failed
    if m.n_failures == 3:
        m.win("evil", "three missions failed")


def assassination(m: AvalonModerator) -> Rules:
    """Three missions have succeeded: the assassin names whom it takes for Merlin, of those whom it does not know to be
    evil."""
    m.phase = "assassination"
    assassin = m.roles.index("assassin")
    options = tuple([i for i in m.present if i != assassin and i not in m.known[assassin]])
    [named] = yield (m.ask(assassin, "assassinate", options),)
    target = choice_of(named)
    m.emit("assassinate", EVERYONE, assassin, target)
    if m.roles[target] == "merlin":
        m.win("evil", "three missions succeeded, but the assassin found merlin")
