"""Engines whose memory limit is that of a tile."""

import torch

from vaekit.interop.tiling import TileEngines
from vaekit.vae import VAE


@torch.no_grad()
def test_the_limit_is_that_of_a_tile_and_of_the_image(sd_vae: VAE) -> None:
    engines = TileEngines(sd_vae, (64, 64))
    x = torch.rand(1, 3, 512, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1
    tiled = engines.to_encode((512, 256))
    (whole,), (limited,) = (
        engine.explain(512, 256, only="encode")
        for engine in (TileEngines(sd_vae, (512, 256)).to_encode((512, 256)), tiled)
    )
    assert limited.predicted_peak is not None and whole.predicted_peak is not None and limited.budget is not None
    assert limited.predicted_peak < whole.predicted_peak
    assert limited.predicted_peak <= limited.budget
    torch.testing.assert_close(tiled.encode(x).mean, sd_vae.encode(x).mean, rtol=1e-4, atol=1e-4)
    assert engines.to_encode((512, 256)) is tiled


def test_weights_that_moved_or_were_cast_have_another_engine(sd_vae: VAE) -> None:
    engines = TileEngines(sd_vae, (64, 64))
    first = engines.to_decode((8, 8))
    assert engines.to_decode((8, 8)) is first
    assert engines.to_decode((9, 8)) is not first
    sd_vae.to(torch.bfloat16)
    engine = engines.to_decode((8, 8))
    assert engine.plan.dtype == "bf16"
    assert engine.decode(torch.zeros(1, 4, 8, 8)).shape == (1, 3, 64, 64)
