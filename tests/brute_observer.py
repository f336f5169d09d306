"""The exact posterior of a tiny game by brute force: every deal, every character of every seat, every hidden choice is
a particle, and its weight is the product of what `agents.scripted` says of each act on the seat's own knowledge."""

from __future__ import annotations

import copy
from itertools import product

import numpy as np

from agents.evidence import Evidence, Knowledge
from agents.scripted import STYLES, policy, random_policy
from games.records import NOBODY, Action, Event, Request
from games.werewolf.config import faction_of, species_of
from games.werewolf.discussion import SPEAK


class Particle:
    __slots__ = ("doctor_last", "heals", "poisons", "private", "results", "roles", "styles", "weight")

    def __init__(self, roles, styles, weight, config):
        self.roles, self.styles, self.weight = roles, styles, weight
        self.results = ((),) * len(roles)
        self.doctor_last = NOBODY
        self.heals, self.poisons = config.witch_heals, config.witch_poisons
        self.private = tuple((role,) for role in roles)

    def tell(self, seat, fact):
        self.private = (*self.private[:seat], (*self.private[seat], fact), *self.private[seat + 1 :])

    def copy(self):
        return copy.copy(self)


class Brute:
    def __init__(self, config, styles, weights):
        self.config, self.styles, self.n = config, styles, config.n_players
        deals = sorted(set(permutations_of(config.decks)))
        self.particles = [
            Particle(deal, chosen, float(np.prod([weights[i] for i in chosen])), config)
            for deal in deals
            for chosen in product(range(len(styles)), repeat=self.n)
        ]
        for p in self.particles:
            for i, role in enumerate(p.roles):
                if role in ("werewolf", "mason"):
                    p.tell(i, self.fellows(p.roles, i))
        self.seen = Evidence.empty(self.n)
        self.wave = None
        self.votes, self.among, self.running, self.mayor, self.round = {}, (), (), NOBODY, 0
        self.left, self.shot = [], set()

    @staticmethod
    def fellows(roles, seat):
        if roles[seat] not in ("werewolf", "mason"):
            return ()
        return tuple(j for j, r in enumerate(roles) if r == roles[seat] and j != seat)

    def distribution(self, particle, seat, kind, options, seen, speaks=False):
        key = (seat, particle.roles[seat], self.fellows(particle.roles, seat), particle.results[seat],
               particle.styles[seat], kind, tuple(options))  # fmt: skip
        if key not in self.cache:
            me = Knowledge(seat, key[1], key[2], key[3])
            request = Request(seat, kind, tuple(options), speaks=speaks)
            style = self.styles[particle.styles[seat]]
            actions = (
                random_policy(me, seen, request)
                if style == "random"
                else policy(STYLES[style], me, seen, request)
            )
            out = {}
            for action, p in actions:
                out[action] = out.get(action, 0.0) + p
            self.cache[key] = out
        return self.cache[key]

    def choice(self, particle, seat, kind, options, seen):
        """option -> probability."""
        return {
            a.option: p for a, p in self.distribution(particle, seat, kind, options, seen).items() if p > 0
        }

    def update(self, record, dead=()):
        """Take in a public event; `dead` holds all of the dead of the night that this event opens."""
        if not isinstance(record, Event) or record.audience is not None:
            return
        e = record
        self.cache = {}
        if self.left and e.kind not in ("death", "exile", "shoot", "no_death", "outcome"):
            self.keep(self.goes_on)
            self.left = []
        if e.kind == "phase":
            self.votes, self.among, self.round, self.wave = {}, (), 0, None
            if e.value == "day":
                self.night(copy.deepcopy(self.seen), set(dead), e.day)
        elif e.kind == "tie":
            self.among, self.votes = tuple(e.data["tied"]), {}
            self.round += 1
        elif e.kind in ("speech", "last_words"):
            self.wave = None
            free = self.config.discussion == "free" and e.kind == "speech"
            self.act(
                e.actor,
                e.kind,
                (SPEAK, 1, 2) if free else (),
                Action(SPEAK if free else None, acts=e.acts),
                True,
            )
        elif e.kind == "silence":
            self.act(e.actor, "speech", (0, 1, 2), Action({"skip": 1, "over": 2}[e.value]), True)
        elif e.kind == "ballot":
            among = self.among or self.living()
            options = [j for j in among if self.config.ballot_self or j != e.actor]
            options += [NOBODY] * self.config.ballot_abstain
            self.together(("ballot", self.round), self.config.ballot == "simultaneous")
            self.act(e.actor, "ballot", options, Action(e.target))
            self.votes[e.actor] = e.target
        elif e.kind == "candidacy":
            self.together(("candidacy", 0), True)
            self.act(e.actor, "candidacy", (1, 0), Action(int(e.value == "run")))
            self.running += (e.actor,) * (e.value == "run")
        elif e.kind == "mayor_ballot":
            self.together(("mayor", 0), True)
            self.act(e.actor, "mayor_ballot", self.running, Action(e.target))
        elif e.kind == "mayor":
            self.wave = None
            if e.actor is not None:
                self.act(e.actor, "succession", self.living(), Action(e.target))
            self.mayor = e.target
        elif e.kind == "shoot":
            self.wave = None
            self.keep(lambda p: p.roles[e.actor] == "hunter")
            self.act(e.actor, "shoot", (*self.living(), NOBODY), Action(e.target))
            self.shot.add(e.actor)
        elif e.kind == "exile":
            self.wave = None
            counts = {j: list(self.votes.values()).count(j) for j in self.votes.values() if j != NOBODY}
            tied = sorted(j for j in counts if counts[j] == max(counts.values()))
            m = self.mayor
            if len(tied) > 1 and m != NOBODY and self.seen.alive[m] and self.votes[m] not in tied:
                self.act(m, "tie_break", tied, Action(e.target))
            for p in self.particles:
                for i, role in enumerate(p.roles):
                    if role == "medium" and self.seen.alive[i] and e.target not in (NOBODY, i):
                        p.tell(i, ("sense", species_of(p.roles[e.target])))
        elif e.kind == "outcome":
            won = set(e.data["winners"])
            self.keep(lambda p: {i for i, r in enumerate(p.roles) if faction_of(r) == e.value} == won)
        if e.kind in ("death", "exile", "shoot") and e.target not in (None, NOBODY):
            if e.value is not None:
                rule = self.config.reveal_night if e.kind == "death" else self.config.reveal_day
                self.keep(lambda p: shown(p.roles[e.target], rule) == e.value)
            self.left.append(e.target)
        self.seen.add(e)

    def goes_on(self, p):
        living = self.living()
        wolves = sum(p.roles[j] == "werewolf" for j in living)
        if any(p.roles[j] == "hunter" and j not in self.shot for j in self.left):
            return False
        if self.config.edge_kill and not any(p.roles[j] == "villager" for j in living):
            return False
        return 0 < wolves < len(living) - wolves

    def living(self):
        return [j for j in range(self.n) if self.seen.alive[j]]

    def together(self, name, simultaneous):
        if not simultaneous:
            self.wave = None
        elif self.wave is None or self.wave[0] != name:
            self.wave = (name, copy.deepcopy(self.seen))

    def keep(self, fits):
        self.particles = [p for p in self.particles if fits(p)]

    def act(self, seat, kind, options, action, speaks=False):
        seen = self.wave[1] if self.wave else self.seen
        for p in self.particles:
            p.weight *= self.distribution(p, seat, kind, options, seen, speaks).get(action, 0.0)
        self.keep(lambda p: p.weight > 0)

    def night(self, seen, dead, day):
        mode = self.config.first_night if day == 1 else "full"
        out = []
        for p in self.particles:
            worlds = [p]
            if mode == "full":
                worlds = [x for w in worlds for x in self.kill(w, seen)]
            else:
                worlds = [(w, NOBODY) for w in worlds]
            if mode != "inspect_only":
                worlds = [x for w, prey in worlds for x in self.protect(w, prey, seen)]
            else:
                worlds = [(w, prey, False) for w, prey in worlds]
            for w, prey, saved in worlds:
                for v, died in (
                    self.brew(w, prey, saved, seen) if mode != "inspect_only" else [(w, {prey} - {NOBODY})]
                ):
                    if died == dead:
                        out += self.inspect(v, seen)
        self.particles = out

    def kill(self, p, seen):
        wolves = [i for i in self.living() if p.roles[i] == "werewolf"]
        targets = [
            j for j in self.living() if self.config.kill_targets == "anyone" or p.roles[j] != "werewolf"
        ]
        for prey, chance, votes in self.preys(p, wolves, targets, seen, self.config.chat_rounds):
            q = p.copy()
            q.weight *= chance
            for i, role in enumerate(p.roles):
                if role == "werewolf":
                    q.tell(i, ("prey", prey, votes))
            yield q, prey

    def preys(self, p, wolves, targets, seen, rounds):
        if self.config.chat_until_agree and len(wolves) > 1 and rounds:
            tables = [self.choice(p, i, "whisper", targets, seen) for i in wolves]
            split = 0.0
            for said in product(*[t.items() for t in tables]):
                chance = float(np.prod([q for _, q in said]))
                if len({j for j, _ in said}) == 1:
                    yield said[0][0], chance, ()
                else:
                    split += chance
            for prey, chance, votes in self.preys(p, wolves, targets, seen, rounds - 1):
                yield prey, split * chance, votes
            return
        tables = [self.choice(p, i, "night_kill", targets, seen) for i in wolves]
        if self.config.kill_rule == "one_random":
            for table in tables:
                for j, q in table.items():
                    yield j, q / len(tables), ()
            return
        for cast in product(*[t.items() for t in tables]):
            chance = float(np.prod([q for _, q in cast]))
            votes = tuple(j for j, _ in cast)
            tied = [j for j in set(votes) if votes.count(j) == max(map(votes.count, votes))]
            for j in tied:
                yield j, chance / len(tied), votes

    def protect(self, p, prey, seen):
        doctors = [i for i in self.living() if p.roles[i] == "doctor"]
        if not doctors:
            yield p, prey, False
            return
        (d,) = doctors
        options = [j for j in self.living() if self.config.doctor_self or j != d]
        options = [j for j in options if self.config.doctor_repeats or j != p.doctor_last]
        for j, chance in self.choice(p, d, "protect", options, seen).items():
            q = p.copy()
            q.weight *= chance
            q.doctor_last = j
            q.tell(d, ("protect", j))
            yield q, prey, j == prey

    def brew(self, p, prey, saved, seen):
        died = set() if saved or prey == NOBODY else {prey}
        witches = [i for i in self.living() if p.roles[i] == "witch"]
        if not witches:
            return [(p, died)]
        (w,) = witches
        out = []
        heals = {NOBODY: 1.0}
        if p.heals and prey != NOBODY:
            heals = self.choice(p, w, "heal", (prey, NOBODY), seen)
        for healed, chance in heals.items():
            q = p.copy()
            q.weight *= chance
            if p.heals and prey != NOBODY:
                q.tell(w, ("told", prey, healed))
            q.heals -= healed != NOBODY
            poisons = {NOBODY: 1.0}
            if p.poisons:
                options = (*(j for j in self.living() if j != w), NOBODY)
                poisons = self.choice(q, w, "poison", options, seen)
            for victim, also in poisons.items():
                r = q.copy()
                r.weight *= also
                r.poisons -= victim != NOBODY
                r.tell(w, ("poison", victim))
                out.append((r, (set() if healed != NOBODY else died) | ({victim} - {NOBODY})))
        return out

    def inspect(self, p, seen):
        seers = [i for i in self.living() if p.roles[i] == "seer"]
        worlds = [p]
        for a in seers:
            after = []
            for w in worlds:
                asked = {j for j, _ in w.results[a]}
                options = [
                    j for j in self.living() if j != a and (self.config.seer_repeats or j not in asked)
                ]
                if not options:
                    after.append(w)
                    continue
                for j, chance in self.choice(w, a, "inspect", options, seen).items():
                    q = w.copy()
                    q.weight *= chance
                    value = shown(w.roles[j], self.config.seer_learns)
                    wolf = value == "werewolf" or species_of(value) == "werewolf"
                    q.results = tuple((*r, (j, wolf)) if i == a else r for i, r in enumerate(w.results))
                    q.tell(a, ("inspect", j, value))
                    after.append(q)
            worlds = after
        return worlds

    # --- beliefs, straight from their definitions

    def wolves(self):
        return np.array([[r == "werewolf" for r in p.roles] for p in self.particles], dtype=float)

    def characters(self):
        """(n_seats, n_styles, n_particles): whether a particle gives a seat a style."""
        styles = np.array([p.styles for p in self.particles])
        return np.stack([styles == s for s in range(len(self.styles))]).astype(float).transpose(2, 0, 1)

    def cells(self, seat):
        """Number of the cell of `seat` in each particle: what it was told and its own character."""
        numbers = {}
        keys = [(p.private[seat], p.styles[seat]) for p in self.particles]
        return np.array([numbers.setdefault(key, len(numbers)) for key in keys])

    def mine(self, viewer, private, style):
        """Weights of the particles that `viewer`, told `private` and being of `style`, holds possible; sum 1."""
        w = np.array(
            [p.weight * (p.private[viewer] == private and p.styles[viewer] == style) for p in self.particles]
        )
        return w / w.sum()

    def second_order(self, viewer, private, style):
        wolf, w = self.wolves(), self.mine(viewer, private, style)
        everyone = np.array([p.weight for p in self.particles])
        out = np.zeros((self.n, self.n))
        for j in range(self.n):
            if j == viewer:
                out[j] = w @ wolf
                continue
            cell = self.cells(j)
            mass, total = np.bincount(cell, w), np.bincount(cell, everyone)
            out[j] = (mass[cell] / total[cell] * everyone) @ wolf
        return out


def shown(role, rule):
    return {"role": role, "faction": faction_of(role), "species": species_of(role), "none": None}[rule]


def permutations_of(cards):
    if not cards:
        yield ()
        return
    for card in set(cards):
        rest = list(cards)
        rest.remove(card)
        for tail in permutations_of(tuple(rest)):
            yield (card, *tail)


def private_of(config, records, viewer):
    """What the log told a viewer, in the terms of `Particle.private`."""
    out, votes, attacked = [], [], None
    for e in records:
        if not isinstance(e, Event) or e.audience is None or viewer not in e.audience:
            continue
        if e.kind == "role":
            out.append(e.value)
            if e.value in ("werewolf", "mason"):
                out.append(tuple(int(i) for i in e.data["known"]))
        elif e.kind == "night_kill":
            votes.append(e.target)
        elif e.kind == "prey":
            hidden = config.kill_rule == "one_random"
            out.append(("prey", e.target, () if hidden else tuple(votes)))
            votes = []
        elif e.kind == "inspect":
            out.append(("inspect", e.target, e.value))
        elif e.kind == "protect":
            out.append(("protect", e.target))
        elif e.kind == "attacked":
            attacked = e.target
        elif e.kind == "heal":
            out.append(("told", attacked, e.target))
        elif e.kind == "poison":
            out.append(("poison", e.target))
        elif e.kind == "sense":
            out.append(("sense", e.value))
    return tuple(out)
