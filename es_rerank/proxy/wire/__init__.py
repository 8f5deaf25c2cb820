"""HTTP/1.1 as bytes: connections, their framing, and who may use them."""
