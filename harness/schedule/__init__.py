"""Who plays whom in which game: tournaments, branches, merged runs."""
