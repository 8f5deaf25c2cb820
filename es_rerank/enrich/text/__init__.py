"""Texts made for a product: forms, what each is made of, and what writes it."""
