"""Previews of latents: by a tiny VAE in a models folder, by known colors, or by fitted ones."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.domains.images.read import read_image
from vaekit.families import assemble, family_with
from vaekit.families.kl.net import KLConfig
from vaekit.normalization import LatentNormalization
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.tasks import latent_agreement as latent_agreement_module
from vaekit.tasks import previews
from vaekit.tasks.latent_agreement import correlation, latent_agreement
from vaekit.tasks.previews import known_colors, previews_of, tiny_vae
from vaekit.testcards.dead_leaves import dead_leaves

CPU = Plan(device="cpu")


@pytest.fixture(scope="module")
def builtin() -> Engine:
    """A trained VAE."""
    vae = load("builtin")
    vae.normalization = vae.normalization or LatentNormalization()
    return Engine(vae, CPU)


@pytest.fixture
def images() -> Tensor:
    return dead_leaves(1, (128, 192), torch.Generator().manual_seed(5))


@pytest.mark.parametrize("without_encoder", [False, pytest.param(True, marks=pytest.mark.nightly)])
def test_fitted_colors_show_the_image(builtin: Engine, images: Tensor, tmp_path: Path, without_encoder: bool) -> None:
    raw, engine, path = builtin.encode(images).mode, builtin, tmp_path / "PREVIEW.png"
    if without_encoder:
        vae = copy.deepcopy(builtin.vae)
        vae.encoder = None
        engine = Engine(vae, CPU)
    shows = previews_of(engine, path)
    shows.write(raw)
    shown = read_image(path).pixels
    assert shown.shape[3] >= 240
    assert correlation(shown, images) > 0.9
    for value in (float("nan"), float("inf"), 1e30):
        shows.write(torch.full_like(raw, value))
        assert read_image(path).pixels.isfinite().all()


def test_known_colors_are_those_of_the_latent_space() -> None:
    widths = (128, 256, 512, 512)
    config = KLConfig(3, 4, 4, widths, widths, 2, 3, (), (), True, True, True, 32)
    family = family_with(config)
    assert family is not None
    with torch.device("meta"):
        vae = assemble(family, config, normalization=LatentNormalization((0.0,), (0.13025,)))
    colors = known_colors(vae, LatentNormalization((0.0,), (0.13025,)))
    assert colors is not None
    assert torch.allclose(colors.offset, torch.tensor([0.1084, -0.0175, -0.0011]))
    assert torch.allclose(colors.weights[0], 0.13025 * torch.tensor([0.3651, 0.4232, 0.4341]))


def test_a_small_vae_of_the_models_folder_is_used(
    builtin: Engine, images: Tensor, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only one that decodes these latents, and is much smaller."""
    assert tiny_vae(builtin, None) is None
    save(builtin.vae, models / "copy.safetensors")
    (models / "broken.safetensors").write_bytes(b"no weights")
    assert tiny_vae(builtin, None) is None, "it is not smaller"
    monkeypatch.setattr(previews, "MUCH_SMALLER", 0.5)
    assert tiny_vae(builtin, None) is not None
    previews_of(builtin, tmp_path / "PREVIEW.png").write(builtin.encode(images).mode)
    assert read_image(tmp_path / "PREVIEW.png").width == 256 // images.shape[3] * images.shape[3]


@pytest.mark.parametrize("positions", [4, pytest.param(latent_agreement_module.POSITIONS, marks=pytest.mark.nightly)])
def test_agreement_of_latents(builtin: Engine, monkeypatch: pytest.MonkeyPatch, positions: int) -> None:
    """With one small image daily, and all of them nightly."""
    monkeypatch.setattr(latent_agreement_module, "POSITIONS", positions)
    if positions == 4:
        monkeypatch.setattr(latent_agreement_module, "IMAGES", 1)
    same = latent_agreement(builtin, builtin)
    assert same is not None and same > 0.9
    turned = copy.deepcopy(builtin.vae)
    weights = next(turned.decoder.parameters())  # type: ignore[union-attr]
    weights.data = -weights.data.flip(1)
    other = latent_agreement(builtin, Engine(turned, CPU))
    assert other is not None and other < 0.8
    blind = copy.deepcopy(builtin.vae)
    blind.encoder = None
    assert latent_agreement(Engine(blind, CPU), builtin) is None
    assert correlation(torch.full((1, 3, 8, 8), float("nan")), torch.rand(1, 3, 8, 8)) == -1
