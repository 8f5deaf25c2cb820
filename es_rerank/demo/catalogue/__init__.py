"""The sample catalogue's generator: tables in, a shop out, the same bytes for the same seed.

    tables/*.toml -> vocabulary -> products (titles, descriptions, pictures) -> reviews
                                -> queries -> judgments
                                -> behaviour (users, retrieval)              -> files -> data/

`python -m es_rerank.demo.catalogue` writes `data/`; everything it writes is our own invention.
"""
