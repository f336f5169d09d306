"""The file that `wolfscope judge` reads: which model is asked of a run's speeches, and how."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from harness.config.sections import BackendSection, Section


class JudgeSection(Section):
    """`[judge]`: which model is asked, and how."""

    backend: str
    """The key of a `[backends.*]` table."""
    name: str | None = Field(default=None, min_length=1)
    """The judge's name in the table and the report; None: the backend's key."""
    prompt: Literal["chat", "transcript"] = "chat"
    """The model's own chat template, or plain text for a model without one."""
    orders: int = Field(default=2, ge=1, le=2)
    """Orders of `yes` and `no` to average over."""
    games: int | None = Field(default=None, ge=1)
    """At most this many games, the first of the schedule."""
    max_tokens: int = Field(default=256, ge=1)
    """Token limit of an answer in words."""
    template: dict[str, Any] = Field(default_factory=dict)
    """Variables of the model's chat template, e.g. `{ enable_thinking = false }`."""


class JudgeConfig(Section):
    """The file that `wolfscope judge` reads."""

    judge: JudgeSection
    backends: dict[str, BackendSection]

    @model_validator(mode="after")
    def _backend_known(self) -> JudgeConfig:
        if self.judge.backend not in self.backends:
            raise ValueError(
                f"judge.backend is {self.judge.backend!r}, which no [backends.*] defines; "
                f"there are: {', '.join(self.backends) or 'none'}"
            )
        return self
