"""How much memory is taken."""
