"""Tiny diffusers pipelines with random weights, built here: nothing is downloaded."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from vaekit.families import Config, assemble, family_with
from vaekit.families.kl.net import KLConfig
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE


@pytest.fixture(scope="session", autouse=True)
def offline() -> Any:
    """Whatever a library would like to fetch, it may not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


def random_vae(config: Config, normalization: LatentNormalization | None) -> VAE:
    family = family_with(config)
    assert family is not None
    torch.manual_seed(0)
    return assemble(family, config, normalization=normalization).eval()


def kl_config(channels: int, *, quant: bool) -> KLConfig:
    widths = (32, 32, 64, 64)
    return KLConfig(3, channels, channels, widths, widths, 1, 2, (), (), True, quant, quant, 32)


@pytest.fixture
def sd_vae() -> VAE:
    """SD1's structure in small: four levels, so a factor of 8."""
    return random_vae(kl_config(4, quant=True), LatentNormalization((0.0,), (0.18215,)))


@pytest.fixture
def flux_vae() -> VAE:
    """FLUX.1's structure in small."""
    return random_vae(kl_config(16, quant=False), LatentNormalization((0.1159,), (0.3611,)))


@pytest.fixture(scope="session")
def transformers() -> Any:
    """diffusers' pipelines need it; without it they are not tested."""
    return pytest.importorskip("transformers")


@pytest.fixture(scope="session")
def text(transformers: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A CLIP text encoder of two layers, and a tokenizer of single letters."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder, model_max_length=16)
    torch.manual_seed(1)
    config = transformers.CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=2,
        max_position_embeddings=16,
        bos_token_id=len(vocabulary) - 2,
        eos_token_id=len(vocabulary) - 1,
        pad_token_id=len(vocabulary) - 1,
    )
    return {"tokenizer": tokenizer, "text_encoder": transformers.CLIPTextModel(config).eval()}


@pytest.fixture(scope="session")
def unet() -> Any:
    from diffusers import UNet2DConditionModel

    torch.manual_seed(2)
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=32,
    ).eval()


@pytest.fixture
def sd_parts(text: dict[str, Any], unet: Any) -> dict[str, Any]:
    """Everything of a Stable Diffusion pipeline but the VAE."""
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, clip_sample=False, set_alpha_to_one=False)
    none = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return text | none | {"unet": unet, "scheduler": scheduler}


@pytest.fixture(scope="session")
def flux_parts(transformers: Any) -> dict[str, Any]:
    """Everything of a FLUX pipeline but the VAE; prompts are given as embeddings."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel

    torch.manual_seed(3)
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=64,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
    ).eval()
    none = dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
    return none | {"transformer": transformer, "scheduler": FlowMatchEulerDiscreteScheduler()}


@pytest.fixture(scope="session")
def sd3_parts(transformers: Any) -> dict[str, Any]:
    """Everything of an SD3 pipeline but the VAE; prompts are given as embeddings."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel

    torch.manual_seed(4)
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=16,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pooled_projection_dim=64,
        out_channels=16,
    ).eval()
    names = [f"{what}{number}" for what in ("text_encoder", "tokenizer") for number in ("", "_2", "_3")]
    return dict.fromkeys(names) | {"transformer": transformer, "scheduler": FlowMatchEulerDiscreteScheduler()}


@pytest.fixture(scope="session")
def flux2_parts(transformers: Any) -> dict[str, Any]:
    """Everything of a FLUX.2 pipeline but the VAE; prompts are given as embeddings."""
    import diffusers

    if not hasattr(diffusers, "Flux2Pipeline"):
        pytest.skip("this diffusers has no FLUX.2")
    torch.manual_seed(5)
    transformer = diffusers.Flux2Transformer2DModel(
        patch_size=1,
        in_channels=128,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        timestep_guidance_channels=32,
        axes_dims_rope=(4, 4, 4, 4),
    ).eval()
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    return {"text_encoder": None, "tokenizer": None, "transformer": transformer, "scheduler": scheduler}


@pytest.fixture(scope="session")
def sdxl_parts(transformers: Any) -> dict[str, Any]:
    """Everything of an SDXL pipeline but the VAE; prompts are given as embeddings."""
    from diffusers import EulerDiscreteScheduler, UNet2DConditionModel

    torch.manual_seed(6)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        cross_attention_dim=32,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 32,
    ).eval()
    none = dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
    return none | {"unet": unet, "scheduler": EulerDiscreteScheduler(), "add_watermarker": False}


@pytest.fixture
def photograph() -> torch.Tensor:
    """An image (1, 3, 64, 64) in [0, 1], as pipelines take them."""
    return torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(7))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "vae"
