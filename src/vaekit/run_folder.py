"""The names of the files in the folder of a training run."""

RECIPE, CHECKPOINTS, RESULT, AVERAGES = "recipe.json", "checkpoints", "vae.safetensors", "averages"
DIFFUSION = "diffusion.safetensors"
"""The result of a run of a diffusion recipe; the VAE of its latents is beside it."""
LOG = "log.jsonl"
SKIPPED = "skipped.txt"
"""Lists items that could not be read, with reasons."""
EVALUATION = "evaluation.json"
