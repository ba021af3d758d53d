"""Images of diffusers pipelines whose VAE an engine runs. See also `tests/cli/test_generate_pipeline.py`."""

import inspect
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from refusals import refuses
from safetensors.torch import load_file, save_file
from torch import Tensor

pytest.importorskip("transformers")
import diffusers
import tiny_pipelines

from vaekit.domains.images.png_metadata import read_settings
from vaekit.domains.images.read import read_image
from vaekit.errors import BadCheckpoint, BadItem, BadPlan, LatentMismatch, TooLittleMemory, WrongTensors
from vaekit.tasks.generate_pipeline import generate_with_pipeline, open_run
from vaekit.tasks.generation import GenerateCallbacks, GenerateOptions, Generation
from vaekit.tasks.previews import PREVIEW

ROUNDING = 0.51 / 255
"""Half a level of an image file, and rounding of fp32."""
SIZE = (32, 48)
DAILY = ("sd1", "flux")
NIGHTLY = [pytest.param(kind, marks=() if kind in DAILY else pytest.mark.nightly) for kind in tiny_pipelines.KINDS]


@pytest.fixture(scope="session")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a pipeline of each kind, written once."""
    folder, written = tmp_path_factory.mktemp("pipelines"), dict[str, Path]()

    def of_kind(kind: str) -> Path:
        if kind not in written:
            written[kind] = tiny_pipelines.saved(kind, folder)
        return written[kind]

    return of_kind


@pytest.fixture
def sd1(pipelines: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(pipelines("sd1"), tmp_path / "sd1"))


def options(model: Path, out: Path, **changes: Any) -> GenerateOptions:
    return replace(GenerateOptions(model, out, prompt="a cat", steps=2, size=SIZE), **changes)


def theirs(folder: Path, path: Path, vae: Any = None, init: Image.Image | None = None, **changes: Any) -> Tensor:
    """What diffusers' own pipeline makes with the settings in the file of an image."""
    settings = read_settings(path)
    swapped = {} if vae is None else {"vae": vae}
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, **swapped)
    size: dict[str, Any] = {"height": settings["size"][0], "width": settings["size"][1]}
    if init is not None:
        pipeline = diffusers.AutoPipelineForImage2Image.from_pipe(pipeline)
        size = {"image": init, "strength": settings["strength"]}
        if "height" in inspect.signature(pipeline.__call__).parameters:
            size |= {"height": SIZE[0], "width": SIZE[1]}
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(settings["generator_seed"])
    arguments = {"prompt": settings["prompt"], "num_inference_steps": settings["steps"]} | size | changes
    return pipeline(generator=generator, output_type="pt", **arguments).images


def ours(path: Path) -> Tensor:
    return (read_image(path).pixels + 1) / 2


def assert_same(path: Path, expected: Tensor) -> None:
    image = ours(path)
    assert image.shape == expected.shape
    assert image.std() > 0.05
    assert (image - expected).abs().max() <= ROUNDING


def vae_folder(path: Path, **settings: Any) -> tuple[Path, Any]:
    """Another VAE in a folder, and as diffusers' class."""
    vae = tiny_pipelines.kl(**{"channels": 4, "seed": 9, "scaling_factor": 0.18215} | settings)
    vae.save_pretrained(path)
    return path, vae


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    levels = torch.rand(*SIZE, 3, generator=torch.Generator().manual_seed(7)).mul(255).byte().numpy()
    Image.fromarray(levels).save(tmp_path / "photograph.png")
    return tmp_path / "photograph.png"


@pytest.mark.parametrize("kind", NIGHTLY)
def test_equals_diffusers_own_pipeline(pipelines: Callable[[str], Path], kind: str, tmp_path: Path) -> None:
    folder = pipelines(kind)
    done = generate_with_pipeline(options(folder, tmp_path))
    assert_same(done.paths[0], theirs(folder, done.paths[0]))


@pytest.mark.parametrize(
    "kind", ["sd1", *(pytest.param(kind, marks=pytest.mark.nightly) for kind in ("sdxl", "sd3", "flux"))]
)
def test_equals_diffusers_from_an_initial_image(
    pipelines: Callable[[str], Path], kind: str, tmp_path: Path, photograph: Path
) -> None:
    folder = pipelines(kind)
    done = generate_with_pipeline(options(folder, tmp_path, init=photograph, strength=0.5, size=None))
    assert_same(done.paths[0], theirs(folder, done.paths[0], init=Image.open(photograph)))


def test_another_vae_takes_the_place_of_the_pipelines_own(pipelines: Callable[[str], Path], tmp_path: Path) -> None:
    """Its weights and its normalization; without steps, which are compared nightly."""
    path, vae = vae_folder(tmp_path / "other")
    run = open_run(options(pipelines("sd1"), tmp_path / "out", vae=str(path)))
    ours, scale = run.pipeline.vae, run.pipeline.vae.config.scaling_factor
    assert scale == vae.config.scaling_factor and run.settings["vae_name"] == "other"
    latents = torch.randn(1, 4, 2, 3, generator=torch.Generator().manual_seed(0)) / scale
    with torch.no_grad():
        expected = vae.decode(latents).sample
    assert torch.allclose(ours.decode(latents, return_dict=False)[0], expected, atol=1e-4)


@pytest.mark.nightly
def test_equals_diffusers_with_another_vae(pipelines: Callable[[str], Path], tmp_path: Path) -> None:
    folder = pipelines("sd1")
    path, vae = vae_folder(tmp_path / "other")
    done = generate_with_pipeline(options(folder, tmp_path / "out", vae=str(path)))
    assert_same(done.paths[0], theirs(folder, done.paths[0], vae=vae))


@pytest.mark.nightly
def test_equals_diffusers_with_a_vae_of_a_models_folder(
    pipelines: Callable[[str], Path], tmp_path: Path, models: Path
) -> None:
    folder = pipelines("sdxl")
    _, vae = vae_folder(models / "mine", scaling_factor=0.13025)
    done = generate_with_pipeline(options(folder, tmp_path / "out", vae="mine", negative="rain", guidance=3.0))
    expected = theirs(folder, done.paths[0], vae=vae, negative_prompt="rain", guidance_scale=3.0)
    assert_same(done.paths[0], expected)


def test_items_depend_on_seed_and_number_only(pipelines: Callable[[str], Path], tmp_path: Path) -> None:
    def made(folder: str, **changes: Any) -> Generation:
        return generate_with_pipeline(options(pipelines("sd1"), tmp_path / folder, **changes))

    two = made("two", count=2)
    assert two.paths[0].read_bytes() == made("one").paths[0].read_bytes()
    assert not torch.equal(ours(two.paths[0]), ours(two.paths[1]))


@pytest.mark.nightly
def test_another_seed_is_another_image(pipelines: Callable[[str], Path], tmp_path: Path) -> None:
    one, other = (
        generate_with_pipeline(options(pipelines("sd1"), tmp_path / str(seed), seed=seed)).paths[0] for seed in (0, 1)
    )
    assert not torch.equal(ours(one), ours(other))


@pytest.mark.nightly
def test_what_is_there_is_kept(pipelines: Callable[[str], Path], tmp_path: Path) -> None:
    first = generate_with_pipeline(options(pipelines("sd1"), tmp_path)).paths[0]
    before = first.stat().st_mtime_ns
    steps: list[int] = []
    both = generate_with_pipeline(
        options(pipelines("sd1"), tmp_path, count=2), GenerateCallbacks(preview=lambda _, done: steps.append(done))
    )
    assert first.stat().st_mtime_ns == before
    assert steps == [1, 1, 2], "three evaluations of the second item only"
    assert [path.name for path in both.paths] == ["generated-0001.png", "generated-0002.png"]
    generate_with_pipeline(options(pipelines("sd1"), tmp_path, guidance=2.0))
    assert first.stat().st_mtime_ns != before


@pytest.mark.nightly
@pytest.mark.parametrize("kind", NIGHTLY)
def test_previews_and_progress(pipelines: Callable[[str], Path], kind: str, tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    latents: list[Tensor] = []
    callbacks = GenerateCallbacks(lambda *done: progress.append(done), preview=lambda z, _: latents.append(z))
    generate_with_pipeline(options(pipelines(kind), tmp_path, previews=True), callbacks)
    channels = 4 if kind.startswith("sd1") or kind == "sdxl" else 16
    assert {tuple(z.shape) for z in latents} == {(1, channels, 8, 12)}
    assert progress == sorted(progress)
    assert progress[-1] == (2, 2)
    assert read_image(tmp_path / PREVIEW).pixels.shape[2:] == (168, 252)


@pytest.mark.nightly
def test_metadata_repeat_an_image(pipelines: Callable[[str], Path], tmp_path: Path, photograph: Path) -> None:
    wanted = options(
        pipelines("sd1"), tmp_path / "a", init=photograph, negative="dogs, rain", guidance=4.0, seed=3, size=None
    )
    path = generate_with_pipeline(wanted).paths[0]
    settings = read_settings(path)
    again = GenerateOptions(
        pipelines("sd1"),
        tmp_path / "b",
        prompt=settings["prompt"],
        negative=settings["negative"],
        init=photograph,
        strength=settings["strength"],
        steps=settings["steps"],
        guidance=settings["guidance"],
        seed=settings["seed"],
        scheduler=settings["scheduler"],
    )
    assert generate_with_pipeline(again).paths[0].read_bytes() == path.read_bytes()
    assert settings["model"] == "sd1"
    assert {"vaekit", "diffusers", "vae_hash", "model_hash", "init_hash", "item"} <= settings.keys()


@pytest.mark.nightly
def test_half_precision_and_little_memory(pipelines: Callable[[str], Path], tmp_path: Path) -> None:
    wanted = options(pipelines("flux"), tmp_path / "bf16", dtype="bf16", device="cpu", memory="40MiB")
    coarse = generate_with_pipeline(wanted).paths[0]
    calls: list[int] = []
    callbacks = GenerateCallbacks(preview=lambda _, done: calls.append(done))
    with refuses(TooLittleMemory, "2 MiB"):
        generate_with_pipeline(replace(wanted, out=tmp_path / "none", memory="2MiB"), callbacks)
    assert not calls
    exact = generate_with_pipeline(options(pipelines("flux"), tmp_path / "fp32")).paths[0]
    assert 0 < (ours(coarse) - ours(exact)).abs().max() < 0.1


@pytest.mark.nightly
def test_strength_zero_is_the_reconstruction(
    pipelines: Callable[[str], Path], tmp_path: Path, photograph: Path
) -> None:
    done = generate_with_pipeline(options(pipelines("sd1"), tmp_path, init=photograph, strength=0.0, size=None))
    vae = diffusers.AutoencoderKL.from_pretrained(pipelines("sd1") / "vae").eval()
    with torch.no_grad():
        expected = vae(read_image(photograph).pixels).sample.clamp(-1, 1)
    assert_same(done.paths[0], (expected + 1) / 2)


@pytest.mark.nightly
def test_negative_prompts_of_flux_are_classifier_free_guidance(
    pipelines: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = pipelines("flux")
    done = generate_with_pipeline(options(folder, tmp_path, negative="rain", guidance=3.0))
    assert_same(done.paths[0], theirs(folder, done.paths[0], negative_prompt="rain", true_cfg_scale=3.0))
    with refuses(BadPlan, "FluxPipeline", "--guidance"):
        generate_with_pipeline(options(folder, tmp_path, negative="rain"))


@pytest.mark.nightly
def test_another_scheduler(pipelines: Callable[[str], Path], tmp_path: Path) -> None:
    done = generate_with_pipeline(options(pipelines("sd1"), tmp_path, scheduler="euler ancestral"))
    assert read_settings(done.paths[0])["scheduler"] == "EulerAncestralDiscreteScheduler"
    with refuses(BadPlan, "eulr", "heun", "euler"):
        generate_with_pipeline(options(pipelines("sd1"), tmp_path, scheduler="eulr"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"scaling_factor": 0.13025}, (0.13025, 0.18215)),
        ({"channels": 16, "scaling_factor": 0.3611}, ("latent channels", 16, 4)),
    ],
)
def test_vaes_of_other_latent_spaces_are_refused(
    pipelines: Callable[[str], Path], tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    path, _ = vae_folder(tmp_path / "other", **settings)
    with refuses(LatentMismatch, *said):
        generate_with_pipeline(options(pipelines("sd1"), tmp_path / "out", vae=str(path)))
    assert not (tmp_path / "out").exists()


@pytest.mark.nightly
def test_vaes_of_other_families_need_a_measurement(pipelines: Callable[[str], Path], tmp_path: Path) -> None:
    """A pipeline of random weights cannot tell what another kind of decoder makes of its latents."""
    widths: dict[str, Any] = {"encoder_block_out_channels": (8, 8, 8), "decoder_block_out_channels": (8, 8, 8)}
    blocks: dict[str, Any] = {"num_encoder_blocks": (1, 1, 1), "num_decoder_blocks": (1, 1, 1)}
    diffusers.AutoencoderTiny(**widths, **blocks).save_pretrained(tmp_path / "other")
    with refuses(LatentMismatch, "tiny", "kl"):
        generate_with_pipeline(options(pipelines("sd1"), tmp_path / "out", vae=str(tmp_path / "other")))


@pytest.mark.nightly
def test_a_killed_command_goes_on(pipelines: Callable[[str], Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vaekit", "generate", "a cat", "--model", str(pipelines("sd1")), "--size", "48x32"]
    command += ["--steps", "2", "-n", "400", "--out", str(tmp_path)]
    third = tmp_path / "generated-0003.png"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        for _ in range(600):
            if third.exists() or process.poll() is not None:
                break
            time.sleep(0.2)
        process.kill()
    assert third.exists(), process.stderr
    before = {path: path.read_bytes() for path in tmp_path.glob("*.png")}
    calls: list[int] = []
    count = len(before) + 1
    done = generate_with_pipeline(
        options(pipelines("sd1"), tmp_path, count=count), GenerateCallbacks(preview=lambda _, step: calls.append(step))
    )
    assert calls == [1, 1, 2], "the last item only"
    assert {path: path.read_bytes() for path in before} == before
    assert all(read_settings(path)["item"] == number for number, path in enumerate(done.paths, start=1))


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompt": None}, "StableDiffusionPipeline"),
        ({"steps": 0}, "--steps"),
        ({"size": (33, 48)}, "48x32"),
        ({"guidance": float("nan")}, "nan"),
        ({"count": 0}, 0),
    ],
)
def test_impossible_options(
    pipelines: Callable[[str], Path], tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with refuses(BadPlan, said):
        generate_with_pipeline(options(pipelines("sd1"), tmp_path, **changes))


@pytest.mark.nightly
@pytest.mark.parametrize(("changes", "said"), [({"strength": 1.5}, "1.5"), ({"strength": 0.1}, "--steps")])
def test_impossible_strengths(
    pipelines: Callable[[str], Path], tmp_path: Path, photograph: Path, changes: dict[str, Any], said: str
) -> None:
    with refuses(BadPlan, said):
        generate_with_pipeline(options(pipelines("sd1"), tmp_path, init=photograph, size=None, **changes))


@pytest.mark.nightly
def test_initial_images_that_are_none_or_too_small(pipelines: Callable[[str], Path], tmp_path: Path) -> None:
    Image.new("RGB", (3, 3)).save(tmp_path / "small.png")
    (tmp_path / "text.png").write_text("no image")
    for name, said in (("small.png", "3x3"), ("text.png", "text.png")):
        with refuses(BadItem, said):
            generate_with_pipeline(options(pipelines("sd1"), tmp_path, init=tmp_path / name, size=None))


def edit_index(folder: Path, **changes: Any) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | changes))


def test_missing_weights_are_refused(sd1: Path, tmp_path: Path) -> None:
    """diffusers would fill them with random numbers."""
    file = sd1 / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    del tensors["conv_in.bias"]
    save_file(tensors, file)
    with refuses(WrongTensors, "conv_in.bias"):
        generate_with_pipeline(options(sd1, tmp_path / "out"))


@pytest.mark.nightly
def test_missing_weights_of_a_text_encoder_are_refused(sd1: Path, tmp_path: Path) -> None:
    """transformers would fill them with random numbers."""
    file = sd1 / "text_encoder" / "model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if name.endswith("final_layer_norm.bias"))
    del tensors[name]
    save_file(tensors, file, {"format": "pt"})
    with refuses(WrongTensors, name):
        generate_with_pipeline(options(sd1, tmp_path / "out"))


@pytest.mark.nightly
def test_long_prompts_are_noted(pipelines: Callable[[str], Path], tmp_path: Path) -> None:
    done = generate_with_pipeline(options(pipelines("sd1"), tmp_path, prompt="rain " * 20))
    assert any("truncated" in note for note in done.notes)


def test_damaged_components(sd1: Path, tmp_path: Path) -> None:
    file = sd1 / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with refuses(BadCheckpoint, "diffusion_pytorch_model.safetensors"):
        generate_with_pipeline(options(sd1, tmp_path / "out"))


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"scheduler": ["diffusers", "FooScheduler"]}, BadCheckpoint, "FooScheduler"),
        ({"scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"]}, BadPlan, "FlowMatchEulerDiscreteScheduler"),
        ({"unet": ["my_code", "MyUNet"]}, BadCheckpoint, "my_code"),
        ({"text_encoder": [None, None]}, BadCheckpoint, "text_encoder"),
        ({"tokenizer": [None, None]}, BadCheckpoint, "tokenizer"),
        ({"text_encoder": [None, None], "tokenizer": [None, None]}, BadCheckpoint, "text_encoder"),
        ({"unet": [None, None]}, BadCheckpoint, "unet"),
        ({"vae": [None, None]}, BadCheckpoint, "vae"),
        ({"_class_name": "NoSuchPipeline"}, BadCheckpoint, "NoSuchPipeline"),
        ({"_class_name": ["pipeline", "Mine"]}, BadCheckpoint, "Mine"),
    ],
)
def test_indexes_that_name_what_is_not_there(
    sd1: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], said: str
) -> None:
    edit_index(sd1, **changes)
    with refuses(error, said):
        generate_with_pipeline(options(sd1, tmp_path / "out"))


def test_folders_without_a_component(sd1: Path, tmp_path: Path) -> None:
    shutil.rmtree(sd1 / "tokenizer")
    with refuses(BadCheckpoint, "tokenizer"):
        generate_with_pipeline(options(sd1, tmp_path / "out"))


@pytest.mark.nightly
def test_a_vae_without_a_stated_normalization_has_that_of_diffusers(sd1: Path, tmp_path: Path) -> None:
    """As in SD1's own repository."""
    config = sd1 / "vae" / "config.json"
    settings = json.loads(config.read_text())
    del settings["scaling_factor"]
    config.write_text(json.dumps(settings))
    done = generate_with_pipeline(options(sd1, tmp_path / "out"))
    assert_same(done.paths[0], theirs(sd1, done.paths[0]))


@pytest.mark.nightly
def test_a_variant_is_found(sd1: Path, tmp_path: Path) -> None:
    for file in sd1.rglob("*.safetensors"):
        if file.parent.name != "vae":
            file.rename(file.with_name(f"{file.stem}.fp16{file.suffix}"))
    assert generate_with_pipeline(options(sd1, tmp_path / "out")).paths
