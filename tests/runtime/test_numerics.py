"""Half precision that overflows is mended where it does, and nowhere else."""

from dataclasses import replace

import pytest
import torch
from refusals import refuses
from torch import Tensor

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.errors import BadPlan
from vaekit.families.kl import net as kl
from vaekit.families.kl.net import KLConfig
from vaekit.runtime import numerics
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.vae import VAE


@pytest.fixture
def vae(small_kl: KLConfig) -> VAE:
    torch.manual_seed(0)
    encoder, decoder = kl.build(replace(small_kl, encoder_widths=(8, 16), decoder_widths=(8, 16)))
    return VAE(encoder, DiagonalGaussian.from_moments, decoder, Laplace).eval()


def overflowing(conv: torch.nn.Module, by: float) -> None:
    """Make a layer say numbers beyond fp16's 65,504; the norm behind it takes the factor out again."""
    with torch.no_grad():
        for weight in conv.parameters():
            weight.mul_(by)


def latents() -> Tensor:
    return torch.randn(1, 4, 9, 7, generator=torch.Generator().manual_seed(0))


def engine(vae: VAE, dtype: str, memory: str | None = None) -> Engine:
    return Engine(vae, Plan(device="cpu", dtype=dtype, memory=memory))


@pytest.mark.parametrize("memory", [None, "40MiB"])
def test_a_layer_that_overflows_is_done_again_alone(vae: VAE, memory: str | None) -> None:
    overflowing(vae.decoder.up[1].block[0].conv1, 3e5)
    exact = engine(vae, "fp32").decode(latents())
    running = engine(vae, "fp16", memory)
    got = running.decode(latents())
    assert got.isfinite().all()
    assert (got - exact).abs().max() <= 1e-2 * (exact.max() - exact.min())
    (note,) = running.notes
    assert note == "beyond the range of fp16, recomputed in fp32: decoder up.1.block.0.conv1"


def test_layers_that_hold_stay_in_half_precision(vae: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    overflowing(vae.decoder.mid.block_1.conv1, 3e5)
    widened: list[object] = []
    plain = numerics.widened
    monkeypatch.setattr(numerics, "widened", lambda operation: widened.append(operation) or plain(operation))
    running = engine(vae, "fp16")
    running.decode(latents())
    assert len({id(each) for each in widened}) == 1
    assert len(running.notes) == 1


def test_the_encoder_is_watched_too(vae: VAE) -> None:
    overflowing(vae.encoder.down[0].block[0].conv1, 3e5)
    x = torch.rand(2, 3, 11, 14, generator=torch.Generator().manual_seed(0)) * 2 - 1
    exact, running = engine(vae, "fp32").encode(x).mode, engine(vae, "fp16")
    got = running.encode(x).mode
    assert (got - exact).abs().max() <= 1e-2 * (exact.max() - exact.min())
    assert running.notes == ("beyond the range of fp16, recomputed in fp32: encoder down.0.block.0.conv1",)


def test_a_sum_that_overflows_is_kept_in_fp32_until_a_norm_takes_it(vae: VAE) -> None:
    overflowing(vae.decoder.mid.block_1.conv2, 3e5)  # its result goes on as the shortcut of the next blocks
    exact, running = engine(vae, "fp32").decode(latents()), engine(vae, "fp16")
    got = running.decode(latents())
    assert got.isfinite().all()
    assert (got - exact).abs().max() <= 1e-2 * (exact.max() - exact.min())
    assert "mid.block_1.conv2" in running.notes[0]


def test_healthy_half_precision_has_nothing_to_tell(vae: VAE) -> None:
    for dtype in ("fp16", "bf16"):
        running = engine(vae, dtype)
        exact = engine(vae, "fp32").decode(latents())
        assert (running.decode(latents()) - exact).abs().max() <= 0.05
        assert running.notes == ()


def test_one_nan_counts() -> None:
    x = torch.zeros(1000)
    assert numerics.finite(x)
    x[617] = torch.nan
    assert not numerics.finite(x)


def test_a_nan_that_was_given_is_left_alone(vae: VAE) -> None:
    z = latents()
    z[0, 0, 0, 0] = torch.nan
    running = engine(vae, "fp16")
    assert not running.decode(z).isfinite().all()
    assert running.notes == ()


def test_weights_that_half_precision_cannot_hold_are_refused(vae: VAE) -> None:
    overflowing(vae.decoder.mid.block_1.conv1, 3e8)
    with refuses(BadPlan, "decoder.mid.block_1.conv1.weight", "6.55e+04"):
        engine(vae, "fp16")
    assert engine(vae, "bf16").decode(latents()).isfinite().all()
