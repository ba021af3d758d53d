"""Sources of reconstructions: VAEs, one encoder with several decoders, or another tool's files."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from vaekit.distributions import DiagonalGaussian, Posterior, StandardNormal
from vaekit.domains.images.correction_files import SavedCorrection
from vaekit.domains.images.read import RGBA, LoadedImage, for_vae, read_image
from vaekit.errors import BadItem, LatentMismatch, printable
from vaekit.metrics.image.color import as_rgb
from vaekit.metrics.latent.latent_statistics import ChannelSums, channel_sums, latent_noise, rate
from vaekit.normalization import LatentNormalization
from vaekit.runtime.engine import Engine
from vaekit.shapes import Images, Latents
from vaekit.vae import VAE, at_item_size, denormalize, normalize

MEGA = 1e6


MIB = 2**20


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """The reconstruction of one image."""

    pixels: Images
    """(1, 3, h, w), not clamped, possibly non-finite."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """What was measured while reconstructing, by the names in the measure table."""


@runtime_checkable
class Described(Protocol):
    """A source of reconstructions as a report describes it."""

    @property
    def name(self) -> str:
        """Its name in the report."""

    def about(self) -> Mapping[str, Any]:
        """Facts for the report."""

    def overall(self) -> Mapping[str, float]:
        """Measures over all items so far, by name."""


@runtime_checkable
class Candidate(Described, Protocol):
    """A source of reconstructions of images."""

    @property
    def on_cpu(self) -> bool:
        """Whether reconstructing keeps the CPU's cores busy."""

    def reconstruct(self, name: str, image: LoadedImage) -> Reconstruction:
        """Reconstruct the image of this name.

        Raises:
            BadItem: there is no reconstruction, or it has another size.
        """


class VAECandidate:
    """A VAE; or the encoder of one with the decoder of another that shares its latent space.

    Args:
        name: in the report.
        encoder: the engine that encodes.
        decoder: the engine that decodes; None for the same.

    Raises:
        BadItem: the VAE is not an image VAE.
    """

    def __init__(self, name: str, encoder: Engine, decoder: Engine | None = None) -> None:
        encoder.geometry.require_axes(2, "images")
        self.name = name
        self.encoder = encoder
        self.decoder = encoder if decoder is None else decoder
        self.listeners: list[Callable[[str, LoadedImage, Reconstruction], None]] = []
        """Functions that are called with every reconstruction."""
        self._sums: ChannelSums | None = None
        self._largest = (0, 0)

    @property
    def on_cpu(self) -> bool:
        return "cpu" in (self.encoder.plan.torch_device.type, self.decoder.plan.torch_device.type)

    @property
    def takes_alpha(self) -> bool:
        """Whether it reconstructs transparency. Results are laid over white."""
        return self.encoder.geometry.channels == RGBA

    @property
    def engines(self) -> tuple[Engine, ...]:
        """The engine, if one runs both halves: it knows which sizes need too much memory."""
        return (self.encoder,) if self.decoder is self.encoder else ()

    @property
    def image_size(self) -> int | None:
        """The fixed image size of the encoder; None if it takes any."""
        return self.encoder.geometry.size[0] if self.encoder.geometry.size is not None else None

    def reconstruct(self, name: str, image: LoadedImage) -> Reconstruction:
        pixels, _ = for_vae(image, self.encoder.geometry)
        size = (image.height, image.width)
        started = time.perf_counter()
        posterior = self.encoder.encode(pixels)
        encoded = time.perf_counter()
        result = self.decode(posterior.mode, size)
        decoded = time.perf_counter()
        self._largest = max(self._largest, size, key=lambda each: each[0] * each[1])
        mega = size[0] * size[1] / MEGA
        cost = {"encode_seconds": (encoded - started) / mega, "decode_seconds": (decoded - encoded) / mega}
        reconstruction = Reconstruction(as_rgb(result), cost | self._latents(posterior, size))
        for listener in self.listeners:
            listener(name, image, reconstruction)
        return reconstruction

    def decode(self, raw: Latents, size: tuple[int, int]) -> Images:
        """Decode raw latents of the encoder, converted to the decoder's normalization."""
        if self.decoder is not self.encoder:
            raw = convert_latents(raw, self.encoder.vae.normalization, self.decoder.vae.normalization)
        return at_item_size(self.decoder.decode(raw, size), self.decoder.geometry)

    def round_trip(self, pixels: Images) -> Images:
        """Reconstruct images (1, 3, h, w)."""
        inputs, _ = for_vae(LoadedImage(pixels), self.encoder.geometry)
        return as_rgb(self.decode(self.encoder.encode(inputs).mode, (pixels.shape[2], pixels.shape[3])))

    def _latents(self, posterior: Posterior, size: tuple[int, int]) -> dict[str, float]:
        """Measures of the latent of one image; sums over all images are kept for `overall`."""
        raw, normalization = posterior.mode, self.encoder.vae.normalization
        if raw.dim() != 4 or not raw.isfinite().all():
            return {}
        sums = channel_sums(raw if normalization is None else normalize(raw, normalization))
        self._sums = sums if self._sums is None else self._sums + sums
        measures = {"latent_noise": latent_noise(raw).item()}
        if isinstance(posterior, DiagonalGaussian):
            measures["kl_bits_per_pixel"] = rate(posterior, StandardNormal(), size[0] * size[1]).bits_per_pixel.item()
        return measures

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons to distrust the results."""
        normalizations = (self.encoder.vae.normalization, self.decoder.vae.normalization)
        upscale = self.decoder.geometry.upscale
        reduced = (f"it decodes at {upscale} times the size: images were averaged to the size of the originals",)
        scaled = reduced if upscale > 1 else ()
        if self.decoder is self.encoder or None not in normalizations:
            return scaled
        whose = "encoder's" if normalizations[0] is None else "decoder's"
        return (
            *scaled,
            f"the {whose} latent normalization is unknown: raw latents were decoded as they are, which may be wrong",
        )

    def about(self) -> Mapping[str, Any]:
        vae, geometry = self.encoder.vae, self.encoder.geometry
        origin = self.decoder.vae.origin
        return {
            "family": "unknown" if origin is None else origin.name,
            "latent_channels": geometry.latent_channels,
            "factor": geometry.factors[0],
            "normalization": None if vae.normalization is None else vae.normalization.as_json(),
            "parameters": sum(weight.numel() for weight in self.decoder.vae.parameters()),
            "notes": list(dict.fromkeys((*self.warnings, *self.encoder.notes, *self.decoder.notes))),
        }

    def overall(self) -> Mapping[str, float]:
        peaks = [
            plan.predicted_peak
            for engine in (self.encoder, self.decoder)
            for plan in (engine.explain(*self._largest) if any(self._largest) else ())
            if plan.predicted_peak is not None
        ]
        measures = {"peak_memory": max(peaks) / MIB} if peaks else {}
        if self._sums is None:
            return measures
        dead = {"dead_channels": float(len(self._sums.dead))}
        if self.encoder.vae.normalization is None:  # raw latents may have any mean and standard deviation
            return measures | dead
        mean, squares = self._sums.mean, self._sums.squares / self._sums.count
        spread = (squares.mean() - mean.mean().square()).clamp(min=0).sqrt().item()
        return measures | dead | {"latent_mean": mean[mean.abs().argmax()].item(), "latent_std": spread}


def convert_latents(raw: Latents, source: LatentNormalization | None, target: LatentNormalization | None) -> Latents:
    """Convert raw latents between two VAEs that share normalized latents; unchanged if a normalization is unknown."""
    return raw if source is None or target is None else denormalize(normalize(raw, source), target)


def check_shared(encoder: VAE, decoder: VAE, name: str) -> None:
    """Reject a decoder that cannot take the latents of an encoder.

    Raises:
        LatentMismatch: channels, factor or fixed size differ.
    """
    output, expected = encoder.geometry, decoder.geometry
    if (output.latent_channels, output.factors, output.size) != (
        expected.latent_channels,
        expected.factors,
        expected.size,
    ):
        raise LatentMismatch(
            f"The decoder {printable(name)} takes latents of {expected.latent_text}.",
            f"The encoder outputs latents of {output.latent_text}.",
            "Decode with VAEs that share the latent space, such as SD1's and TAESD.",
        )


@dataclass(frozen=True, eq=False)
class FolderCandidate:
    """Reconstructions written by another tool, by the names of the originals without extensions."""

    name: str
    files: Mapping[str, Path]
    on_cpu = False

    def reconstruct(self, name: str, image: LoadedImage) -> Reconstruction:
        path = self.files.get(Path(name).with_suffix("").as_posix())
        if path is None:
            raise BadItem(
                f"{printable(self.name)} has no reconstruction of {printable(name)}.",
                "A file with the same name was expected, with any extension.",
                "",
            )
        pixels = read_image(path).pixels
        if pixels.shape != image.pixels.shape:
            height, width = pixels.shape[2:]
            raise BadItem(
                f"The reconstruction {printable(str(path))} has {width}x{height} pixels.",
                f"Its original has {image.width}x{image.height}.",
                "Compare images of the same size: resizing them would change the result.",
            )
        return Reconstruction(pixels)

    def about(self) -> Mapping[str, Any]:
        return {"files": len(self.files)}

    def overall(self) -> Mapping[str, float]:
        return {}


def by_stem(folder: Path, paths: Sequence[Path]) -> dict[str, Path]:
    """Images of a folder by their relative paths without extensions; of two with the same, the first."""
    by_name: dict[str, Path] = {}
    for path in paths:
        by_name.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
    return by_name


class CorrectedCandidate(VAECandidate):
    """The reconstructions of a VAE with corrected colors.

    Args:
        plain: the VAE without correction. If it reconstructs the same images just before, it runs once for both.
        saved: its correction.
    """

    def __init__(self, plain: VAECandidate, saved: SavedCorrection) -> None:
        super().__init__(f"{plain.name}, corrected", plain.encoder, plain.decoder)
        self._plain, self._saved = plain, saved
        self._last: tuple[LoadedImage, Reconstruction] | None = None
        plain.listeners.append(self._keep)

    def _keep(self, _: str, image: LoadedImage, reconstruction: Reconstruction) -> None:
        self._last = image, reconstruction

    def reconstruct(self, name: str, image: LoadedImage) -> Reconstruction:
        last = self._last
        plain = last[1] if last is not None and last[0] is image else self._plain.reconstruct(name, image)
        self._last = None
        return replace(plain, pixels=self._saved.correction.apply(plain.pixels))

    def decode(self, raw: Latents, size: tuple[int, int]) -> Images:
        return self._saved.correction.apply(as_rgb(super().decode(raw, size)))

    def about(self) -> Mapping[str, Any]:
        return {**self._plain.about(), "correction": self._saved.about}

    def overall(self) -> Mapping[str, float]:
        return self._plain.overall()
