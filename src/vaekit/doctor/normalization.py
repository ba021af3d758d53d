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
"""How many times more or less than 1 the deviation of latents may be: within the first it is right, for sets of
images differ (docs/measuring.md: by 1.2 to 1.4), and beyond the second it is wrong. With SD1's normalization SDXL's
latents have 1.4, with SD3's SD1's have 6; raw latents have 4 (SD1), 8 (SDXL), 0.4 (SD3) or 2.8 (FLUX.1)."""
OFF_CENTER = 1.0
"""So many of its own deviations the mean of all latents may be away from 0."""
SIMILAR_SCALE = 1.25
"""Ratio of scales up to which latents may be a fine-tune's: SDXL has 0.130, its fine-tunes 0.128 to 0.141; SD1 has
0.182."""
IDENTITY = LatentNormalization()


def check_normalization(observation: Observation, card: CatalogEntry | None = None) -> Finding:
    """Mean and deviation of normalized latents over the images, and what the card and the known kinds say."""
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
        words = f"unknown; its latents over {observation.source} suggest {_as_words(suggested)}"
        remedy = (
            "If it belongs to a known diffusion model, use that one's normalization (`vaekit.load(..., kind=...)`); "
            "if you train one with it, use the measured scale and shift."
        )
        return Finding("normalization", "warning", words, {"normalization": None, "measured": suggested}, remedy)
    latents = vae.normalize(raw)
    mean, std = latents.mean().item(), latents.std().item()
    numbers = {
        "normalization": normalization.as_json(),
        "mean": mean,
        "std": std,
        "channel_means": latents.mean(dim=(0, 2, 3)).tolist(),
        "channel_stds": latents.transpose(0, 1).flatten(1).std(dim=1).tolist(),
        "measured": suggested,
    }
    status = _status(mean, std, normalization)
    words = f"latents have mean {mean:+.2f} and standard deviation {std:.2f} with {normalization}; expected 0 and 1"
    remedies = [] if status == "ok" else [f"Measured: {_as_words(suggested)}."]
    if (
        card is not None
        and card.normalization is not None
        and not card.normalization.is_close(normalization, channels=raw.shape[1])
    ):
        status, words = "wrong", f"{words}; its catalog entry states {card.normalization}"
        remedies.insert(0, "Use the normalization of the catalog entry.")
    told = _other_kind(observation)
    if told:
        status = "warning" if status == "ok" else status
        words, remedies = f"{words}; they match those of {told}", [*remedies, "Check which model it belongs to."]
    return Finding("normalization", status, words, numbers, " ".join(remedies))


def _status(mean: float, std: float, normalization: LatentNormalization) -> Status:
    ratio = max(std, 1 / max(std, 1e-12))
    if ratio <= USUAL and abs(mean) <= OFF_CENTER * std:
        return "ok"
    # Some models were trained on latents as they are: a normalization that changes nothing is theirs.
    return "warning" if ratio <= POSSIBLE or normalization == IDENTITY else "wrong"


def _other_kind(observation: Observation) -> str:
    """The known latent space with the statistics of the latents, if the VAE has another normalization; else empty."""
    vae = observation.vae
    family = family_with(vae.config)
    kinds = matching_latent_spaces(family.name, vae.config) if family is not None else ()
    if len(kinds) < 2 or vae.normalization is None:
        return ""
    assert observation.images is not None and observation.posterior is not None
    verdict = nearest_latent_space(latents_probed(observation.posterior, observation.images), kinds)
    known = verdict.kind
    if known is None or known.normalization is None or _similar_scale(known.normalization, vae.normalization):
        return ""
    own, channels = vae.normalization, vae.config.latent_channels
    if any(kind.same_weights_as == known.name and kind.has_normalization(own, channels) for kind in kinds):
        return ""
    return f"{known.name} ({known.normalization})"


def _similar_scale(a: LatentNormalization, b: LatentNormalization) -> bool:
    """Whether two normalizations bring latents to about the same size, as those of a VAE and of its fine-tunes do.

    Weaker than `LatentNormalization.is_close`: fine-tunes have a scale of their own, and are still not another VAE's.
    """
    logs = [
        sum(math.log(abs(value)) for value in normalization.scale) / len(normalization.scale)
        for normalization in (a, b)
    ]
    return abs(logs[0] - logs[1]) < math.log(SIMILAR_SCALE)


def _as_words(suggested: Mapping[str, float]) -> str:
    return f"scale {suggested['scale']:.4g}, shift {suggested['shift']:.4g}"
