"""The model alone behind HTTP, in the shapes that rerank servers have (`serve --scorer-only`)."""
