"""The names of the files in the folder of a training run."""

RECIPE, CHECKPOINTS, RESULT, AVERAGES = "recipe.json", "checkpoints", "vae.safetensors", "averages"
LOG = "log.jsonl"
SKIPPED = "skipped.txt"
"""Lists items that could not be read, with reasons."""
EVALUATION = "evaluation.json"
EXAMPLES = "examples"
"""The subfolder with samples and reconstructions of a VAE that was trained."""
