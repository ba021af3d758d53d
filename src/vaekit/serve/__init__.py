"""`vaekit serve`: an HTTP API for encoding and decoding with VAEs, and the static files of a page."""
