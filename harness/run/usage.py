"""What was asked of one model: calls, tokens, cost."""

from __future__ import annotations

import msgspec


class Usage(msgspec.Struct, omit_defaults=True):
    """What was asked of one model."""

    calls: int = 0
    prompt: int = 0
    """Tokens of prompts, whole, however many of them came from a cache."""
    cached: int = 0
    """Of these, taken from an engine's prefix cache."""
    generated: int = 0
    cost: float = 0.0
    """By the backend's price table, in its currency; 0 where there is none."""

    @property
    def tokens(self) -> int:
        """Prompt and generated tokens."""
        return self.prompt + self.generated

    def add(self, other: Usage) -> None:
        """Add up, field by field."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
