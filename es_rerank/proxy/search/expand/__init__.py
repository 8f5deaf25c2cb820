"""More candidates than the words alone find: nearest neighbours, mended spelling, other words."""
