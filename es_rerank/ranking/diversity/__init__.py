"""How alike candidates are, and orders that spread them."""
