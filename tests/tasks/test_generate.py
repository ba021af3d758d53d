"""Generating with diffusion models: deterministic, with any VAE of the same latent space, refused with reasons."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from refusals import refuses
from small_diffusion import SIDE, generate_options, train_options, write_recipe, write_vae
from torch import Tensor

import vaekit
from vaekit.checkpoints.save import save
from vaekit.diffusion.files import load_diffusion, notes_of, save_diffusion
from vaekit.domains.images.png_metadata import read_settings
from vaekit.domains.images.read import read_image
from vaekit.errors import BadCheckpoint, BadItem, BadPlan, LatentMismatch, NotFound
from vaekit.identification.fingerprint import fingerprint
from vaekit.tasks.generate import generate
from vaekit.tasks.generation import GenerateCallbacks, GenerateOptions
from vaekit.tasks.train import train


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run, its VAE and its data."""
    folder = tmp_path_factory.mktemp("made")
    train(train_options(folder))
    awaken(folder / "run")
    return folder


def awaken(run: Path) -> None:
    """Give a model of a short training weights with which conditions matter."""
    file = load_diffusion(run)
    torch.manual_seed(3)
    for name, each in file.model.named_parameters():
        if name.startswith(("conditioner", "net.out", "net.modulation")):
            torch.nn.init.normal_(each, std=0.3)
    save_diffusion(file, run / "diffusion.safetensors", notes_of(file.facts))


def images(paths: Any) -> list[np.ndarray[Any, Any]]:
    """The images, without the sheet of all."""
    return [np.asarray(Image.open(path)) for path in sorted(paths) if "-0" in path.name]


def pixels_of(options: GenerateOptions) -> np.ndarray[Any, Any]:
    return np.stack(images(generate(options).paths))


def test_an_item_depends_on_the_seed_and_its_number_only(made: Path, tmp_path: Path) -> None:
    options = replace(generate_options(made), out=tmp_path / "many", count=11)
    many = pixels_of(options)
    assert many.shape[:3] == (11, SIDE, SIDE)
    few = pixels_of(replace(options, out=tmp_path / "few", count=2))
    assert np.array_equal(many[:2], few)
    assert len({each.tobytes() for each in many}) == 11
    other = pixels_of(replace(options, out=tmp_path / "other", count=2, seed=1))
    assert not np.array_equal(other, few)


@pytest.mark.nightly
def test_prompt_guidance_and_steps_change_items(made: Path, tmp_path: Path) -> None:
    options = replace(generate_options(made), out=tmp_path / "one")
    changes: list[dict[str, Any]] = [{}, {"prompt": "0"}, {"prompt": None}, {"guidance": 4.0}, {"steps": 7}]
    changes.append({"negative": "0"})
    results = [pixels_of(replace(options, out=tmp_path / str(i), **change)) for i, change in enumerate(changes)]
    assert len({each.tobytes() for each in results}) == len(changes)


def test_the_record_has_everything_to_repeat_a_call(made: Path, tmp_path: Path) -> None:
    options = replace(generate_options(made), out=tmp_path, steps=2, guidance=3.0, count=2, seed=5)
    result = generate(options)
    wanted = {"seed": 5, "count": 2, "steps": 2, "guidance": 3.0, "prompt": "1", "sampler": "heun", "shift": 1.0}
    assert wanted.items() <= result.settings.items()
    assert result.settings["vae"] == vaekit_fingerprint(made / "vae.safetensors")
    assert (tmp_path / "generated.json").is_file()
    second = read_settings(next(path for path in result.paths if path.stem.endswith("2")))
    assert second["item"] == 2 and wanted.items() <= second.items()


def vaekit_fingerprint(path: Path) -> str:
    return fingerprint(vaekit.load(path))


def test_strength_is_the_share_of_the_steps_that_change_an_item(made: Path, tmp_path: Path) -> None:
    init = made / "digits" / "0" / "3.png"
    options = replace(generate_options(made), init=init, steps=4)
    unchanged = pixels_of(replace(options, out=tmp_path / "0", strength=0.0))
    vae = vaekit.load(made / "vae.safetensors")
    x = torch.from_numpy(np.asarray(Image.open(init)).copy())[None, None].float() / 127.5 - 1
    with torch.no_grad():
        expected = (vae.reconstruct(x)[0, 0].clamp(-1, 1) + 1) * 127.5
    assert np.abs(unchanged[0][..., 0].astype(float) - expected.numpy()).max() <= 1
    ignored = pixels_of(replace(options, out=tmp_path / "1", strength=1.0))
    assert np.array_equal(ignored, pixels_of(replace(options, out=tmp_path / "n", init=None)))
    between = pixels_of(replace(options, out=tmp_path / "2", strength=0.5))
    assert not np.array_equal(between, unchanged) and not np.array_equal(between, ignored)


def test_progress_and_previews_are_reported(made: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    seen: list[tuple[Tensor, int]] = []
    callbacks = GenerateCallbacks(lambda *each: told.append(each), preview=lambda z, step: seen.append((z, step)))
    generate(replace(generate_options(made), out=tmp_path, count=9, steps=3, previews=True), callbacks)
    assert told[-1] == (27, 27) and told == sorted(told)
    assert [step for _, step in seen] == [1, 2, 3, 1, 2, 3]
    assert [tuple(z.shape) for z, _ in seen[2:4]] == [(8, 2, 4, 4), (1, 2, 4, 4)]
    assert read_image(tmp_path / "PREVIEW.png").width >= 128


def test_a_finetuned_decoder_decodes_and_others_are_refused(made: Path, tmp_path: Path) -> None:
    options = replace(generate_options(made), out=tmp_path / "out")
    tuned = vaekit.load(made / "vae.safetensors")
    with torch.no_grad():
        tuned.decoder.conv_out.weight *= 1.01  # type: ignore[union-attr, operator]
    save(tuned, tmp_path / "tuned.safetensors")
    result = generate(replace(options, vae=str(tmp_path / "tuned.safetensors")))
    assert any("tuned.safetensors" in note for note in result.notes)
    assert result.settings["vae"] == vaekit_fingerprint(tmp_path / "tuned.safetensors")
    same = generate(replace(options, vae=str(made / "vae.safetensors")))
    assert not same.notes
    others = {
        "channels": write_vae(tmp_path / "channels.safetensors", channels=3),
        "normalization": write_vae(tmp_path / "normalization.safetensors", seed=5, scale=2.0),
        "alike": write_vae(tmp_path / "alike.safetensors", seed=7),
    }
    for path in others.values():
        with refuses(LatentMismatch):
            generate(replace(options, vae=str(path), out=tmp_path / "never"))
    assert not (tmp_path / "never").exists()


def test_what_does_not_suit_a_model_is_refused(made: Path, tmp_path: Path) -> None:
    options = replace(generate_options(made), out=tmp_path / "out")
    with refuses(NotFound, "7", "0", "1"):
        generate(replace(options, prompt="7"))
    with refuses(BadPlan, "999x999"):
        generate(replace(options, size=(999, 999)))
    for wrong in ({"steps": 0}, {"guidance": -1.0}, {"strength": 2.0}, {"count": 0}):
        with refuses(BadPlan):
            generate(replace(options, **wrong))  # type: ignore[arg-type]
    with refuses(NotFound, "nowhere"):
        generate(replace(options, model=tmp_path / "nowhere"))
    with refuses(NotFound):
        generate(replace(options, init=tmp_path / "nothing.png"))
    with refuses(BadCheckpoint):
        generate(replace(options, model=made / "vae.safetensors"))
    assert not (tmp_path / "out").exists()


def test_a_missing_or_changed_vae_is_named(made: Path, tmp_path: Path) -> None:
    options = replace(generate_options(made), out=tmp_path / "out")
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "diffusion.safetensors").write_bytes((made / "run" / "diffusion.safetensors").read_bytes())
    with refuses(NotFound, "vae.safetensors"):
        generate(replace(options, model=alone))
    assert generate(replace(options, model=alone, vae=str(made / "vae.safetensors"))).paths
    write_vae(alone / "vae.safetensors", seed=3)
    with refuses(LatentMismatch):
        generate(replace(options, model=alone))


def test_models_without_conditions_take_no_prompt(tmp_path: Path) -> None:
    options = train_options(tmp_path, ['diffusion.condition.kind="none"', "vae.kind=none"], vae=False)
    train(options)
    wanted = generate_options(tmp_path)
    with refuses(BadPlan, "classes"):
        generate(wanted)
    with refuses(LatentMismatch, "--vae"):
        generate(replace(wanted, prompt=None, vae=str(tmp_path / "vae.safetensors")))
    result = generate(replace(wanted, prompt=None, init=tmp_path / "digits" / "1" / "0.png", strength=0.0))
    assert np.array_equal(images(result.paths)[0][..., 0], np.asarray(Image.open(tmp_path / "digits" / "1" / "0.png")))


@pytest.mark.nightly
def test_captions_are_prompts(tmp_path: Path) -> None:
    options = train_options(tmp_path)
    net = {"width": 8, "heads": 2, "layers": 1}
    recipe = {"net": {"patch": 2, "width": 16, "depth": 1, "heads": 2}, "condition": {"kind": "captions", "net": net}}
    write_recipe(tmp_path / "small.toml", diffusion=recipe)
    train(options)
    awaken(tmp_path / "run")
    wanted = replace(generate_options(tmp_path), prompt="A bar that lies!")
    result = generate(wanted)
    assert any("!" in note for note in result.notes)
    other = generate(replace(wanted, prompt="a bar that stands", out=tmp_path / "other"))
    assert not np.array_equal(images(result.paths)[0], images(other.paths)[0])
    with refuses(NotFound, "purple"):
        generate(replace(wanted, prompt="purple elephants"))


def test_latents_that_are_not_finite_are_an_error(tmp_path: Path) -> None:
    train(train_options(tmp_path, ["schedule.samples=8"]))
    file = load_diffusion(tmp_path / "run")
    torch.nn.init.constant_(file.model.net.out.bias, 3e38)
    save_diffusion(file, tmp_path / "run" / "diffusion.safetensors", notes_of(file.facts))
    with refuses(BadItem):
        generate(generate_options(tmp_path))
