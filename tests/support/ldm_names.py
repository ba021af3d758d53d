"""Weights under the names of LDM, by a rule that is independent of the layouts in `vaekit.families`."""

import torch

from vaekit.vae import VAE


def ldm_names(vae: VAE) -> dict[str, torch.Tensor]:
    """The weights of a KL VAE under the names that LDM's checkpoints have."""
    renamed = {"encoder.quant_conv": "quant_conv", "decoder.post_quant_conv": "post_quant_conv"}
    names = {key: next((key.replace(a, b) for a, b in renamed.items() if a in key), key) for key in vae.state_dict()}
    return {names[key]: tensor for key, tensor in vae.state_dict().items()}
