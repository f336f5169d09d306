"""What is learned of a run before it is played, from games in which scripted players stand in for its models."""
