"""Where documents come from: an index, or a file of rows."""
