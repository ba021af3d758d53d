"""Run a traced network slab by slab, with exact statistics, in bounded memory."""
