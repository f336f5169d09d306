"""Settings of a transcript player's private line: the switch between its kinds of thinking."""

from __future__ import annotations

import msgspec

from agents.llm.written.line import FILLER, KINDS, Kind


class Private(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a model of the typed language thinks before each of its decisions."""

    kind: Kind = "none"
    """`none`; `filler`, which is prefilled; `belief` or `steps`, which the model writes."""
    n_filler: int = 24
    """Words of filler."""
    budget: int = 160
    """Largest number of tokens of a line, which is cut off there; the decision then follows."""
    log: bool = True
    """Whether the text is logged as `reasoning` (the tokens are in the log either way)."""

    @property
    def writes(self) -> bool:
        """Whether the model writes its line itself."""
        return self.kind in ("belief", "steps")


def check_private(private: Private, known: frozenset[str] | set[str]) -> Private:
    """The same. Raises ValueError for an unknown kind, or a tokenizer (its words: `known`) without the words of it."""
    if private.kind not in KINDS:
        raise ValueError(f"thinks.kind = {private.kind!r} is not known; there are: {', '.join(KINDS)}")
    needed = {"none": set[str](), "filler": {"thinks", "filler", FILLER}}.get(
        private.kind, {"thinks", private.kind}
    )
    if lacking := sorted(needed - set(known)):
        raise ValueError(
            f"thinks.kind = {private.kind!r} needs a model that knows the words {', '.join(lacking)}, as "
            "`small-thinking` does; take that model, or leave `thinks` out"
        )
    return private
