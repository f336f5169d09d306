"""Replays of the werewolf environment of kaggle-environments, as `env.toJSON()` writes them.

What happened is in `info.MODERATOR_OBSERVATION`: for each step the moderator's events, each a JSON text with the type
of its data. Night n of the replay comes before its day n + 1, so it is night n + 1 here. Where a model's raw completion
was kept it becomes the decision's output text, without token ids, which the replay does not have.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import msgspec

from games import load_game
from games.records import EVERYONE, MODERATOR, NOBODY, Trace
from games.werewolf.roles import faction_of
from harness.config.hashing import hash_of
from harness.exchange.imports.werewolf.log import (
    MOST_BYTES,
    Imported,
    ImportFormatError,
    LogBuilder,
    with_what_was_done,
)
from harness.gate import TooLarge, gunzip
from harness.run.journal import End

ROLES = {"Villager": "villager", "Werewolf": "werewolf", "Doctor": "doctor", "Seer": "seer"}
TEAMS = {"Villagers": "village", "Werewolves": "werewolf"}
REVEALS = {"no_reveal": "none", "team": "faction", "role": "role"}
PASSED = {
    "NoneType", "PhaseDividerDataEntry", "SetNewPhaseDataEntry", "VoteOrderDataEntry", "DiscussionOrderDataEntry",
    "RequestForActionDataEntry", "RequestDoctorSaveDataEntry", "RequestSeerRevealDataEntry",
    "RequestWerewolfVotingDataEntry", "RequestVillagerToSpeakDataEntry",
}  # fmt: skip
"""Types of data that other events repeat."""


class _Entry(msgspec.Struct):
    """The parts of an event that are read."""

    event_name: str
    day: int
    phase: str
    public: bool
    visible_to: list[str]
    data: dict[str, Any] | None


class _Raw(msgspec.Struct):
    data_type: str
    json_str: str


class _Replay(msgspec.Struct):
    """The parts of a replay that are read."""

    name: str
    configuration: dict[str, Any]
    info: dict[str, Any]


def read_kaggle(file: Path, data: bytes) -> Imported:
    """The game of a replay, gzipped or not. Raises ImportFormatError naming file, step, event and field."""
    try:
        plain = gunzip(data, MOST_BYTES, file) if data[:2] == b"\x1f\x8b" else data
        replay = msgspec.json.decode(plain, type=_Replay)
        if replay.name != "werewolf":
            raise ImportFormatError(f"{file}: name is {replay.name!r}, a replay of werewolf has 'werewolf'")
        steps = msgspec.convert(replay.info.get("MODERATOR_OBSERVATION"), list[list[_Raw]])
    except RecursionError:
        raise ImportFormatError(f"{file}: brackets are nested too deeply for a replay") from None
    except (TooLarge, zlib.error, EOFError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ImportFormatError(f"{file}: no replay of Kaggle's werewolf: {error}") from error
    reader = _Reader(file, replay)
    for step, raws in enumerate(steps):
        for number, raw in enumerate(raws):
            reader.place = f"step {step}, event {number}"
            reader.read(raw)
    return reader.game(hash_of(["kaggle", hash_of(json.loads(plain))]))


class _Reader:
    def __init__(self, file: Path, replay: _Replay) -> None:
        self.file, self.place, self.config = file, "configuration", replay.configuration
        self.players: list[dict[str, Any]] = []
        """Each player's entry at the end of the replay."""
        self.agents = self._agents(replay.info)
        self.reveals = tuple(
            self.word(self.config, key, REVEALS)
            for key in ("night_elimination_reveal_level", "day_exile_reveal_level")
        )
        self.ids: list[str] = []
        self.roles: dict[str, str] = {}
        self.log: LogBuilder | None = None
        self.dawn = False
        self.end: End | None = None
        self.seer_learns: str | None = None
        self.raw: dict[str, Any] = {}
        """The last action as it was submitted, which alone has a model's completion."""

    def fail(self, what: str) -> ImportFormatError:
        return ImportFormatError(f"{self.file}, {self.place}: {what}")

    def _agents(self, info: dict[str, Any]) -> dict[str, str]:
        found: dict[Any, Any] = {}
        end = info.get("GAME_END")
        for one in end.get("all_players") or [] if isinstance(end, dict) else []:
            agent = one.get("agent") if isinstance(one, dict) else None
            if isinstance(agent, dict):
                self.players.append(agent)
                found[one.get("id")] = agent.get("display_name") or agent.get("agent_id")
        if not found or None in found or None in found.values():
            raise self.fail(
                "info.GAME_END.all_players does not name the players: was the game played to its end?"
            )
        return found

    # Fields

    def field(self, data: dict[str, Any], key: str) -> Any:
        if key not in data:
            raise self.fail(f"field {key!r} is missing; there are: {', '.join(data)}")
        return data[key]

    def word(self, data: dict[str, Any], key: str, known: dict[str, str]) -> str:
        value = self.field(data, key)
        if value not in known:
            raise self.fail(f"{key} is {value!r}; known are {', '.join(known)}")
        return known[value]

    def seat(self, data: dict[str, Any], key: str) -> int:
        value = self.field(data, key)
        if value not in self.ids:
            raise self.fail(f"{key} is {value!r}; the players are {', '.join(self.ids)}")
        return self.ids.index(value)

    def target(self, data: dict[str, Any]) -> int:
        return NOBODY if self.field(data, "target_id") == "-1" else self.seat(data, "target_id")

    # Events

    def read(self, raw: _Raw) -> None:
        try:
            entry = msgspec.json.decode(raw.json_str, type=_Entry)
        except msgspec.DecodeError as error:
            raise self.fail(f"{raw.data_type}: {error}") from error
        data = entry.data or {}
        if self.end is not None and raw.data_type not in PASSED:
            raise self.fail(f"{raw.data_type} after the game's end")
        if raw.data_type == "dict":
            self.raw = data if "actor_id" in data else {}
        elif raw.data_type == "GameStartDataEntry":
            self.ids = list(self.field(data, "player_ids"))
        elif raw.data_type == "GameStartRoleDataEntry":
            self.roles[self.ids[self.seat(data, "player_id")]] = self.word(data, "role", ROLES)
        elif raw.data_type not in PASSED:
            handler = getattr(self, f"_{raw.data_type.removesuffix('DataEntry')}", None)
            if handler is None:
                raise self.fail(f"events with {raw.data_type} are not read by this importer")
            handler(self._started(entry), entry, data)

    def _started(self, entry: _Entry) -> LogBuilder:
        if self.log is None:
            missing = [i for i in self.ids if i not in self.roles or i not in self.agents]
            if missing or not self.ids:
                raise self.fail(f"no role or no player is known of {', '.join(missing) or 'anybody'}")
            roles, agents = [self.roles[i] for i in self.ids], [self.agents[i] for i in self.ids]
            self.log = LogBuilder(self.ids, roles, agents, self.fail)
        if entry.phase == "Night" and not self.dawn:
            self.log.turn(entry.day + 1, "night")
        elif entry.phase == "Day":
            self.dawn = False
            self.log.turn(entry.day, "day")
        return self.log

    def _morning(self, log: LogBuilder, entry: _Entry) -> None:
        self.dawn = True
        log.turn(entry.day + 1, "day")

    def _trace(self, data: dict[str, Any]) -> Trace | None:
        raw, self.raw = self.raw, {}
        if raw.get("actor_id") != data.get("actor_id") or not raw.get("raw_completion"):
            return None
        model = self.agents[data["actor_id"]]
        return Trace(model=model, output_text=str(raw["raw_completion"]), reasoning=data.get("reasoning"))

    def _SeerInspectAction(self, log: LogBuilder, entry: _Entry, data: dict[str, Any]) -> None:
        seat, subject = self.seat(data, "actor_id"), self.seat(data, "target_id")
        log.check_alive(subject, "is inspected")
        options = sorted(log.living - {seat})
        log.decide(seat, "inspect", option=subject, options=options, trace=self._trace(data))

    def _SeerInspectResult(self, log: LogBuilder, entry: _Entry, data: dict[str, Any]) -> None:
        seat, subject = self.seat(data, "actor_id"), self.seat(data, "target_id")
        learns = "faction" if self.field(data, "role") is None else "role"
        if self.seer_learns not in (None, learns):
            raise self.fail(f"the seer learns the {learns}, before it learned the {self.seer_learns}")
        self.seer_learns = learns
        role = log.roles[subject]
        shown = self.word(data, "team", TEAMS) if learns == "faction" else self.word(data, "role", ROLES)
        if shown != (role if learns == "role" else faction_of(role)):
            raise self.fail(f"the seer is shown {shown!r} of {log.names[subject]}, which is a {role}")
        log.event("inspect", (seat,), actor=seat, target=subject, value=shown)

    def _DoctorHealAction(self, log: LogBuilder, entry: _Entry, data: dict[str, Any]) -> None:
        seat = self.seat(data, "actor_id")
        log.choose(seat, "protect", self.target(data), (seat,), self._trace(data))

    def _WerewolfNightVote(self, log: LogBuilder, entry: _Entry, data: dict[str, Any]) -> None:
        seat = self.seat(data, "actor_id")
        log.choose(seat, "night_kill", self.target(data), log.wolves(), self._trace(data))

    def _WerewolfNightEliminationElected(self, log: LogBuilder, entry: _Entry, data: dict[str, Any]) -> None:
        elected = self.field(data, "elected_target_player_id")
        target = NOBODY if elected is None else self.seat(data, "elected_target_player_id")
        log.event("prey", log.wolves(), target=target)

    def _WerewolfNightElimination(self, log: LogBuilder, entry: _Entry, data: dict[str, Any]) -> None:
        self._morning(log, entry)
        if self.field(data, "eliminated_player_id") is None:
            log.event("no_death")
        else:
            self._leave(log, "death", "eliminated_player", data)

    def _DoctorSave(self, log: LogBuilder, entry: _Entry, data: dict[str, Any]) -> None:
        self.seat(data, "saved_player_id")
        self._morning(log, entry)
        log.event("no_death")

    def _Chat(self, log: LogBuilder, entry: _Entry, data: dict[str, Any]) -> None:
        text, game = str(self.field(data, "message")), load_game("werewolf")
        config = game.configure(roles=self._counts(log), preset="custom")
        acts = game.text.read_acts(text, game.text.words_of(config, log.records))
        if not entry.public:
            raise self.fail("a chat that is not public is not read by this importer")
        log.speak(self.seat(data, "actor_id"), text, acts, self._trace(data))

    def _Bid(self, log: LogBuilder, entry: _Entry, data: dict[str, Any]) -> None:
        seat, amount = self.seat(data, "actor_id"), self.field(data, "bid_amount")
        log.decide(seat, "bid", option=amount, trace=self._trace(data))
        log.event("bid", self._audience(log, entry), actor=seat, value=str(amount))

    def _BidResult(self, log: LogBuilder, entry: _Entry, data: dict[str, Any]) -> None:
        pass  # the next speaker's event repeats it

    def _audience(self, log: LogBuilder, entry: _Entry) -> tuple[int, ...] | None:
        seen = {self.ids.index(i) for i in entry.visible_to if i in self.ids}
        return EVERYONE if entry.public or seen >= log.living else tuple(sorted(seen)) or MODERATOR

    def _DayExileVote(self, log: LogBuilder, entry: _Entry, data: dict[str, Any]) -> None:
        shown = self._audience(log, entry)
        log.choose(self.seat(data, "actor_id"), "ballot", self.target(data), shown, self._trace(data))

    def _DayExileElected(self, log: LogBuilder, entry: _Entry, data: dict[str, Any]) -> None:
        if self.field(data, "elected_player_id") is None:
            log.event("exile", target=NOBODY)
        else:
            self._leave(log, "exile", "elected_player", data)

    def _leave(self, log: LogBuilder, kind: str, prefix: str, data: dict[str, Any]) -> None:
        seat = self.seat(data, f"{prefix}_id")
        level = self.reveals[kind == "exile"]
        shown = None
        if level == "role":
            shown = self.word(data, f"{prefix}_role_name", ROLES)
        elif level == "faction":
            shown = self.word(data, f"{prefix}_team_name", TEAMS)
        if shown not in (None, log.roles[seat], faction_of(log.roles[seat])):
            raise self.fail(f"{log.names[seat]} is revealed as {shown}, and is a {log.roles[seat]}")
        log.leave(seat, kind, shown)

    def _GameEndResults(self, log: LogBuilder, entry: _Entry, data: dict[str, Any]) -> None:
        winner = self.word(data, "winner_team", TEAMS)
        self.end = log.finish(winner, str(self.field(data, "reason")))
        named = {self.seat({"winner_ids": i}, "winner_ids") for i in self.field(data, "winner_ids")}
        if named != set(self.end.winners):
            raise self.fail(
                f"winner_ids are the seats {sorted(named)}, the winning team's are {self.end.winners}"
            )

    def _counts(self, log: LogBuilder) -> dict[str, int]:
        return {role: log.roles.count(role) for role in dict.fromkeys(log.roles)}

    def game(self, game_id: str) -> Imported:
        self.place = "its end"
        if self.log is None or self.end is None:
            raise self.fail("there is no game_end event: the game was not played to its end")
        log = self.log
        settings = {"roles": self._counts(log), "seer_learns": self.seer_learns or "role", **self._rules(log)}
        settings |= {"reveal_night": self.reveals[0], "reveal_day": self.reveals[1]}
        settings = with_what_was_done(settings, log.records, log.roles)
        return Imported(game_id, settings, log.agents, tuple(log.records), self.end)

    def _rules(self, log: LogBuilder) -> dict[str, Any]:
        """The rules in the replay's configuration, in this project's terms."""
        talk, talk_params = self._protocol("discussion_protocol")
        voting, voting_params = self._protocol("day_voting_protocol")
        doctors = [p for p in self.players if p.get("role") == "Doctor"]
        if any(record.kind == "bid" for record in log.records):
            form = "bidding"
        else:
            form = "simultaneous" if talk.startswith("Parallel") else "round_robin"
        rules = {
            "doctor_self": any((p.get("role_params") or {}).get("allow_self_save") is True for p in doctors),
            "discussion": form,
            "ballot": "sequential" if voting.startswith("Sequential") else "simultaneous",
            "ballot_abstain": True,
            "kill_abstain": True,
            "tie": "random" if voting_params.get("tie_break", "random") == "random" else "no_exile",
        }
        rounds = talk_params.get("max_rounds")
        if form != "bidding" and isinstance(rounds, int) and 1 <= rounds <= 10:
            rules["speech_rounds"] = rounds
        return rules

    def _protocol(self, key: str) -> tuple[str, dict[str, Any]]:
        found = self.config.get(key)
        found = found if isinstance(found, dict) else {}
        params = found.get("params")
        return str(found.get("name", "")), params if isinstance(params, dict) else {}
