"""Latent caches of other programs: kohya's sd-scripts, musubi-tuner, ai-toolkit, ComfyUI, MosaicML's MDS."""
