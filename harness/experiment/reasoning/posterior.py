"""An ideal observer's posterior over the others' roles, given a seat's view, beside a reasoning."""

from __future__ import annotations

from agents.policies import players_of
from harness.errors import ConfigurationError
from harness.replay.posteriors import NoPosterior, Points
from harness.replay.replay import Replay
from harness.run.folder import Run
from harness.schedule.branched import schedule_of


class Posteriors:
    """The posteriors for one run's games: `exact` under the scripted characters of the roster (under those on which
    the shipped models were trained, where none sits), else `rules`, the posterior under the rules alone. The last
    game is cached."""

    def __init__(self, run: Run) -> None:
        self.run = run
        try:
            configs = list(schedule_of(run.manifest).configs)
        except ConfigurationError:
            configs = []
        self._mixes = [self._characters(config) for config in configs] or [None] * len(run.manifest.cells)
        self._last: tuple[str, str, Points] = ("", "", [])

    @staticmethod
    def _characters(config: object) -> dict[str, float] | None:
        from agents.werewolf.lessons.games import MIXTURE
        from harness.config.sections import Config

        if not isinstance(config, Config):
            return None
        roster = config.roster
        shares = roster.mix or dict.fromkeys(roster.agents(), 1)
        found: dict[str, float] = {}
        for name, share in shares.items():
            section = config.agents[name]
            if section.kind == "scripted" and section.policy is not None and not section.settings:
                found[section.policy] = found.get(section.policy, 0.0) + share
        return found or {str(name): weight for name, weight in MIXTURE.items()}

    def at(self, game_id: str, seq: int, viewer: int) -> tuple[str, dict[int, float]]:
        """(the source's name, seat -> P(werewolf)) just before a decision; empty where there is none."""
        if self._last[0] != game_id:
            self._last = (game_id, *self._points(game_id))
        _, source, points = self._last
        return source, {s: p for at, v, s, p in points if at < seq and v == viewer}

    def _points(self, game_id: str) -> tuple[str, Points]:
        cell = self.run.cell(game_id)
        game, _ = cell.rules()
        if not game.players:
            return "", []
        replay = Replay(self.run, game_id)
        offered = players_of(game).posteriors(self._mixes[self.run.manifest.cells.index(cell)])
        for source in ("exact", "rules"):
            if source in offered:
                try:
                    return source, offered[source](replay.config, replay.records)
                except NoPosterior:
                    continue
        return "", []
