"""`tasks.direction`: planted directions on untrained VAEs, kinds of labels, side effects, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from refusals import refuses
from vae_fixtures import random_vae

from vaekit.checkpoints.direction_files import load_direction
from vaekit.checkpoints.save import save
from vaekit.domains.images.domain import ImageSchema
from vaekit.domains.images.preparation import Preparation
from vaekit.errors import BadDirection, BadItem, BadPlan, CannotWrite, LatentMismatch, NotFound
from vaekit.families.burgess.net import BurgessConfig
from vaekit.latents.directions import summarize
from vaekit.runtime.engine import Engine
from vaekit.tasks.direction import DirectionOptions, direction
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions

RIDGE = DirectionOptions(method="ridge")
COUNT = 60


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> OpenModel:
    """A VAE of gray images of 32 x 32 with five global latents."""
    path = tmp_path_factory.mktemp("vae") / "burgess.safetensors"
    save(random_vae(BurgessConfig(1, 32, 8, 16, 5), None), path)
    return open_model(ModelOptions(str(path)), EngineOptions(device="cpu", batch=64))


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Random images (n, 32, 32)."""
    return np.random.default_rng(0).integers(0, 256, (COUNT, 32, 32), np.uint8)


def latents_of(model: OpenModel, pixels: np.ndarray) -> torch.Tensor:
    x = torch.from_numpy(pixels).float()[:, None] / 127.5 - 1
    return summarize(model.engine.encode(x).mode).double()


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    one, other = one.flatten().double(), other.flatten().double()
    return (one @ other / one.norm() / other.norm()).item()


def test_a_planted_direction_is_recovered(small: OpenModel, pixels: np.ndarray, tmp_path: Path) -> None:
    z, vector = latents_of(small, pixels), torch.tensor([1.0, -2, 0, 0.5, 1]).double()
    scale = z.std().item()
    np.savez(tmp_path / "a.npz", x=pixels, y=(z @ vector).numpy() / scale, other=(z[:, 2] / scale).numpy())
    calls: list[tuple[int, int]] = []
    out = tmp_path / "d.safetensors"
    result = direction(small, [tmp_path / "a.npz"], out, RIDGE, lambda *counts: calls.append(counts))
    file = load_direction(out)
    assert cosine(file.direction.vector, vector) > 0.99 and calls[-1] == (COUNT, COUNT)
    assert file.direction.std == pytest.approx((z @ file.direction.vector.double()).std(correction=0).item(), rel=1e-4)
    assert result.score is not None and result.score.r2 is not None and result.score.r2 > 0.99
    (effect,) = result.side_effects
    weights = torch.eye(5).double()[2] / z[:, 2].std(correction=0)
    expected = file.direction.std * weights @ file.direction.vector.double()
    assert effect.label == "other" and effect.change == pytest.approx(expected.item(), abs=0.02)
    facts = json.loads(json.dumps(file.facts))
    assert facts["label"] == "y" and facts["score"]["r2"] == result.score.r2 and facts["options"]["method"] == "ridge"


def test_a_direction_that_leaves_another_label_alone(small: OpenModel, pixels: np.ndarray, tmp_path: Path) -> None:
    z = latents_of(small, pixels) / latents_of(small, pixels).std()
    np.savez(tmp_path / "a.npz", x=pixels, y=(z[:, 0] + z[:, 1]).numpy(), other=z[:, 0].numpy())
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    direction(small, [tmp_path / "a.npz"], first, replace(RIDGE, label="other"))
    options = replace(RIDGE, label="y", orthogonal_to=(first,))
    result = direction(small, [tmp_path / "a.npz"], second, options)
    assert abs(result.others[0].change) < 1e-4 < 0.1 < abs(result.without[0].change)
    assert abs(next(each.change for each in result.side_effects if each.label == "other")) < 1e-3
    assert abs(cosine(load_direction(second).direction.vector, load_direction(first).probe)) < 1e-5
    with refuses(BadPlan, "other"):
        direction(small, [tmp_path / "a.npz"], tmp_path / "n.safetensors", replace(options, label="other"))


def class_folders(root: Path, pixels: np.ndarray) -> tuple[Path, Path]:
    """Two folders, of dark and of bright images."""
    for kind in ("dark", "bright"):
        (root / kind).mkdir(parents=True)
        for i, image in enumerate(pixels[:6]):
            Image.fromarray(image // 4 + (128 if kind == "bright" else 0)).save(root / kind / f"{i}.png")
    return root / "dark", root / "bright"


def test_two_folders_are_one_folder_with_two_classes(small: OpenModel, pixels: np.ndarray, tmp_path: Path) -> None:
    dark, bright = class_folders(tmp_path / "data", pixels)
    (bright / "broken.png").write_bytes(b"x")
    results = [
        direction(small, paths, tmp_path / f"{i}.safetensors", DirectionOptions(positive=positive))
        for i, (paths, positive) in enumerate(
            [([dark, bright], None), ([tmp_path / "data"], "bright"), ([bright, dark], None)]
        )
    ]
    assert [result.classes for result in results] == [("dark", "bright")] * 2 + [("bright", "dark")]
    assert [result.label for result in results] == ["path", "folder", "path"] and results[0].name == "bright"
    vectors = [load_direction(result.file).direction.vector for result in results]
    torch.testing.assert_close(vectors[0], vectors[1])
    torch.testing.assert_close(vectors[0], -vectors[2])
    assert results[0].items == 12 and "broken.png" in " ".join(results[0].notes)
    assert results[0].score is not None and results[0].score.auc == 1


def with_small_images(model: OpenModel) -> OpenModel:
    """The same, with images of 32 x 32: a square of 256 takes seconds."""
    engine = Engine(model.engine.vae, replace(model.engine.plan, batch_size=64))
    return replace(model, engine=engine, schema=ImageSchema(Preparation(size=32)))


def test_latents_of_many_positions(model: OpenModel, pixels: np.ndarray, tmp_path: Path) -> None:
    data, model = tmp_path / "data", with_small_images(model)
    class_folders(data, pixels)
    rows = [f"{kind}/{i}.png,{i}" for kind in ("dark", "bright") for i in range(6)]
    (data / "metadata.csv").write_text("\n".join(["file_name,number", *rows]))
    number = DirectionOptions(label="number")
    one = direction(model, [data], tmp_path / "one.safetensors", number)
    assert load_direction(one.file).direction.vector.shape == (4,) and one.everywhere and not one.positions
    mapped = DirectionOptions(label="folder", whole=True, orthogonal_to=(one.file,))
    result = direction(model, [data], tmp_path / "a.safetensors", mapped)
    assert load_direction(result.file).direction.vector.shape == (4, 8, 8) and result.positions == (8, 8)
    assert abs(result.others[0].change) < 1e-4
    other = direction(model, [data], tmp_path / "other.safetensors", replace(number, whole=True))
    back = DirectionOptions(label="folder", orthogonal_to=(other.file,))
    assert abs(direction(model, [data], tmp_path / "b.safetensors", back).others[0].change) < 1e-4
    with refuses(BadPlan, "number"):
        direction(model, [data], tmp_path / "c.safetensors", replace(number, method="ridge", orthogonal_to=(one.file,)))


def test_the_change_after_decoding(small: OpenModel, pixels: np.ndarray, tmp_path: Path) -> None:
    z = latents_of(small, pixels)
    np.savez(tmp_path / "a.npz", x=pixels, y=(z[:, 0] / z.std()).numpy())
    result = direction(small, [tmp_path / "a.npz"], tmp_path / "d.safetensors", RIDGE)
    file = load_direction(result.file)
    some = small.engine.encode(torch.from_numpy(pixels[::3][:16]).float()[:, None] / 127.5 - 1).mode
    ends = [summarize(small.engine.encode(small.engine.decode(file.direction.move(some, [step]))).mode).mean(dim=0)
            for step in (-1.0, 1.0)]  # fmt: skip
    expected = file.probe @ (ends[1] - ends[0]) / 2 * (z[:, 0] / z.std()).std(correction=0)
    assert result.decoded_step == pytest.approx(expected.item(), rel=1e-3, abs=1e-5)


def test_a_vae_without_a_decoder_has_directions(small: OpenModel, pixels: np.ndarray, tmp_path: Path) -> None:
    vae = small.engine.vae
    encoder = type(vae)(vae.encoder, vae.to_posterior, None, vae.to_likelihood)
    np.savez(tmp_path / "a.npz", x=pixels, y=np.arange(COUNT))
    half = replace(small, engine=Engine(encoder, small.engine.plan))
    assert direction(half, [tmp_path / "a.npz"], tmp_path / "d.safetensors").decoded_step is None


def test_differences_between_positions(small: OpenModel, model: OpenModel, pixels: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for i, image in enumerate(pixels[:10]):
        gray = 128 + (1 if i % 2 else 0.3) * (image.astype(float) - 128)
        Image.fromarray(gray.astype(np.uint8)).save(tmp_path / "data" / f"{i}.png")
    rows = "".join(f"{i}.png,{['low', 'high'][i % 2]},{i}\n" for i in range(10))
    (tmp_path / "data" / "metadata.csv").write_text(f"file_name,label,n\n{rows}")
    options = DirectionOptions(spread=True)
    result = direction(model, [tmp_path / "data"], tmp_path / "d.safetensors", replace(options, positive="high"))
    file = load_direction(result.file)
    assert file.direction.kind == "spread" and result.score is not None and (result.score.auc or 0) > 0.7
    with refuses(BadPlan, "spread", "shift"):
        shift = DirectionOptions(label="n", orthogonal_to=(result.file,))
        direction(model, [tmp_path / "data"], tmp_path / "e.safetensors", shift)
    for vae, wrong in ((small, options), (model, replace(options, whole=True))):
        with refuses(BadPlan, "--spread"):
            direction(vae, [tmp_path / "data"], tmp_path / "e.safetensors", wrong)


def test_a_limit_takes_as_many_of_each_path(small: OpenModel, pixels: np.ndarray, tmp_path: Path) -> None:
    paths = class_folders(tmp_path / "data", pixels)
    assert direction(small, paths, tmp_path / "d.safetensors", DirectionOptions(limit=6)).items == 6


def test_items_without_a_label_are_left_out(small: OpenModel, pixels: np.ndarray, tmp_path: Path) -> None:
    labels = np.arange(COUNT) + 0.0
    labels[:5] = np.nan
    np.savez(tmp_path / "a.npz", x=pixels, y=labels, images2=pixels)
    result = direction(small, [tmp_path / "a.npz"], tmp_path / "d.safetensors")
    assert result.items == COUNT - 5 and "5" in result.notes[0] and not result.side_effects


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        (DirectionOptions(method="svm"), BadPlan, ["svm", "mean", "ridge"]),
        (DirectionOptions(limit=0), BadPlan, ["0"]),
        (DirectionOptions(label="age"), NotFound, ["age"]),
        (DirectionOptions(positive="gray"), BadPlan, ["gray", "bright, dark"]),
        (DirectionOptions(orthogonal_to=(Path("none.safetensors"),)), NotFound, ["none.safetensors"]),
    ],
)
def test_bad_options_are_refused(
    small: OpenModel,
    pixels: np.ndarray,
    tmp_path: Path,
    options: DirectionOptions,
    error: type[Exception],
    named: list[str],
) -> None:
    class_folders(tmp_path / "data", pixels)
    with refuses(error, *named):  # type: ignore[type-var]
        direction(small, [tmp_path / "data"], tmp_path / "d.safetensors", options)
    assert not (tmp_path / "d.safetensors").exists()


def test_bad_outputs_are_refused(small: OpenModel, model: OpenModel, pixels: np.ndarray, tmp_path: Path) -> None:
    paths = class_folders(tmp_path / "data", pixels)
    (tmp_path / "notes.txt").write_text("mine")
    with refuses(CannotWrite, "notes.txt"):
        direction(small, paths, tmp_path / "notes.txt")
    for name in ("any.name", "any.name"):
        assert load_direction(direction(small, paths, tmp_path / name).file).direction.name == "bright"
    (tmp_path / "a.safetensors").symlink_to(paths[0])
    with refuses(CannotWrite, "a.safetensors"):
        direction(small, paths, tmp_path / "a.safetensors")
    first = direction(small, paths, tmp_path / "first.safetensors").file
    with refuses(LatentMismatch, first):
        direction(model, paths, tmp_path / "d.safetensors", DirectionOptions(orthogonal_to=(first,)))
    first.write_bytes(first.read_bytes()[:50])
    with refuses(BadDirection, first):
        direction(small, paths, tmp_path / "d.safetensors", DirectionOptions(orthogonal_to=(first,)))


def test_one_image_of_each_class_is_too_little(small: OpenModel, pixels: np.ndarray, tmp_path: Path) -> None:
    paths = class_folders(tmp_path / "data", pixels)
    with pytest.raises(BadPlan):
        direction(small, [path / "0.png" for path in paths], tmp_path / "d.safetensors")


@pytest.mark.parametrize("unreadable", [0, 1])
def test_a_class_without_a_readable_item_is_named(
    small: OpenModel, pixels: np.ndarray, tmp_path: Path, unreadable: int
) -> None:
    paths = class_folders(tmp_path / "data", pixels)
    for image in paths[unreadable].iterdir():
        image.write_bytes(b"none")
    with refuses(BadItem, str(paths[unreadable]), "can be read"):
        direction(small, paths, tmp_path / "d.safetensors")
    assert not (tmp_path / "d.safetensors").exists()


@pytest.mark.parametrize("label", ["y", None])
def test_labels_that_nobody_named_and_that_are_numbers_are_noted(
    small: OpenModel, pixels: np.ndarray, tmp_path: Path, label: str | None
) -> None:
    np.savez(tmp_path / "a.npz", x=pixels, y=np.arange(COUNT) % 5)
    out = tmp_path / "d.safetensors"
    assert len(direction(small, [tmp_path / "a.npz"], out, DirectionOptions(label=label)).notes) == (label is None)
    assert not direction(small, [tmp_path / "a.npz"], out, DirectionOptions(label=label, positive="3")).notes


def test_a_property_of_images(small: OpenModel, pixels: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=pixels, y=pixels.mean(axis=(1, 2)))
    one = direction(small, [tmp_path / "a.npz"], tmp_path / "one.safetensors", DirectionOptions(property="brightness"))
    other = direction(small, [tmp_path / "a.npz"], tmp_path / "other.safetensors", DirectionOptions("y"))
    vectors = [load_direction(each.file).direction.vector for each in (one, other)]
    assert one.label == "brightness" and cosine(*vectors) > 0.99
