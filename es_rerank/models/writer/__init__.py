"""Models that write: a prompt in, a text out; on this machine, or behind an endpoint."""
