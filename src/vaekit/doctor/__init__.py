"""The health of a VAE: checks that run it on pictures made by code, each with its numbers and what to do."""
