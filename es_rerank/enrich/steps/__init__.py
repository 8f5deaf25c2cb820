"""The enrichers, a module each, and the recipe that says which of them run and how."""
