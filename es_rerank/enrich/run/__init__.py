"""A run from a source to the next version behind an alias, and what happens to versions later."""
