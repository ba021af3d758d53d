"""VAEs of four channels take RGBA and give RGBA."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vaekit.checkpoints.save import save
from vaekit.comparison.compare import reconstruct_all
from vaekit.domains.images.files import RoundTrip
from vaekit.domains.images.read import LoadedImage, read_image, with_channels
from vaekit.domains.measuring import MeasureOptions
from vaekit.families import assemble, family_of
from vaekit.families.kl.net import KLConfig
from vaekit.metrics.image.color import as_rgb, split_alpha
from vaekit.metrics.image.psnr import psnr
from vaekit.normalization import LatentNormalization
from vaekit.tasks.compare import vae_candidates
from vaekit.tasks.decode import decode
from vaekit.tasks.encode import encode
from vaekit.tasks.evaluate import EvaluateOptions, evaluate_data
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.reconstruct import reconstruct

SIZE = (41, 37)
ENGINE = EngineOptions(device="cpu")


@pytest.fixture(scope="module")
def vae_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = KLConfig(4, 4, 4, (8, 16), (8, 16), 1, 2, (), (), True, True, True, 4)
    path = tmp_path_factory.mktemp("vae") / "rgba.safetensors"
    save(assemble(family_of("kl"), config, normalization=LatentNormalization()).eval(), path)
    return path


@pytest.fixture
def model(vae_file: Path) -> OpenModel:
    return open_model(ModelOptions(str(vae_file)), ENGINE)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Nine images in RGBA and one in RGB."""
    folder, random = tmp_path / "images", np.random.default_rng(0)
    folder.mkdir()
    for number in range(10):
        coarse = random.integers(0, 256, (5, 5, 3 if number == 9 else 4), dtype=np.uint8)
        Image.fromarray(coarse).resize(SIZE, Image.Resampling.BILINEAR).save(folder / f"{number}.png")
    return folder


def test_an_image_without_transparency_counts_as_opaque() -> None:
    pixels = torch.rand(1, 3, 4, 5) * 2 - 1
    x, _ = with_channels(LoadedImage(pixels), 4)
    assert torch.equal(x[:, :3], pixels) and (x[:, 3] == 1).all()
    assert torch.equal(as_rgb(x), pixels)
    alpha = torch.rand(1, 1, 4, 5)
    x, _ = with_channels(LoadedImage(pixels, alpha), 4)
    torch.testing.assert_close(split_alpha(x)[1], alpha)
    torch.testing.assert_close(as_rgb(x), 1 - alpha + alpha * pixels)


def test_transparency_goes_through_the_vae(model: OpenModel, images: Path, tmp_path: Path) -> None:
    batch = reconstruct(model, [images], tmp_path / "out", side_by_side=True)
    assert batch.complete and len(batch.results) == 10
    result = batch.results[0]
    assert isinstance(result, RoundTrip) and result.side_by_side is not None
    with Image.open(images / "0.png") as file:
        given = torch.from_numpy(np.array(file)).permute(2, 0, 1).unsqueeze(0).float() / 127.5 - 1
    expected = model.engine.reconstruct(given).clamp(-1, 1)
    with Image.open(result.output) as file:
        assert file.mode == "RGBA" and file.size == SIZE
        written = torch.from_numpy(np.array(file)).permute(2, 0, 1).unsqueeze(0).float() / 127.5 - 1
    torch.testing.assert_close(written, expected, atol=1 / 127, rtol=0)
    assert result.psnr == pytest.approx(psnr(as_rgb(given), as_rgb(expected)).item(), abs=0.05)
    with Image.open(result.side_by_side) as file:
        assert file.mode == "RGB"


def test_encode_and_decode_equal_reconstruct(model: OpenModel, images: Path, tmp_path: Path) -> None:
    encoded = encode(model, [images], tmp_path / "latents")
    assert encoded.complete and not any(result.notes for result in encoded.results)
    assert decode(model, [tmp_path / "latents"], tmp_path / "decoded").complete
    reconstruct(model, [images], tmp_path / "direct")
    for path in (tmp_path / "direct").iterdir():
        assert path.read_bytes() == (tmp_path / "decoded" / path.name).read_bytes()


def test_evaluate_measures_over_white(model: OpenModel, images: Path) -> None:
    options = EvaluateOptions(MeasureOptions(as_is=True))
    found = evaluate_data(model.engine.vae, model.engine.plan, images, options).evaluation
    assert found.measured == 10 and not found.skipped
    assert {"psnr", "ssim", "lpips", "kl"} <= {result.quantity.name for result in found.results}
    assert "over white" in found.protocol.preparation["colors"]
    small = evaluate_data(model.engine.vae, model.engine.plan, images, EvaluateOptions(MeasureOptions(32)))
    assert small.evaluation.measured == 10


def test_all_candidates_of_a_comparison_are_seen_over_white(vae_file: Path, images: Path) -> None:
    candidates = vae_candidates([str(vae_file), "builtin"], [], ModelOptions(), ENGINE)
    image = read_image(images / "0.png")
    assert image.alpha is not None
    flat = as_rgb(with_channels(image, 4)[0])
    original, (transparent, opaque) = reconstruct_all("0.png", image, candidates)
    torch.testing.assert_close(original.pixels, flat)
    assert original.alpha is None
    rgba, _ = with_channels(image, 4)
    torch.testing.assert_close(transparent.pixels, as_rgb(candidates[0].encoder.reconstruct(rgba)))
    torch.testing.assert_close(opaque.pixels, candidates[1].encoder.reconstruct(flat))
    assert reconstruct_all("0.png", image, candidates[1:])[0] is image
