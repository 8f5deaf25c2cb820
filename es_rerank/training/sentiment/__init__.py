"""Training of sentiment models: reviews in, a model's folder out."""
