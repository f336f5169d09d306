"""The one gate for secrets: a known secret never appears in anything that is stored or shown.

A process that learns of a secret (an API key, a proxy's password, the key of an engine that it started) calls `know`;
whatever writes to the disk, to the terminal or to a tracker passes `mask` or `mask_bytes`, and so do the words of
servers where they enter, since any of them may repeat what it was sent. A secret is found as it is and in the forms in
which servers and libraries write it down again: in JSON, in a url, in base64.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from urllib.parse import quote, quote_plus

SHORTEST = 8
"""Shorter strings are not masked: they may occur in any text, and no server accepts them as a key."""
PLACEHOLDERS = frozenset({"no-key-required", "sk-no-key-required", "not-needed", "password", "placeholder"})
"""Placeholders for servers that require some key; they are not secrets."""

_NAMES: dict[str, str] = {}
"""Secret -> the name that replaces it."""
_FORMS: dict[str, str] = {}
"""Each form of each secret -> its replacement; the longest first."""


def know(secret: str, name: str) -> None:
    """From now on this process masks the secret. name: says which one it was, e.g. its environment variable."""
    if len(secret) < SHORTEST or secret.casefold() in PLACEHOLDERS:
        return
    _NAMES[secret] = name
    found = dict(_FORMS) | dict.fromkeys(_forms(secret), f"[{name} masked]")
    _FORMS.clear()
    _FORMS.update(sorted(found.items(), key=lambda form: -len(form[0])))


def known() -> Mapping[str, str]:
    """Secret -> name of all that this process masks, to be handed to `know` in another."""
    return dict(_NAMES)


def holds(text: str) -> bool:
    """Whether a text has a known secret in it."""
    return any(form in text for form in _FORMS)


def mask(text: str) -> str:
    """The text with every known secret replaced by its name."""
    for form, instead in _FORMS.items():
        if form in text:
            text = text.replace(form, instead)
    return text


def mask_bytes(data: bytes) -> bytes:
    """As `mask`, of encoded text."""
    for form, instead in _FORMS.items():
        if (encoded := form.encode("utf-8", "surrogatepass")) in data:
            data = data.replace(encoded, instead.encode())
    return data


def _forms(secret: str) -> set[str]:
    """A secret as it is and as it is written in JSON, in urls, in Python's repr and in base64 at each offset."""
    forms = {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
    }
    forms |= {quote(secret, safe=""), quote(secret), quote_plus(secret)}
    raw = secret.encode("utf-8", "surrogatepass")
    for skip in range(3):  # base64 of a longer text that holds it: what does not depend on its neighbours
        whole = base64.b64encode(bytes(skip) + raw).decode()
        inner = whole[(0, 2, 3)[skip] : len(whole.rstrip("=")) - (1 if (skip + len(raw)) % 3 else 0)]
        forms |= {inner, inner.translate(str.maketrans("+/", "-_"))}
    return {form for form in forms if len(form) >= SHORTEST}
