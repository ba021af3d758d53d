"""Diffusion models over latents of any shape, trained by flow matching. They know neither domains nor VAEs."""
