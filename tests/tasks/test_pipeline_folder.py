"""The folder of a pipeline, checked before anything is loaded; no library is imported."""

import json
from pathlib import Path
from typing import Any

import pytest
from refusals import refuses

from vaekit.errors import BadCheckpoint, NotFound
from vaekit.tasks.pipeline_folder import INDEX, check_files, check_text, is_pipeline, read_pipeline, variant_of

PARTS = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.32.0",
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
}
WEIGHTS = {"unet": "diffusion_pytorch_model", "text_encoder": "model"}


def write(folder: Path, ending: str = ".safetensors", **changes: Any) -> Path:
    """A pipeline with empty files."""
    (folder / "tokenizer").mkdir(parents=True)
    for name, file in WEIGHTS.items():
        (folder / name).mkdir()
        (folder / name / "config.json").write_text("{}")
        (folder / name / (file + ending)).touch()
    (folder / INDEX).write_text(json.dumps(PARTS | changes))
    return folder


def test_a_whole_pipeline(tmp_path: Path) -> None:
    pipeline = read_pipeline(write(tmp_path / "a"))
    assert pipeline.pipeline_class == "StableDiffusionPipeline"
    assert set(pipeline.components) == {"text_encoder", "tokenizer", "unet"}
    assert pipeline.absent == ("safety_checker",)
    assert [file.name for file in pipeline.weights("unet")] == ["diffusion_pytorch_model.safetensors"]
    assert pipeline.variant is None
    check_files(pipeline)
    check_text(pipeline)


def test_other_folders(tmp_path: Path) -> None:
    assert not is_pipeline(tmp_path)
    with refuses(BadCheckpoint, tmp_path, INDEX):
        read_pipeline(tmp_path)
    with refuses(NotFound, "none"):
        read_pipeline(tmp_path / "none")


DAMAGED = [
    *("", "[]", "{", "1", "[" * 100_000),
    '{"unet": ["diffusers", "A"]}',
    '{"_class_name": 3}',
    '{"a/b": ["c", "d"]}',
    '{"_class_name": "A", "unet": [1, "A"]}',
    '{"_class_name": "A", "../unet": ["diffusers", "A"]}',
]


@pytest.mark.parametrize("text", DAMAGED)
def test_damaged_indexes(tmp_path: Path, text: str) -> None:
    (tmp_path / INDEX).write_text(text)
    with refuses(BadCheckpoint, INDEX):
        read_pipeline(tmp_path)


def test_classes_in_the_folder_are_refused(tmp_path: Path) -> None:
    with refuses(BadCheckpoint, "mine", "MyPipeline"):
        read_pipeline(write(tmp_path / "a", _class_name=["mine", "MyPipeline"]))


@pytest.mark.parametrize("ending", [".bin", ".ckpt", ".pt", ".pth", ".pkl"])
def test_pickles_are_refused(tmp_path: Path, ending: str) -> None:
    with refuses(BadCheckpoint, f"model{ending}"):
        check_files(read_pipeline(write(tmp_path / "a", ending)))


@pytest.mark.parametrize("ending", [".msgpack", ".txt"])
def test_missing_weights(tmp_path: Path, ending: str) -> None:
    with refuses(BadCheckpoint, "text_encoder"):
        check_files(read_pipeline(write(tmp_path / "a", ending)))


def test_missing_folders(tmp_path: Path) -> None:
    pipeline = read_pipeline(write(tmp_path / "a", vae=["diffusers", "AutoencoderKL"]))
    check_files(pipeline, without=("vae",))
    with refuses(BadCheckpoint, "vae", "AutoencoderKL"):
        check_files(pipeline)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"text_encoder": [None, None]}, "text_encoder"),
        ({"tokenizer": [None, None]}, "tokenizer"),
        ({"tokenizer": [None, None], "text_encoder": [None, None]}, "text_encoder"),
        ({"tokenizer_2": [None, None], "text_encoder_2": ["transformers", "T5EncoderModel"]}, "tokenizer_2"),
    ],
)
def test_prompts_that_cannot_be_encoded(tmp_path: Path, changes: dict[str, Any], name: str) -> None:
    with refuses(BadCheckpoint, name):
        check_text(read_pipeline(write(tmp_path / "a", **changes)))


def test_an_optional_text_encoder_may_be_missing(tmp_path: Path) -> None:
    """As T5 in SD3."""
    check_text(read_pipeline(write(tmp_path / "a", tokenizer_3=[None, None], text_encoder_3=[None, None])))


def test_variants(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", ".fp16.safetensors")
    pipeline = read_pipeline(folder)
    assert pipeline.variant == "fp16"
    assert len(pipeline.weights("unet")) == 1
    (folder / "unet" / "diffusion_pytorch_model.safetensors").touch()
    assert [file.name for file in pipeline.weights("unet")] == ["diffusion_pytorch_model.safetensors"]
    for name, variant in (
        ("model.safetensors", None),
        ("model-00001-of-00002.safetensors", None),
        ("model.fp16.safetensors", "fp16"),
        ("model.bf16-00001-of-00002.safetensors", "bf16"),
        ("diffusion_pytorch_model.non_ema.safetensors", "non_ema"),
    ):
        assert variant_of(Path(name)) == variant, name
