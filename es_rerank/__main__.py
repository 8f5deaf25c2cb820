"""`python -m es_rerank`, the same as the `es-rerank` command."""

from es_rerank.cli.main import main

if __name__ == "__main__":
    main()
