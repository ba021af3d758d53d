"""CIE L*a*b* against scikit-image."""

import numpy as np
import torch
from skimage import color

from vaekit.metrics.image.lab import lab


def test_lab_is_that_of_scikit_image() -> None:
    x = torch.rand(1, 3, 61, 83, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x[..., :4] = torch.tensor([-1.0, 1, 0, -0.99])
    expected = color.rgb2lab((x[0].permute(1, 2, 0).double().numpy() + 1) / 2)
    np.testing.assert_allclose(lab(x)[0].permute(1, 2, 0).numpy(), expected, atol=1e-3)
