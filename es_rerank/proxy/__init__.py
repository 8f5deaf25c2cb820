"""The rerank proxy: HTTP in, HTTP out."""
