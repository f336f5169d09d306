"""What the small models of Werewolf learn from: scripted games seen from a seat, and what is asked on the way.

`agents.lessons.Lessons` of the game.
"""

from agents.werewolf.lessons.curriculum import views
from agents.werewolf.lessons.questions import exact_beliefs
from agents.werewolf.vocabulary import make_tokenizer

__all__ = ["exact_beliefs", "make_tokenizer", "views"]
