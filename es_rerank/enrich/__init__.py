"""The indexer: documents in, enriched documents out."""
