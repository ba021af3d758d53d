"""Playground 2.5's normalization, which stands in its whole checkpoint as two tensors beside the weights.

    shift = edm_mean        scale = 0.5 / edm_std        one of each for a latent channel, stored as (1, z, 1, 1)

The names and the 0.5 (EDM's sigma_data, to which latents are brought) are those of the published checkpoint as
diffusers' `from_single_file` reads it. A file has both tensors or neither.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from vaekit.checkpoints.locate import EDM_MEAN, EDM_STD, Found
from vaekit.errors import WrongTensors, shorten
from vaekit.normalization import LatentNormalization

DATA_STD = 0.5


def read_edm_normalization(path: Path, parts: Sequence[Found], latent_channels: int) -> LatentNormalization | None:
    """The normalization in the first file that has one; None where none has.

    Raises:
        WrongTensors: one of the two is missing, they are misshapen, not finite, or a deviation is not positive.
    """
    for part in parts:
        names = [name for name in (EDM_MEAN, EDM_STD) if name in part.file.specs]
        if not names:
            continue
        specs = [part.file.specs[name] for name in names]
        sound = all(spec.dtype.is_floating_point and spec.shape in shapes(latent_channels) for spec in specs)
        if len(names) == 2 and sound:
            read = part.file.read(names)
            mean, std = (read[name].double().flatten() for name in (EDM_MEAN, EDM_STD))
            if torch.isfinite(mean).all() and torch.isfinite(std).all() and (std > 0).all():
                return LatentNormalization.from_mean_and_std(mean.tolist(), std.tolist(), DATA_STD)
        raise WrongTensors(
            f"{path} has {shorten(names)} for its latents, but not a usable pair.",
            f"Expected {EDM_MEAN} and {EDM_STD}, finite numbers for each of {latent_channels} channels.",
            "Fetch the file again from its source; without them its latents would be scaled wrongly.",
        )
    return None


def shapes(latent_channels: int) -> tuple[tuple[int, ...], ...]:
    """As published, and without the places for rows and columns."""
    return (1, latent_channels, 1, 1), (latent_channels,)
