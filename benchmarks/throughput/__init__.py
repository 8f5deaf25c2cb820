"""How much can be done at a time."""
