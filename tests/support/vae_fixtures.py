"""Small autoencoders with random weights, for everything that is done to files."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vaekit.doctor.examine import examine
from vaekit.doctor.observe import image_side
from vaekit.families import Config, assemble, family_with, layout_of
from vaekit.families.approx.net import ApproxConfig
from vaekit.families.asymmetric.net import AsymmetricConfig
from vaekit.families.burgess.net import BurgessConfig
from vaekit.families.joint.net import JointConfig
from vaekit.families.kl.net import KLConfig
from vaekit.families.normalization import EPSILON, normalization_of
from vaekit.families.tiny.net import TinyConfig
from vaekit.families.vq.net import VQConfig
from vaekit.formats.safetensors_writer import Piece, header
from vaekit.identification.weights import weights_of
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE


@pytest.fixture(scope="session")
def small_kl() -> KLConfig:
    """A KL autoencoder of two levels and a few thousand weights, factor 2."""
    return KLConfig(
        image_channels=3,
        latent_channels=4,
        hidden_channels=4,
        encoder_widths=(8, 16),
        decoder_widths=(8, 16),
        encoder_blocks=1,
        decoder_blocks=1,
        encoder_attention=(),
        decoder_attention=(),
        mid_attention=True,
        quant_conv=True,
        post_quant_conv=True,
        norm_groups=4,
    )


def random_vae(config: Config, normalization: LatentNormalization | None) -> VAE:
    family = family_with(config)
    assert family is not None
    vae = assemble(family, config, normalization=normalization).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return vae


@pytest.fixture(name="random_vae")
def random_vae_fixture() -> Callable[[Config, LatentNormalization | None], VAE]:
    """A VAE with random weights of any config."""
    return random_vae


@pytest.fixture(scope="session")
def kl_config() -> KLConfig:
    return KLConfig(3, 4, 4, (32, 64), (32, 64), 1, 2, (), (), True, True, True, 32)


@pytest.fixture(scope="session")
def pristine_kl_vae(kl_config: KLConfig) -> VAE:
    return random_vae(kl_config, LatentNormalization((0.5,), (0.25,)))


@pytest.fixture
def kl_vae(pristine_kl_vae: VAE) -> VAE:
    return copy.deepcopy(pristine_kl_vae)


@pytest.fixture
def deep_vae(kl_config: KLConfig) -> VAE:
    """What only vaekit's and LDM's own layouts can hold: attention inside levels, halves with as many blocks."""
    config = dataclasses.replace(kl_config, encoder_attention=(1,), decoder_attention=(0, 1), decoder_blocks=1)
    return random_vae(config, None)


@pytest.fixture
def vq_vae(kl_config: KLConfig) -> VAE:
    """Attention inside the last level, a codebook of 50 vectors narrower than what the nets have around it."""
    inside = {"encoder_attention": (1,), "decoder_attention": (1,), "hidden_channels": 6}
    return random_vae(VQConfig(**(dataclasses.asdict(kl_config) | inside), codes=50), LatentNormalization())


@pytest.fixture
def tiny_vae() -> VAE:
    return random_vae(TinyConfig(3, 4, (), (8, 8), (8, 8), (1, 2), (2, 1), False), LatentNormalization())


@pytest.fixture
def pooled_vae() -> VAE:
    return random_vae(TinyConfig(3, 4, (), (8, 8), (8, 8), (1, 2), (2, 1), True), None)


@pytest.fixture
def asymmetric_vae(kl_config: KLConfig) -> VAE:
    fields = dataclasses.asdict(kl_config) | {"encoder_widths": (32, 32, 64, 64), "decoder_widths": (32, 64, 128, 128)}
    return random_vae(AsymmetricConfig(**fields | {"decoder_blocks": 3}), LatentNormalization((0.0,), (0.18215,)))


@pytest.fixture
def stem_vae() -> VAE:
    """What makes TAESANA itself, small: a strided stem, and a decoder of several widths."""
    return random_vae(
        TinyConfig(3, 4, (4, 8), (8, 8), (16, 8, 8, 4), (1, 2), (2, 1, 1, 1), False), LatentNormalization()
    )


@pytest.fixture
def approx_vae() -> VAE:
    return random_vae(ApproxConfig(3, 4, (8, 4, 4, 4, 4, 4, 4), (7, 5, 3, 3, 3, 3, 3, 3)), LatentNormalization())


@pytest.fixture
def burgess_vae() -> VAE:
    return random_vae(BurgessConfig(1, 32, 8, 16, 5), None)


@pytest.fixture
def joint_vae() -> VAE:
    return random_vae(JointConfig(3, 64, 8, 16, 5, (4, 3)), None)


@pytest.fixture
def flux2_vae(kl_config: KLConfig) -> VAE:
    """What makes FLUX.2 itself, small: a decoder with widths of its own, and batch-norm statistics."""
    channels = 4 * kl_config.latent_channels
    generator = torch.Generator().manual_seed(1)
    mean = torch.randn(channels, generator=generator)
    variance = torch.rand(channels, generator=generator) * 3
    config = dataclasses.replace(kl_config, decoder_widths=(96, 32))
    return random_vae(config, normalization_of(mean, variance, EPSILON))


FILLING = {
    "model.diffusion_model.out.2.weight": torch.arange(1000, dtype=torch.float32).reshape(10, 100),
    "model.diffusion_model.half.weight": torch.arange(77).half(),
    "cond_stage_model.steps": torch.tensor(7),
    "model_ema.decay": torch.rand(3, generator=torch.Generator().manual_seed(5)).bfloat16(),
    "zeta.empty": torch.empty(0, 3),
    "alpha.bytes": torch.arange(5, dtype=torch.uint8),
}
"""What a whole checkpoint holds beside its VAE: all widths of numbers, one scalar, one tensor without any."""


@pytest.fixture
def whole_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Write a whole checkpoint around a VAE, or around none."""

    def make(
        vae: VAE | None,
        name: str = "whole.safetensors",
        prefix: str = "first_stage_model.",
        layout: str = "ldm",
        metadata: dict[str, str] | None = None,
        around: dict[str, torch.Tensor] | None = None,
    ) -> Path:
        tensors = dict(FILLING if around is None else around)
        if vae is not None:
            family = family_with(vae.config)
            assert family is not None
            named = layout_of(layout, family.name)
            assert named is not None
            inside = {piece.name: piece.tensor() for piece in weights_of(vae, family, vae.config).pieces(named)}
            tensors |= {prefix + key: tensor.clone() for key, tensor in inside.items()}
        path = tmp_path / name
        if path.suffix == ".safetensors":
            save_file(tensors, path, metadata)
        else:
            torch.save({"state_dict": tensors, "epoch": 3, "optimizer": {"lr": 0.1}}, path)
        return path

    return make


@pytest.fixture
def sparse_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a safetensors file with these shapes and nothing but zeros, which takes no room on the disk."""

    def make(name: str, shapes: Mapping[str, tuple[int, ...]], metadata: dict[str, str] | None = None) -> Path:
        pieces = [Piece(key, shape, torch.float16, lambda: torch.empty(0)) for key, shape in shapes.items()]
        head = header(pieces, metadata or {})
        with open(tmp_path / name, "wb") as file:
            file.write(len(head).to_bytes(8, "little") + head)
            file.truncate(8 + len(head) + sum(piece.nbytes for piece in pieces))
        return tmp_path / name

    return make


@pytest.fixture
def sd_shapes() -> Callable[..., dict[str, tuple[int, ...]]]:
    """The names in LDM's layout and the shapes of an autoencoder as large as those of SD1 (4 channels) or FLUX.1."""

    def make(channels: int = 4, prefix: str = "", half: str = "") -> dict[str, tuple[int, ...]]:
        widths, quant = (128, 256, 512, 512), channels != 16
        config = KLConfig(3, channels, channels, widths, widths, 2, 3, (), (), True, quant, quant, 32)
        family, layout = family_with(config), layout_of("ldm", "kl")
        assert family is not None
        assert layout is not None
        with torch.device("meta"):
            vae = assemble(family, config)
        native = {key: tuple(tensor.shape) for key, tensor in vae.state_dict().items() if key.startswith(half)}
        return {f"{prefix}{layout.from_native(key, 4)}": shape for key, shape in native.items()}

    return make


@pytest.fixture
def svd_shapes(sd_shapes: Callable[..., dict[str, tuple[int, ...]]]) -> dict[str, tuple[int, ...]]:
    """Stable Video Diffusion, whole: SD2's blocks with 8 inputs, a decoder that mixes normalizations, an encoder that
    conditions.
    """
    unet, decoder = "model.diffusion_model.input_blocks.", "first_stage_model.decoder."
    return {
        f"{unet}0.0.weight": (320, 8, 3, 3),
        f"{unet}1.1.transformer_blocks.0.attn2.to_k.weight": (320, 1024),
        f"{unet}4.1.transformer_blocks.0.attn2.to_k.weight": (640, 1024),
        **sd_shapes(4, "first_stage_model."),
        f"{decoder}mid.block_1.mix_factor": (1,),
        f"{decoder}mid.block_1.time_stack.in_layers.2.weight": (512, 512, 3, 1, 1),
        f"{decoder}conv_out.time_mix_conv.weight": (3, 3, 3, 1, 1),
        **sd_shapes(4, "conditioner.embedders.3.encoder.", "encoder"),
    }


@pytest.fixture
def small_doctor_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Examine VAEs on small images, which show the same faults as large ones."""
    monkeypatch.setattr("vaekit.doctor.examine.examine", partial(examine, side=32))
    monkeypatch.setattr("vaekit.doctor.observe.image_side", lambda config, side=32: image_side(config, side))
