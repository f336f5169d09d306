"""What a small model of Avalon learns from (`agents.lessons.Lessons`)."""

from agents.avalon.lessons import exam
from agents.avalon.lessons.curriculum import views
from agents.avalon.lessons.questions import exact_beliefs
from agents.avalon.vocabulary import make_tokenizer

__all__ = ["exact_beliefs", "exam", "make_tokenizer", "views"]
