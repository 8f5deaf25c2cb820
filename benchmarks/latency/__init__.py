"""How long the proxy takes, and how much passes through it."""
