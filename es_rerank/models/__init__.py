"""Models, the only room besides training that imports torch (lazily)."""
