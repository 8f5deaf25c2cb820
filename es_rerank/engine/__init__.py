"""Real local engines, without containers."""
