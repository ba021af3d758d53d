"""An image that artifacts are planted in."""

import pytest
import torch
from degraded_images import leaves


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return leaves()
