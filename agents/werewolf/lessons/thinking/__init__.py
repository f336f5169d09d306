"""What the small thinking model of Werewolf learns from: games with private lines that the exact observer dictates."""
