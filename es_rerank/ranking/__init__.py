"""Candidates in, an order out: scoring, blending, diversity and crowding. No HTTP, no cluster."""
