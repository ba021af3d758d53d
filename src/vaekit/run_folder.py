"""Names of the files in the folder of a training run, for those who write them and those who pass over such folders."""

RECIPE, CHECKPOINTS, RESULT, AVERAGES = "recipe.json", "checkpoints", "vae.safetensors", "averages"
LOG = "log.jsonl"
SKIPPED = "skipped.txt"
"""Items that could not be read, and why."""
EVALUATION = "evaluation.json"
