"""Who decides: scripted players, model players, and the backends that models run on."""
