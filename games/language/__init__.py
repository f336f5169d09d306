"""The parts of every game's language: lexicons, the codec of typed speech acts, quoted speech, a text space."""
