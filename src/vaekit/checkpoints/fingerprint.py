"""One hash for the same weights, whatever file they are in.

The fingerprint covers the native keys, shapes and values as 32-bit floats: it survives a change of prefix, layout,
file format and order, and a lossless upcast. Rounding to half precision changes it.
"""

import hashlib

import torch

from vaekit.vae import VAE


def fingerprint(vae: VAE) -> str:
    """64 hexadecimal digits (SHA-256) for the weights of a VAE in its own dtype."""
    digest = hashlib.sha256()
    for key, tensor in sorted(vae.state_dict().items()):
        digest.update(f"{key}{list(tensor.shape)}".encode())
        values = tensor.detach().to(device="cpu", dtype=torch.float32).contiguous()
        digest.update(values.numpy().data)
    return digest.hexdigest()
