"""Run VAEs: any size, in batches, in the precision of the plan. Independent of files and image formats."""
