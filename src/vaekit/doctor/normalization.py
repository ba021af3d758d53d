"""Check the normalization: normalized latents of images should have mean 0 and standard deviation 1, and the
catalog should agree."""

import math
from collections.abc import Mapping

from vaekit.catalog.entries import CatalogEntry, matching_latent_spaces
from vaekit.doctor.findings import Finding, Status, skipped
from vaekit.doctor.observe import Observation
from vaekit.families import family_with
from vaekit.identification.probe_latents import latents_probed, nearest_latent_space
from vaekit.normalization import LatentNormalization

USUAL, POSSIBLE = 2.0, 3.0
"""Factors by which the standard deviation of latents may differ from 1: up to the first it is right, as sets of
images differ (by 1.2 to 1.4: docs/measuring.md); beyond the second it is wrong. SDXL's latents have 1.4 with SD1's
normalization, SD1's have 6 with SD3's; raw latents have 4 (SD1), 8 (SDXL), 0.4 (SD3) or 2.8 (FLUX.1)."""
OFF_CENTER = 1.0
"""The maximum distance of the mean of all latents from 0, in standard deviations."""
SIMILAR_SCALE = 1.25
"""The maximum ratio of the scales of a VAE and of its fine-tunes: SDXL has 0.130, its fine-tunes 0.128 to 0.141; SD1
has 0.182."""
IDENTITY = LatentNormalization()


def check_normalization(observation: Observation, entry: CatalogEntry | None = None) -> Finding:
    """The mean and standard deviation of normalized latents over the images, compared with the catalog."""
    vae = observation.vae
    if observation.one_size:
        return skipped(
            "normalization", "the latent is one vector: no diffusion model uses it, and it needs no normalization"
        )
    if observation.posterior is None:
        return skipped("normalization", "there is no encoder to measure latents with")
    raw = observation.latents
    normalization = vae.normalization
    suggested = {"shift": raw.mean().item(), "scale": 1 / max(raw.std().item(), 1e-12)}
    if normalization is None:
        message = f"unknown; its latents over {observation.source} suggest {_as_text(suggested)}"
        remedy = (
            "If it belongs to a known diffusion model, use that model's normalization "
            "(`vaekit.load(..., latent_space=...)`); if you train one with it, use the measured scale and shift."
        )
        return Finding("normalization", "warning", message, {"normalization": None, "measured": suggested}, remedy)
    latents = vae.normalize(raw)
    mean, std = latents.mean().item(), latents.std().item()
    values = {
        "normalization": normalization.as_json(),
        "mean": mean,
        "std": std,
        "channel_means": latents.transpose(0, 1).flatten(1).mean(dim=1).tolist(),
        "channel_stds": latents.transpose(0, 1).flatten(1).std(dim=1).tolist(),
        "measured": suggested,
    }
    status = _status(mean, std, normalization)
    message = f"latents have mean {mean:+.2f} and standard deviation {std:.2f} with {normalization}; expected 0 and 1"
    remedies = [] if status == "ok" else [f"Measured: {_as_text(suggested)}."]
    if (
        entry is not None
        and entry.normalization is not None
        and not entry.normalization.is_close(normalization, channels=raw.shape[1])
    ):
        status, message = "wrong", f"{message}; its catalog entry states {entry.normalization}"
        remedies.insert(0, "Use the normalization of the catalog entry.")
    other = _other_space(observation)
    if other:
        status = "warning" if status == "ok" else status
        message, remedies = f"{message}; they match those of {other}", [*remedies, "Check which model it belongs to."]
    return Finding("normalization", status, message, values, " ".join(remedies))


def _status(mean: float, std: float, normalization: LatentNormalization) -> Status:
    ratio = max(std, 1 / max(std, 1e-12))
    if ratio <= USUAL and abs(mean) <= OFF_CENTER * std:
        return "ok"
    # Some models were trained on raw latents: their normalization is the identity.
    return "warning" if ratio <= POSSIBLE or normalization == IDENTITY else "wrong"


def _other_space(observation: Observation) -> str:
    """The known latent space with the statistics of the latents, if the VAE has another normalization; else empty."""
    vae = observation.vae
    family = family_with(vae.config)
    spaces = matching_latent_spaces(family.name, vae.config) if family is not None else ()
    if observation.of_sounds or len(spaces) < 2 or vae.normalization is None:
        return ""
    assert observation.images is not None and observation.posterior is not None
    verdict = nearest_latent_space(latents_probed(observation.posterior, observation.images), spaces)
    known = verdict.latent_space
    if known is None or known.normalization is None or _similar_scale(known.normalization, vae.normalization):
        return ""
    own, channels = vae.normalization, vae.config.latent_channels
    if any(space.same_weights_as == known.name and space.has_normalization(own, channels) for space in spaces):
        return ""
    return f"{known.name} ({known.normalization})"


def _similar_scale(a: LatentNormalization, b: LatentNormalization) -> bool:
    """Whether two normalizations have similar scales, as a VAE and its fine-tunes have.

    Weaker than `LatentNormalization.is_close`, because the scales of fine-tunes differ slightly.
    """
    logs = [
        sum(math.log(abs(value)) for value in normalization.scale) / len(normalization.scale)
        for normalization in (a, b)
    ]
    return abs(logs[0] - logs[1]) < math.log(SIMILAR_SCALE)


def _as_text(suggested: Mapping[str, float]) -> str:
    return f"scale {suggested['scale']:.4g}, shift {suggested['shift']:.4g}"
