"""What stands between a search and its scorer: loading, a thread of its own, a circuit breaker."""
