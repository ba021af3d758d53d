"""Which diffusion model a checkpoint is of, and what that says of the VAE inside."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vaekit.checkpoints.formats.files import TensorSpec
from vaekit.checkpoints.identify import identify
from vaekit.checkpoints.inspecting import inspect
from vaekit.checkpoints.metadata import normalization_text
from vaekit.checkpoints.surroundings import model_around, models
from vaekit.normalization import LatentNormalization

UNET = "model.diffusion_model."
CROSS = f"{UNET}input_blocks.{{}}.1.transformer_blocks.0.attn2.to_k.weight"
ATTENTION = {CROSS.format(1): (320, 768), CROSS.format(4): (640, 768)}
SIGNS: dict[str, tuple[str | None, dict[str, tuple[int, ...]]]] = {
    "SD1": ("SD1", ATTENTION | {"cond_stage_model.transformer.text_model.final_layer_norm.weight": (768,)}),
    "SD1 without its text encoder": ("SD1", ATTENTION),
    "SD1's text encoder alone": ("SD1", {"cond_stage_model.transformer.text_model.final_layer_norm.weight": (768,)}),
    "SD2": ("SD2", {CROSS.format(1): (320, 1024), CROSS.format(4): (640, 1024), "cond_stage_model.model.x": (1,)}),
    "SDXL": ("SDXL", {CROSS.format(4): (640, 2048), "conditioner.embedders.1.model.ln_final.weight": (1280,)}),
    "SDXL's text encoders alone": ("SDXL", {"conditioner.embedders.1.model.ln_final.weight": (1280,)}),
    "SDXL refiner": ("SDXL", {CROSS.format(4): (768, 1280), "conditioner.embedders.0.model.ln_final.weight": (1280,)}),
    "SD3": ("SD3", {f"{UNET}joint_blocks.0.context_block.attn.qkv.weight": (1, 1)}),
    "FLUX.1": ("FLUX.1", {f"{UNET}double_blocks.0.img_attn.qkv.weight": (1, 1), f"{UNET}img_in.weight": (3072, 64)}),
    "FLUX.1 bare": ("FLUX.1", {"double_blocks.0.img_attn.qkv.weight": (1, 1)}),
    "FLUX.1 depth": ("FLUX.1", {f"{UNET}double_blocks.0.x": (1,), f"{UNET}img_in.weight": (3072, 128)}),
    "FLUX.2": (
        "FLUX.2",
        {f"{UNET}double_blocks.0.x": (1,), f"{UNET}double_stream_modulation_img.lin.weight": (1, 1)},
    ),
    "x4 upscaler": ("SD x4 upscaler", {f"{UNET}input_blocks.0.0.weight": (256, 7, 3, 3), CROSS.format(1): (1, 1024)}),
    "Playground 2.5": (None, {CROSS.format(4): (640, 2048), "edm_mean": (1, 4, 1, 1), "edm_std": (1, 4, 1, 1)}),
    "SVD": (None, {CROSS.format(1): (320, 1), "conditioner.embedders.3.encoder.encoder.conv_in.weight": (1,)}),
    "HunyuanVideo": (None, {"double_blocks.0.x": (1,), "txt_in.individual_token_refiner.blocks.0.norm1.weight": (1,)}),
    "two denoisers": (None, {f"{UNET}joint_blocks.0.x": (1,), f"{UNET}double_blocks.0.x": (1,)}),
    "a swapped text encoder": ("SD1", ATTENTION | {"conditioner.embedders.1.model.ln_final.weight": (1280,)}),
    "nothing telling": (None, {"some.weight": (3, 3), "xdouble_blocks.0.x": (1,)}),
}


@pytest.mark.parametrize("name", SIGNS)
def test_the_model_is_read_off_its_tensors(name: str) -> None:
    expected, shapes = SIGNS[name]
    around = model_around({key: TensorSpec(shape, torch.float16) for key, shape in shapes.items()})
    assert (around.name if around else None) == expected


def test_every_model_has_a_latent_space_that_the_table_of_kinds_knows() -> None:
    for model in models():
        assert model.latent_space is not None, model.name
        assert model.vae.endswith(".")


@pytest.mark.parametrize(
    ("around", "channels", "kind", "normalization"),
    [
        ("SD1", 4, "SD1 / SD2", LatentNormalization((0.0,), (0.18215,))),
        ("SD2", 4, "SD1 / SD2", LatentNormalization((0.0,), (0.18215,))),
        ("SDXL", 4, "SDXL", LatentNormalization((0.0,), (0.13025,))),
        ("SD3", 16, "SD3 / SD3.5", LatentNormalization((0.0609,), (1.5305,))),
        ("FLUX.1", 16, "FLUX.1", LatentNormalization((0.1159,), (0.3611,))),
    ],
)
def test_shape_twins_are_told_apart_by_the_checkpoint_around_them(
    sparse_file: Callable[..., Path],
    sd_shapes: Callable[..., dict[str, tuple[int, ...]]],
    around: str,
    channels: int,
    kind: str,
    normalization: LatentNormalization,
) -> None:
    path = sparse_file("x.safetensors", SIGNS[around][1] | sd_shapes(channels, "vae."))
    seen = identify(path)
    assert ([one.name for one in seen.kinds], seen.normalization) == ([kind], normalization)
    assert seen.normalization_source == f"the checkpoint around it, which is {around}'s"
    told = sparse_file(
        "y.safetensors",
        SIGNS[around][1] | sd_shapes(channels, "vae."),
        {"vaekit.normalization": normalization_text(LatentNormalization((0.0,), (9.0,)))},
    )
    assert identify(told).normalization == LatentNormalization((0.0,), (9.0,))


def test_a_checkpoint_that_disagrees_with_its_vae_tells_nothing(
    sparse_file: Callable[..., Path], sd_shapes: Callable[..., dict[str, tuple[int, ...]]]
) -> None:
    seen = identify(sparse_file("x.safetensors", SIGNS["FLUX.1"][1] | sd_shapes(4, "vae.")))
    assert ([one.name for one in seen.kinds], seen.normalization) == (["SD1 / SD2", "SDXL", "Playground 2.5"], None)


def test_inspect_says_how_it_knows(
    sparse_file: Callable[..., Path], sd_shapes: Callable[..., dict[str, tuple[int, ...]]]
) -> None:
    facts = inspect(sparse_file("x.safetensors", SIGNS["SDXL"][1] | sd_shapes(4, "first_stage_model.")), measure=False)
    assert (facts.known_as, facts.normalization) == (("SDXL",), LatentNormalization((0.0,), (0.13025,)))
    assert facts.normalization_source == "the checkpoint around it, which is SDXL's"
