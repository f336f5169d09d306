"""What a small model of Avalon learns from (`agents.lessons.Lessons`)."""

from agents.avalon.lessons.curriculum import views
from agents.avalon.vocabulary import make_tokenizer

__all__ = ["make_tokenizer", "views"]
