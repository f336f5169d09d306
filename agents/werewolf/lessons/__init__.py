"""Training material of the small models of Werewolf: scripted games seen from a seat, with questions in between.

This module implements `agents.lessons.Lessons`.
"""

from agents.werewolf.lessons import exam
from agents.werewolf.lessons.curriculum import views
from agents.werewolf.lessons.questions import exact_beliefs
from agents.werewolf.vocabulary import make_tokenizer

__all__ = ["exact_beliefs", "exam", "make_tokenizer", "views"]
