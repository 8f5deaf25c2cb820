"""What texts may say: checks of what was written against what is known, and of what is read."""
