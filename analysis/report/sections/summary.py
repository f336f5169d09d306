"""The summary figure: the rungs of all targets at one look."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import polars as pl

from analysis.evaluation.evaluate import Evaluation, Skipped
from analysis.report import figures
from analysis.report.page import Figure, Numbers, title_of
from analysis.rungs.rungs import NAMES

TINTS = {"yes": "good", "no": "no", "unclear": "weak", "not tested": "no"}


def summary_figure(evaluations: Sequence[Evaluation | Skipped], numbers: Numbers) -> Figure:
    """S1: rungs by targets, each cell the verdict and its number. Readable at 420 pixels."""
    frame = pl.DataFrame([row for e in evaluations for row in _rung_rows(e)], infer_schema_length=None)
    numbers.add("S1_rungs", frame)
    left, wide, high, top = 104, 104, 46, 44
    n = len(evaluations)
    parts = []
    for column, e in enumerate(evaluations):
        x = left + column * wide
        for line, text in enumerate(_two_lines(title_of(e.target.name))):
            parts.append(_text(x + wide / 2, 16 + 15 * line, text, "middle", 12, "var(--ink)", bold=True))
    for place, number in enumerate(NAMES):
        y = top + place * high
        parts.append(
            _text(
                0,
                y + 20,
                f"{number} {NAMES[number]}" if number != 5 else "5 more than",
                "start",
                12,
                "var(--ink)",
            )
        )
        if number == 5:
            parts.append(_text(0, y + 35, "public: alarm", "start", 12, "var(--muted)"))
        for column, e in enumerate(evaluations):
            x = left + column * wide
            verdict, value = _cell(e, number)
            tint = TINTS[verdict] if number != 5 or verdict != "yes" else "weak"
            parts.append(
                f'<rect x="{x + 3}" y="{y + 2}" width="{wide - 6}" height="{high - 6}" rx="7" fill="var(--{tint}-bg)"/>'
            )
            shown = "ALARM" if number == 5 and verdict == "yes" and _exact(e) else verdict
            parts.append(
                _text(
                    x + wide / 2,
                    y + (19 if value else 26),
                    shown,
                    "middle",
                    12.5,
                    f"var(--{tint})",
                    bold=True,
                )
            )
            parts.append(_text(x + wide / 2, y + 34, value, "middle", 11, f"var(--{tint})"))
    w, h = left + n * wide, top + 5 * high
    svg = (
        f'<svg role="img" aria-label="Rungs by targets" style="max-width:{int(w * 1.35)}px" '
        f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" font-family="{escape(figures.FONT)}">'
        f"{''.join(parts)}</svg>"
    )
    games = ", ".join(f"{title_of(e.target.name).lower()} {e.target.n_games:,}" for e in evaluations)
    return Figure(
        "S1", "S1", "How far up the ladder does each question get?", svg,
        "Numbers: 1, AUROC; 2 and 5, AUROC added; 3, share of what an ideal reader adds; 4, nats a choice. A "
        "rung counts "
        "only where those below it hold; 5 is an alarm, not a success. p-values are corrected over the "
        "questions (Holm). "
        f"Games: {games}.",
    )  # fmt: skip


def _rung_rows(e: Evaluation | Skipped) -> list[dict[str, object]]:
    if isinstance(e, Skipped):
        return [
            {"target": e.target.name, "rung": k, "name": v, "verdict": "not tested", "why": e.reason}
            for k, v in NAMES.items()
        ]
    return [
        {
            "target": e.target.name, "rung": r.number, "name": r.name, "verdict": r.verdict, "measure": r.measure,
            "value": r.value.value, "low": r.value.low, "high": r.value.high, "p_adjusted": r.p, "n_rows": r.n_rows,
            "n_games": r.n_games, "why": r.why,
        }
        for r in e.rungs
    ]  # fmt: skip


def _exact(e: Evaluation | Skipped) -> bool:
    return isinstance(e, Evaluation) and e.evidence.ceiling_exact


def _cell(e: Evaluation | Skipped, number: int) -> tuple[str, str]:
    if isinstance(e, Skipped):
        return "not tested", ""
    rung = next(r for r in e.rungs if r.number == number)
    v = rung.value
    if not np.isfinite(v.value) or not np.isfinite(v.low):
        return rung.verdict, ""
    if number == 1:
        return rung.verdict, f"{v.value:.2f} [{v.low:.2f}, {v.high:.2f}]"
    if number == 3:
        return rung.verdict, f"{v.value:.0%} [{v.low:.0%}, {v.high:.0%}]"
    value, low, high = (round(x, 2) + 0.0 for x in v[:3])  # so that nothing is -0.00
    return rung.verdict, f"{value:+.2f} [{low:.2f}, {high:.2f}]"


def _text(x: float, y: float, text: str, anchor: str, size: float, fill: str, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    place = f'x="{x:g}" y="{y:g}" text-anchor="{anchor}"'
    return f'<text {place} font-size="{size:g}" fill="{fill}"{weight}>{escape(text)}</text>'


def _two_lines(text: str) -> list[str]:
    parts = text.split()
    if len(text) <= 15 or len(parts) < 2:
        return [text]
    cut = min(range(1, len(parts)), key=lambda k: abs(len(" ".join(parts[:k])) - len(" ".join(parts[k:]))))
    return [" ".join(parts[:cut]), " ".join(parts[cut:])]
