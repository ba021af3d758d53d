"""Check that images change evenly along the path between two latents, without jumps."""

import math

import torch

from vaekit.doctor.findings import Finding, skipped
from vaekit.doctor.observe import Observation
from vaekit.metrics.image.color import LEVELS_PER_UNIT

STEPS = 8
"""Steps from one image to the other."""
UNEVEN = 4.0
"""Ratio of the largest step to the median one above which the image jumps."""
ONE_JUMP = 100.0
"""The ratio from which the other steps are negligible."""


def check_smoothness(observation: Observation) -> Finding:
    """The root mean square change of the image in each step along a straight line between two latents."""
    if observation.vae.decoder is None:
        return skipped("smoothness", "there is no decoder")
    if observation.quantizes:
        return skipped("smoothness", "the codes of a vector quantizer cannot be interpolated")
    if len(observation.latents) < 2:
        return skipped("smoothness", "this check needs two images")
    start, end = observation.latents[:1], observation.latents[1:2]
    path = torch.linspace(0, 1, STEPS + 1).view(-1, 1, 1, 1)
    images = observation.decode(start + (end - start) * path).clamp(-1, 1)
    steps = images.diff(dim=0).square().mean(dim=(1, 2, 3)).sqrt() * LEVELS_PER_UNIT
    largest, median = steps.max().item(), steps.median().item()
    ratio = largest / median if median > 0 else math.inf if largest > 0 else 1.0
    values = {"ratio": ratio, "steps": steps.tolist()}
    how = f"the largest is {ratio:.1f} times the median" if ratio < ONE_JUMP else "it changes only in the largest"
    message = f"from one image to another in {STEPS} steps, {how}"
    if ratio <= UNEVEN:
        return Finding("smoothness", "ok", message, values)
    remedy = "Interpolations will jump; a higher KL weight, or noise on the latents in training, smooths them."
    return Finding("smoothness", "warning", message, values, remedy)
