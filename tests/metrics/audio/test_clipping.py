"""The share of clipped samples."""

import torch

from vaekit.metrics.audio.clipping import clipped_share


def test_each_waveform_has_its_share() -> None:
    x = torch.tensor([[[0.5, -1.0, 0.0, 32767 / 32768]], [[0.999, 0.0, 0.0, 0.0]]])
    assert clipped_share(x).tolist() == [0.5, 0.0]
