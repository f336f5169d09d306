"""What the rules of every game run on: a moderator, the state machine around it, and the forms of discussion."""
