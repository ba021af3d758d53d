"""What the nodes do."""

from typing import Any

import torch
from torch import Tensor

import vaekit
from vaekit.errors import LatentMismatch
from vaekit.latents.paths import PATHS, through
from vaekit.metrics.image.color import color_shift
from vaekit.metrics.image.psnr import psnr
from vaekit.metrics.image.ssim import ssim

from .engine_vae import EngineVAE
from .loading import load, source

GAP = 8
"""White pixels between images that are side by side."""
Latent = dict[str, Any]
"""ComfyUI's latents: "samples", (b, z, h, w), and others."""


def load_vae(vae_name: str, memory: str, dtype: str, latents: str) -> tuple[EngineVAE]:
    """Load a VAE."""
    return (load(vae_name, memory, dtype, latents),)


def inspect_vae(vae_name: str) -> tuple[str]:
    """What is known about a VAE, as lines."""
    found = vaekit.inspect(source(vae_name))
    facts = {
        "family": found.family,
        "latent space": " or ".join(found.candidate_models) or "unknown",
        "latents": f"{found.latent_channels} channels at 1/{found.factor}",
        "normalization": f"{found.normalization or 'unknown'} ({found.normalization_source})",
        "parts": ", ".join(found.halves),
        "weights": f"{found.parameters:,} in {', '.join(found.dtypes)}",
        "fp16": (found.catalog_entry.fp16 if found.catalog_entry else "") or "unknown",
        "recognized": found.recognized or "no",
        "fingerprint": found.fingerprint or "unknown",
        "problems": " ".join(found.problems) or "none",
    }
    return ("\n".join(f"{name}: {fact}" for name, fact in facts.items()),)


def compare_vaes(image: Tensor, vae_a: EngineVAE, vae_b: EngineVAE) -> tuple[Tensor, str]:
    """An image (b, h, w, c), and its reconstructions by two VAEs, side by side; and how far they are from it."""
    shown, lines = [image[..., :3]], []
    for name, vae in (("A", vae_a), ("B", vae_b)):
        result = vae.decode(vae.encode(image))
        top, left = ((image.shape[axis] - result.shape[axis]) // 2 for axis in (1, 2))
        original = image[:, top : top + result.shape[1], left : left + result.shape[2], :3]
        lines.append(f"{name}: {numbers(original, result[..., :3])}")
        whole = torch.ones_like(shown[0])
        whole[:, top : top + result.shape[1], left : left + result.shape[2]] = result[..., :3]
        shown += [torch.ones(*image.shape[:2], GAP, 3), whole]
    return torch.cat([each.cpu() for each in shown], dim=2), "\n".join(lines)


def numbers(original: Tensor, result: Tensor) -> str:
    """PSNR, SSIM and color shift of images (b, h, w, 3) in [0, 1], as text."""
    x, y = (images.cpu().movedim(-1, 1) * 2 - 1 for images in (original, result))
    red, green, blue = (color_shift(x, y).mean(dim=0) * 127.5).tolist()
    return (
        f"PSNR {psnr(x, y).mean():.2f} dB, SSIM {ssim(x, y).mean():.4f}, "
        f"color shift {red:+.1f} {green:+.1f} {blue:+.1f} levels"
    )


def interpolate_latents(samples_a: Latent, samples_b: Latent, steps: int, path: str) -> tuple[Latent]:
    """The first latents of both, and `steps` points between them, as a batch."""
    a, b = samples_a["samples"][:1], samples_b["samples"][:1]
    if a.shape != b.shape:
        raise LatentMismatch(
            f"The latents have the shapes {list(a.shape)} and {list(b.shape)}.", "Expected equal ones.", ""
        )
    return ({"samples": through(torch.cat([a, b.to(a)]), steps, PATHS[path])},)
