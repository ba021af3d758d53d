"""The convolutional nets as a part: any moments, any outputs, the same nets as the published family's."""

import dataclasses
from pathlib import Path

import pytest
import torch
from refusals import refuses

from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.errors import UnknownVAE
from vaekit.families import PARTS, assemble
from vaekit.families.kl.net import KLConfig, build
from vaekit.families.parts.kl_net import KLNet
from vaekit.runtime.engine import Engine
from vaekit.vae import VAE

POSTERIORS = {
    "gaussian": (4, {}),
    "point": (4, {}),
    "vq": (4, {"codes": 12}),
    "cosine-vq": (4, {"codes": 12}),
    "residual-vq": (4, {"codes": 6, "stages": 2}),
    "fsq": (3, {"levels": [4, 3, 3]}),
    "lfq": (5, {"bits": 5}),
    "gumbel": (7, {"codes": 7}),
}


def net(config: KLConfig, channels: int) -> KLNet:
    fields = dataclasses.asdict(config) | {"latent_channels": channels, "hidden_channels": channels}
    return KLNet(**fields)


def made(config: KLConfig, kind: str) -> VAE:
    channels, settings = POSTERIORS[kind]
    words = dataclasses.asdict(net(config, channels))
    torch.manual_seed(0)
    assert PARTS.from_metadata is not None
    told = PARTS.from_metadata(
        {"net": words, "posterior": {"kind": kind, **settings}, "likelihood": {"kind": "laplace"}}
    )
    return assemble(PARTS, told).eval()


@pytest.mark.parametrize(("moments", "outputs"), [(1, 1), (2, 1), (1, 2), (3, 4)])
def test_says_as_many_numbers_as_are_asked_for(small_kl: KLConfig, moments: int, outputs: int) -> None:
    encoder, decoder = net(small_kl, 4).build(moments, outputs)
    x = torch.rand(2, 3, 8, 12)
    assert encoder(x).shape == (2, 4 * moments, 4, 6)
    assert decoder(torch.rand(2, 4, 4, 6)).shape == (2, 3 * outputs, 8, 12)


def test_is_the_published_net_where_it_says_the_same(small_kl: KLConfig) -> None:
    torch.manual_seed(0)
    ours = net(small_kl, 4).build(2, 1)
    torch.manual_seed(0)
    for mine, published in zip(ours, build(small_kl), strict=True):
        assert mine.state_dict().keys() == published.state_dict().keys()
        assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), published.parameters(), strict=True))


@pytest.mark.parametrize("kind", POSTERIORS)
@torch.no_grad()
def test_goes_into_a_file_and_comes_back_with_every_posterior(small_kl: KLConfig, kind: str, tmp_path: Path) -> None:
    vae = made(small_kl, kind)
    save(vae, tmp_path / "vae.safetensors")
    back = load(tmp_path / "vae.safetensors")
    x = torch.rand(1, 3, 16, 8) * 2 - 1
    assert back.config == vae.config
    assert repr(back.prior) == repr(vae.prior)
    assert torch.equal(back.reconstruct(x), vae.reconstruct(x))
    torch.testing.assert_close(Engine(back).reconstruct(x), vae.reconstruct(x), rtol=0, atol=1e-5)


def test_a_latent_of_the_wrong_width_is_refused(small_kl: KLConfig) -> None:
    words = {"net": dataclasses.asdict(net(small_kl, 4)), "likelihood": {"kind": "laplace"}}
    assert PARTS.from_metadata is not None
    with refuses(UnknownVAE, "fsq", "latent_channels", "3", "4"):
        PARTS.from_metadata({**words, "posterior": {"kind": "fsq", "levels": [4, 3, 3]}})
