"""Which pairs of query and document are most worth a person's judgment: pool -> choice -> sheet."""
