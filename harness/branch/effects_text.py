"""The effects of a branch as lines of a table."""

from __future__ import annotations

from harness.branch.effects import FEWEST, Effects


def effects_table(found: Effects, most: int = 8) -> str:
    """The effects as plain text: all outcomes, and at most `most` lines of every other kind."""
    paired = any(e.difference is not None for e in found.effects)
    arms = f"{found.n} continuations" + (" with the change and without" if paired else "")
    lines = [f"{found.what}  (game {found.game_id}, decision {found.seq}, {arms})"]
    if found.recorded is not None:
        lines.append(f"recorded: {found.recorded} won")
    if found.n_failed:
        lines.append(f"failed continuations: {found.n_failed}")
    if found.bits:
        lines.append(
            "without the change: " + ", ".join(f"{kind} {bits:.2f} bits" for kind, bits in found.bits.items())
        )
    for kind, title in (
        ("outcome", "outcome"),
        ("decision", "the decision itself"),
        ("next_exile", "next exile"),
        ("votes", "others' next ballots (votes per game)"),
        ("ballot", "others' next ballots, voter by voter"),
        ("belief", "others' beliefs at the next ballot"),
    ):
        rows = [e for e in found.effects if e.kind == kind]
        rows.sort(key=lambda e: -abs(e.difference if e.difference is not None else e.unchanged))
        if not rows:
            continue
        lines.append(f"\n{title}")
        shown = rows if kind == "outcome" else rows[:most]
        for e in shown:
            if e.difference is None:
                lines.append(f"  {_fit(e.what)} {e.unchanged:6.2f}  ({e.low:.2f} to {e.high:.2f})")
                continue
            mark = " *" if e.low > 0 or e.high < 0 else ""
            few = e.n < FEWEST and -e.low == e.high
            interval = f"({e.n} pairs: no interval)" if few else f"({e.low:+.2f} to {e.high:+.2f}){mark}"
            lines.append(
                f"  {_fit(e.what)} {e.unchanged:6.2f} -> {e.changed:5.2f}   {e.difference:+.2f} {interval}"
            )
        if len(rows) > len(shown):
            lines.append(f"  and {len(rows) - len(shown)} smaller ones (branch.json has all)")
    if paired:
        lines.append("\nwithout -> with, difference (95% interval); * the interval leaves out 0, row by row")
    return "\n".join(lines)


def _fit(text: str, width: int = 44) -> str:
    return f"{text if len(text) <= width else text[: width - 3] + '...':<{width}}"
