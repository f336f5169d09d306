"""Keys of players and backends whose settings are constructor arguments, which cannot be derived from a settings
class.

A test compares each list with the arguments of its class.
"""

from __future__ import annotations

from harness.reference.fields import REQUIRED, Key

BAYESIAN = [
    Key("mix", "table: text -> number", "none", "", "Its prior over the characters of the others: policy -> share; "
        "none: all shipped ones alike."),
    Key("sharpness", "number", "2.0", "", "How strongly log-odds decide; 0 chooses uniformly."),
    Key("talk", "number", "0.8", "", "How often it accuses when it speaks for the village."),
    Key("lapse", "number", "0.02", "", "The share of others' acts that it takes for no policy's, so that it can play "
        "with strangers."),
]  # fmt: skip
HUMAN: list[Key] = []
MODEL = [
    Key("choice", '"free" | "repair" | "constrained"', '"free"', "", "(chat: constrained.) Whether a choice is written "
        "in free words, chosen among the legal options alone once free words failed (transcript only), or at once."),
    Key("fallback", '"abstain" | "random" | "forfeit"', '"abstain"', "", "What stands in for a reply that cannot be "
        "used: abstain where the rules allow it, a seeded draw, or abstain for the rest of the game."),
    Key("backend_retries", "integer", "6", "", "How often a backend that failed is asked again."),
    Key("first_wait_s", "number", "0.5", "", "Seconds before the first of these; they double."),
    Key("template", "table: text -> anything", "none", "", "chat: variables of the model's chat template, e.g. "
        "{ enable_thinking = false }."),
    Key("factors", "table", "{}", "", "chat: see below."),
    Key("thinking", "table", "{}", "", "chat: see below."),
    Key("thinks", "table", "none", "", "transcript: see below."),
]  # fmt: skip
PREFIX = [
    Key("text", "text", REQUIRED, "", "The words; in chat style those of its thinking, where it thinks."),
    Key(
        "decision",
        "integer",
        REQUIRED,
        "",
        "How many decisions the seat has made before the one that is meant.",
    ),
]
OPENAI = [
    Key("api", '"tokens" | "text" | "chat"', '"tokens"', "", "What is sent and had back: token ids, words, messages."),
    Key("timeout_s", "number", "600.0", "", "Seconds that one request may take."),
    Key("give_up_s", "number", "10.0", "", "After so many seconds without a usable answer to anybody the server counts "
        "as gone."),
    Key("fields", "table: text -> text or false", "none", "", "What this server calls fields of a request, or false "
        "for those that it refuses, e.g. { max_tokens = \"max_completion_tokens\", seed = false }."),
    Key("system_role", "text", '"system"', "", "What it calls the system's role; `user` puts the system text before "
        "the first user message."),
    Key("check", "true or false", "true", "", "Whether `/models` is asked before a run."),
]  # fmt: skip
