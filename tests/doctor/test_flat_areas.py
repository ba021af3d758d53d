import math
from dataclasses import replace

import pytest
import torch

from vaekit.doctor.flat_areas import check_border, check_grid
from vaekit.doctor.observe import Observation, observe
from vaekit.metrics.image.grid import flat_grid
from vaekit.vae import VAE


def test_a_sound_vae_leaves_flat_colors_flat(observed: Observation) -> None:
    assert check_grid(observed).status == "ok"
    assert check_border(observed).status == "ok"


@pytest.mark.parametrize(("levels", "status"), [(0.3, "ok"), (2.0, "warning"), (6.0, "wrong")])
def test_a_grid_is_measured_in_levels(observed: Observation, levels: float, status: str) -> None:
    assert observed.flats_decoded is not None
    rows = torch.arange(64).view(-1, 1)
    stripes = math.sqrt(2) * torch.sin(2 * torch.pi * rows / 8).expand(64, 64) * levels / 127.5
    finding = check_grid(replace(observed, flats_decoded=observed.flats_decoded + stripes))
    assert finding.status == status
    assert finding.values["amplitude"] == pytest.approx(levels, abs=0.15)


def test_other_frequencies_are_no_grid() -> None:
    columns = torch.arange(96)
    waves = torch.sin(2 * torch.pi * columns / 12).expand(1, 3, 96, 96)
    assert flat_grid(waves, 8) < 1e-3
    assert flat_grid(torch.sin(2 * torch.pi * columns / 4).expand(1, 3, 96, 96), 8) == pytest.approx(127.5 / 2**0.5)


def test_a_rim_is_a_warning(observed: Observation) -> None:
    assert observed.flats_decoded is not None
    made = observed.flats_decoded.clone()
    made[..., :8] += 0.5
    finding = check_border(replace(observed, flats_decoded=made))
    assert finding.status == "warning"
    assert "--padding" in finding.remedy


def test_half_a_vae_has_nothing_to_show(healthy: VAE) -> None:
    alone = VAE(healthy.encoder, healthy.to_posterior, None, healthy.to_likelihood, healthy.normalization)
    observation = observe(alone, side=64)
    assert {check(observation).status for check in (check_grid, check_border)} == {"skipped"}
