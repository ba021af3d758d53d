"""A VAE, run well: in any size, in batches, in the precision of the plan. Knows no files and no image formats."""
