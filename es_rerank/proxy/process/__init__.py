"""The proxy as processes: one in the foreground, or workers that share one scorer."""
