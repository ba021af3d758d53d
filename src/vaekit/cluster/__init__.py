"""Run shards of work on the workers of a Ray cluster, or on several of this machine.

Ray places workers and tells when they die. Which shard is processed where, and what becomes of those of a dead worker,
is decided in `dispatch`, which knows nothing of Ray.
"""
