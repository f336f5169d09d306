"""The frame of a page: no text of an agent becomes markup, and the page may load nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).parent / "assets"
HOLDS = (
    '<footer class="note">This page holds the moderator\'s log, whatever it shows. '
    "<code>wolfscope view RUN --game N --as SEAT</code> writes one that holds what a seat may know and nothing else."
    "</footer>\n"
)
"""Explanations on every game page."""
SCRIPTS = {"index": ("common.js", "index.js"), "game": ("common.js", "game.js")}


def embedded(value: Any) -> str:
    """JSON that is safe inside a script element: it cannot end the element or begin a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8", "replace").decode()


def page(kind: str, title: str, value: Any, assets: str | None) -> str:
    """A whole page. kind: `index` or `game`. assets: the folder that holds scripts and style, None: inside the page.

    The policy allows scripts and style of that folder (or, inside the page, by their hashes) and nothing else: no
    network, no inline handler, no frame, no form.
    """
    style, scripts = "style.css", SCRIPTS[kind]
    if assets is None:
        texts = {name: (ASSETS / name).read_text(encoding="utf-8") for name in (style, *scripts)}
        hashes = {name: f"'sha256-{_sha256(text)}'" for name, text in texts.items()}
        allowed = f"script-src {' '.join(hashes[name] for name in scripts)}; style-src {hashes[style]}"
        head = f"<style>{texts[style]}</style>"
        tail = "".join(f"<script>{texts[name]}</script>" for name in scripts)
    else:
        allowed = "script-src 'self'; style-src 'self'"
        head = f'<link rel="stylesheet" href="{assets}/{style}">'
        tail = "".join(f'<script src="{assets}/{name}"></script>' for name in scripts)
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="referrer" content="no-referrer"><title>{escape(title)}</title>\n{head}</head><body>\n'
        "<noscript>This page shows its data with a script of its own; please allow scripts for it.</noscript>\n"
        f"{HOLDS if kind == 'game' else ''}"
        f'<script type="application/json" id="data">{embedded(value)}</script>\n{tail}</body></html>\n'
    )


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
