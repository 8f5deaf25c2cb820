"""Generated texts that wait for a person, what people decided, and the log of that.

Nothing here speaks HTTP: each function is a generator of what is to be asked of the cluster, so
that the command line and the proxy, each with its own way to the cluster, do the same.
"""
