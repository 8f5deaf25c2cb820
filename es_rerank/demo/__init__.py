"""The bundled sample catalogue and the demonstration that runs on it."""
