"""Check flat colors for artifacts: a grid with the VAE's factor, and errors along the border."""

import torch
from torch import Tensor

from vaekit.doctor.findings import Finding, Status, skipped
from vaekit.doctor.observe import Observation
from vaekit.families import padding_of
from vaekit.identification.probe_padding import distance_to_border
from vaekit.metrics.image.color import LEVELS_PER_UNIT
from vaekit.metrics.image.grid import flat_grid
from vaekit.shapes import Images

VISIBLE_GRID, OBVIOUS_GRID = 1.0, 4.0
"""Root mean square of the grid in levels of 255: visible on flat areas, and obvious."""
BORDER_EXCESS, BORDER_RATIO = 3.0, 3.0
"""Minimum difference, in levels of 255, and ratio between the errors at the border and inside for a warning."""
NOTHING = "there are no flat colors to check: "


def check_grid(observation: Observation) -> Finding:
    """The grid on flat colors, away from the border."""
    pair = _flats(observation, "grid")
    if isinstance(pair, Finding):
        return pair
    flats, decoded = pair
    factor = observation.geometry.factors[0]
    if factor == 1:
        return skipped("grid", "a latent position is one pixel: there can be no grid")
    side = flats.shape[2]
    cut = side // factor // 4 * factor
    inside = decoded[:, :, cut : side - cut, cut : side - cut]
    amplitude = flat_grid(inside, factor)
    off = ((inside - flats[:, :, cut : side - cut, cut : side - cut]).abs().mean() * LEVELS_PER_UNIT).item()
    values = {"amplitude": amplitude, "period": factor, "mean_error": off}
    message = f"{factor}-pixel grid of {amplitude:.2f} levels of 255 on flat colors, with an error of {off:.1f}"
    status: Status = "ok" if amplitude < VISIBLE_GRID else "warning" if amplitude < OBVIOUS_GRID else "wrong"
    remedy = "Check that the file is complete; fine-tuning the decoder on smooth images removes the grid."
    return Finding("grid", status, message, values, "" if status == "ok" else remedy)


def check_border(observation: Observation) -> Finding:
    """The error of flat colors in the outermost latent position against that in the middle."""
    pair = _flats(observation, "border")
    if isinstance(pair, Finding):
        return pair
    flats, decoded = pair
    factor, side = observation.geometry.factors[0], flats.shape[2]
    error = (decoded - flats).abs() * LEVELS_PER_UNIT
    distance = distance_to_border(side)
    border, inside = (
        error[..., where].mean().item() for where in (distance < factor, distance >= side // factor // 4 * factor)
    )
    values = {"border": border, "inside": inside}
    message = f"the error on flat colors is {border:.1f} levels of 255 along the border, {inside:.1f} inside"
    if border < inside + BORDER_EXCESS or border < BORDER_RATIO * inside:
        return Finding("border", "ok", message, values)
    remedy = "Pad images before encoding and crop them afterwards."
    if padding := padding_of(observation.vae.config):
        remedy = f"Try the other padding (`--padding`; it ran with {padding}). {remedy}"
    return Finding("border", "warning", message, values, remedy)


def _flats(observation: Observation, name: str) -> tuple[Images, Tensor] | Finding:
    """Flat images and their reconstructions; a skipped finding if there are none."""
    if observation.one_size:
        return skipped(name, "a VAE with a vector latent is specialized to other images than flat colors")
    if observation.flats is None or observation.flats_decoded is None:
        missing = "encoder" if observation.flats is None else "decoder"
        return skipped(name, f"{NOTHING}there is no {missing}")
    return observation.flats, torch.as_tensor(observation.flats_decoded)
