"""Read and write weights files, safely: hostile files cannot run code or exhaust memory."""
