"""Training material of the small thinking model of Werewolf: games with private lines by the exact observer."""
