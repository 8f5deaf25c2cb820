"""A search, from request to answer: read, widened, ranked, put together again."""
