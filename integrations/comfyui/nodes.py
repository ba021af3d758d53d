"""The nodes: their names, inputs and outputs, in one table for both of ComfyUI's APIs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vaekit.latents.paths import PATHS
from vaekit.runtime.plan import DTYPES

from . import actions
from .loading import AUTOMATIC, MODELS, names

CATEGORY = "vaekit"
DTYPE_NAMES = [name for name in DTYPES if len(name) == len("fp32")]


@dataclass(frozen=True)
class Input:
    """A widget or a connection."""

    kind: str
    """"COMBO", "INT" or "STRING" for a widget; else the type of a connection."""
    about: str
    options: Callable[[], list[str]] | None = None
    """Of a combo box."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """default, min, max."""


@dataclass(frozen=True)
class Node:
    """A node."""

    name: str
    title: str
    about: str
    inputs: Mapping[str, Input]
    outputs: Mapping[str, str]
    """Name -> type."""
    run: Callable[..., tuple[Any, ...]]
    shows_text: bool = False
    """Whether the last output is a text that the node shows."""


VAE_NAME = Input("COMBO", "A file of models/vae, or the VAE that comes with vaekit.", names)
NODES = (
    Node(
        "VaekitLoadVAE",
        "Load VAE (vaekit)",
        "Load a VAE that is run by vaekit: whole images, exactly, within a memory limit, for all nodes with a VAE.",
        {
            "vae_name": VAE_NAME,
            "memory": Input(
                "STRING",
                "The memory limit for an image, such as 2GiB, without the weights. Empty: most of what is free.",
                settings={"default": ""},
            ),
            "dtype": Input("COMBO", "fp32 is exact.", lambda: DTYPE_NAMES, {"default": "fp32"}),
            "latents": Input(
                "COMBO",
                "For TAESD and its kind: the model that the latents are from.",
                lambda: [AUTOMATIC, *MODELS],
                {"default": AUTOMATIC},
            ),
        },
        {"VAE": "VAE"},
        actions.load_vae,
    ),
    Node(
        "VaekitInspectVAE",
        "Inspect VAE (vaekit)",
        "What a file of models/vae is: family, latent space, safety in fp16, problems.",
        {"vae_name": VAE_NAME},
        {"facts": "STRING"},
        actions.inspect_vae,
        shows_text=True,
    ),
    Node(
        "VaekitCompareVAEs",
        "Compare VAEs (vaekit)",
        "An image and its reconstructions by two VAEs, side by side, with PSNR, SSIM and color shift.",
        {
            "image": Input("IMAGE", "The original."),
            "vae_a": Input("VAE", "The first VAE."),
            "vae_b": Input("VAE", "The second VAE."),
        },
        {"image": "IMAGE", "numbers": "STRING"},
        actions.compare_vaes,
        shows_text=True,
    ),
    Node(
        "VaekitInterpolateLatents",
        "Interpolate Latents (vaekit)",
        "A batch of latents from one to another.",
        {
            "samples_a": Input("LATENT", "The first latents."),
            "samples_b": Input("LATENT", "The last latents."),
            "steps": Input("INT", "Latents between them.", settings={"default": 5, "min": 0, "max": 254}),
            "path": Input("COMBO", "spherical keeps the norm.", lambda: list(PATHS), {"default": "linear"}),
        },
        {"samples": "LATENT"},
        actions.interpolate_latents,
    ),
)
