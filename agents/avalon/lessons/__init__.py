"""What a small model of Avalon learns from (`agents.lessons.Lessons`)."""

from agents.avalon.lessons.curriculum import views
from agents.avalon.lessons.questions import exact_beliefs
from agents.avalon.vocabulary import make_tokenizer

__all__ = ["exact_beliefs", "make_tokenizer", "views"]
