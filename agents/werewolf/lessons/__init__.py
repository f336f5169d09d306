"""What the small models of Werewolf learn from: scripted games, seen from a seat, with what is asked on the way."""
