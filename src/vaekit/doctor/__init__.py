"""The health of a VAE: checks that run it on images made by code, each with its numbers and what to do."""
