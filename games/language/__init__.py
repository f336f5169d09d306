"""What the language of every game is made of: lexicons, the codec of typed speech acts, quoted speech, a text space."""
