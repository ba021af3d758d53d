"""Every layout is a reversible table: nothing lost, nothing invented, levels counted."""

import dataclasses
import functools

import pytest
import torch
from family_examples import EXAMPLES, PUBLISHED
from hypothesis import given, settings
from hypothesis import strategies as st

from vaekit.families import LAYOUTS, Config, Layout, assemble, family_of, layout_of
from vaekit.families.approx.net import ApproxConfig
from vaekit.families.asymmetric.net import AsymmetricConfig
from vaekit.families.burgess.net import BurgessConfig
from vaekit.families.dcae.net import DCAEConfig
from vaekit.families.hunyuan_image.net import HunyuanImageConfig
from vaekit.families.joint.net import JointConfig
from vaekit.families.kl.net import KLConfig
from vaekit.families.tiny.net import TinyConfig
from vaekit.families.vq.net import VQConfig
from vaekit.families.wan.net import WanConfig
from vaekit.families.wan22.net import Wan22Config

NAMES = [f"{layout.family}-{layout.name}" for layout in LAYOUTS]


def kl_config(levels: int, attention: bool = False, quant: bool = True, blocks: int = 2, mid: bool = True) -> KLConfig:
    widths = tuple(32 * (1 + i % 3) for i in range(levels))
    inside = tuple(range(levels // 2, levels)) if attention else ()
    return KLConfig(3, 4, 4, widths, widths, blocks, blocks + 1, inside, inside, mid, quant, quant, 32)


def tiny_config(stages: int, pool: bool = False, stem: tuple[int, ...] = ()) -> TinyConfig:
    blocks = tuple(1 + i % 3 for i in range(stages))
    widths = tuple(64 * (1 + i % 2) for i in range(stages)) if stem else (64,) * stages
    return TinyConfig(3, 4, stem, (64,) * stages, widths, blocks, blocks[::-1], pool)


KL_CONFIGS = [
    kl_config(levels, attention, quant)
    for levels in (1, 4, 6, 10, 12)
    for attention, quant in ((False, True), (True, False))
]
TINY_CONFIGS = [
    tiny_config(stages, pool, stem) for stages in (2, 4, 6, 12) for pool in (False, True) for stem in ((), (32, 64))
]


def vq_config(config: KLConfig) -> VQConfig:
    return VQConfig(**dataclasses.asdict(config), codes=16)


def wan_config(levels: int, blocks: int = 2, temporal: bool = True) -> WanConfig:
    widths = tuple(8 * (1 + i % 3) for i in range(levels))
    return WanConfig(3, 4, widths, widths[::-1], blocks, blocks + 1, tuple(range(1, levels - 1)), temporal)


def wan22_config(config: WanConfig) -> Wan22Config:
    """A network as deep, whose widths double until the last level but one."""
    levels = len(config.encoder_widths)
    widths = tuple(8 * 2 ** min(i, 3, levels - 2) for i in range(levels))
    changed = {"encoder_widths": widths, "decoder_widths": tuple(3 * width for width in reversed(widths))}
    return Wan22Config(**dataclasses.asdict(config) | changed, patch=2)


def hunyuan_config(levels: int, blocks: int = 2) -> HunyuanImageConfig:
    widths = tuple(32 * 2 ** min(i, 3) for i in range(levels))
    return HunyuanImageConfig(3, 4, widths, widths[::-1], blocks, blocks + 1)


def dcae_config(stages: int, down: str, shortcut: bool, first_empty: bool = True) -> DCAEConfig:
    """All kinds of blocks: residual ones above, attention below; every second stage with batch norm."""
    widths, deeper = (16,) * stages, tuple(range(stages // 2, stages))
    scales = tuple((3, 5) if i in deeper else () for i in range(stages))
    blocks = (0 if first_empty and stages > 1 else 1, *(1 + i % 3 for i in range(1, stages)))
    up, normed = "pixel_shuffle" if down == "pixel_unshuffle" else "interpolate", tuple(range(1, stages, 2))
    around = (8, normed, "relu", shortcut, shortcut)
    return DCAEConfig(3, 4, widths, widths, blocks, blocks, deeper, deeper, scales, scales, normed, down, up, *around)


HUNYUAN_CONFIGS = [hunyuan_config(levels, blocks) for levels in (2, 4, 12) for blocks in (1, 2, 3)]
WAN_CONFIGS = [wan_config(levels, blocks) for levels in (2, 4, 12) for blocks in (1, 2, 3)]
CONFIGS: dict[str, list[Config]] = {
    "kl": [*KL_CONFIGS],
    "vq": [vq_config(config) for config in KL_CONFIGS],
    "asymmetric": [AsymmetricConfig(**dataclasses.asdict(config)) for config in KL_CONFIGS],
    "dcae": [
        dcae_config(stages, down, shortcut, first_empty)
        for stages, first_empty in ((1, False), (2, True), (6, True), (11, False))
        for down in ("conv", "pixel_unshuffle")
        for shortcut in (True, False)
    ],
    "tiny": [*TINY_CONFIGS],
    "approx": [ApproxConfig(3, 4, (8,) * (count - 1), (3,) * count) for count in (1, 8, 12)],
    "burgess": [BurgessConfig(3, size, 32, 256, 10) for size in (32, 64)],
    "joint": [JointConfig(1, size, 8, 16, 4, tuple(range(2, 2 + n))) for size in (32, 64, 8192) for n in (0, 1, 11)],
    "wan": [*WAN_CONFIGS],
    "wan2.2": [wan22_config(config) for config in WAN_CONFIGS],
    "hunyuan-image": [*HUNYUAN_CONFIGS],
    "ltx": [PUBLISHED["LTX-Video 0.9.0"]],
}


@functools.cache
def native_keys(family: str, config: Config) -> list[str]:
    with torch.device("meta"):
        return list(assemble(family_of(family), config).state_dict())


def keys_for(layout: Layout, config: Config) -> list[str]:
    """The keys that a layout is for: one half only where the other has a file of its own; and the normalization's."""
    beside = family_of(layout.family).outside_nets
    return [key for key in native_keys(layout.family, config) if key.startswith(layout.half)] + sorted(beside)


def check_reversible(layout: Layout, config: Config) -> None:
    native = keys_for(layout, config)
    levels = layout.native_levels(native)
    foreign = [layout.from_native(key, levels) for key in native]
    assert None not in foreign
    names = [name for name in foreign if name is not None]
    assert len(set(names)) == len(native)
    counted = layout.levels(names)
    assert [layout.to_native(name, counted) for name in names] == native


@pytest.mark.parametrize("layout", LAYOUTS, ids=NAMES)
def test_every_name_translates_there_and_back(layout: Layout) -> None:
    configs = [EXAMPLES[layout.family], *CONFIGS.get(layout.family, ())]
    fitting = [config for config in configs if layout.fits(config)]
    assert fitting
    for config in fitting:
        check_reversible(layout, config)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 12), st.booleans(), st.booleans(), st.integers(1, 3), st.booleans())
def test_any_convolutional_config_translates(levels: int, attention: bool, quant: bool, blocks: int, mid: bool) -> None:
    config = kl_config(levels, attention, quant, blocks, mid)
    for layout in LAYOUTS:
        if layout.family in ("kl", "vq"):
            check_reversible(layout, config if layout.family == "kl" else vq_config(config))


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 12), st.booleans())
def test_any_tiny_config_translates(stages: int, pool: bool) -> None:
    for layout in LAYOUTS:
        if layout.family == "tiny":
            check_reversible(layout, tiny_config(stages, pool))


@pytest.mark.parametrize("layout", LAYOUTS, ids=NAMES)
@pytest.mark.parametrize(
    "key",
    [
        "encoder.down.01.block.0.conv1.weight",
        "encoder.down.٣.block.0.conv1.weight",
        f"encoder.down.{'9' * 5000}.block.0.conv1.weight",
        f"encoder.down_blocks.{'9' * 5000}.resnets.0.conv1.weight",
        "decoder.layers.-1.weight",
        "encoder.mid.block_3.conv1.weight",
        "encoder.conv_in.running_mean",
        "xencoder.conv_in.weight",
        "1e3.weight",
        "",
    ],
)
def test_names_that_no_network_has_are_in_no_table(layout: Layout, key: str) -> None:
    assert layout.to_native(key, 4) is None
    assert layout.from_native(key, 4) is None


def test_a_place_that_the_other_scheme_lacks_has_no_name() -> None:
    diffusers = layout_of("diffusers", "tiny")
    assert diffusers is not None
    assert diffusers.from_native("decoder.0.weight", 1) is None


@pytest.mark.parametrize("levels", [1, 4, 11])
@pytest.mark.parametrize("quant", [True, False])
@pytest.mark.parametrize("mid", [True, False])
def test_diffusers_keys_are_those_of_autoencoder_kl(levels: int, quant: bool, mid: bool) -> None:
    from diffusers import AutoencoderKL

    config = kl_config(levels, quant=quant, mid=mid)
    with torch.device("meta"):
        theirs = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=config.encoder_widths,
            layers_per_block=config.encoder_blocks,
            latent_channels=config.geometry.latent_channels,
            use_quant_conv=quant,
            use_post_quant_conv=quant,
            mid_block_add_attention=mid,
        )
    assert foreign_names("diffusers", "kl", config) == set(theirs.state_dict())


@pytest.mark.parametrize("levels", [1, 3, 5])
@pytest.mark.parametrize("attention", [True, False])
def test_diffusers_keys_are_those_of_vq_model(levels: int, attention: bool) -> None:
    from diffusers import VQModel

    config = vq_config(kl_config(levels, attention))
    with torch.device("meta"):
        theirs = VQModel(**family_of("vq").diffusers(config, None))
    assert foreign_names("diffusers", "vq", config) == set(theirs.state_dict())


@pytest.mark.parametrize("attention", [True, False])
def test_diffusers_keys_are_those_of_asymmetric_autoencoder_kl(attention: bool) -> None:
    from diffusers import AsymmetricAutoencoderKL

    fields = dataclasses.asdict(kl_config(4, attention)) | {"decoder_widths": (32, 64, 128, 128), "quant_conv": True}
    config = AsymmetricConfig(**fields | {"post_quant_conv": True})
    with torch.device("meta"):
        theirs = AsymmetricAutoencoderKL(**family_of("asymmetric").diffusers(config, None))
    assert foreign_names("diffusers", "asymmetric", config) == set(theirs.state_dict())


@pytest.mark.parametrize("levels", [2, 4, 6])
@pytest.mark.parametrize("blocks", [1, 2])
def test_diffusers_keys_are_those_of_autoencoder_kl_hunyuan_image(levels: int, blocks: int) -> None:
    from diffusers import AutoencoderKLHunyuanImage

    config = hunyuan_config(levels, blocks)
    with torch.device("meta"):
        theirs = AutoencoderKLHunyuanImage(**family_of("hunyuan-image").diffusers(config, None))
    assert foreign_names("diffusers", "hunyuan-image", config) == set(theirs.state_dict())


@pytest.mark.parametrize("levels", [2, 4, 5])
@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("family", ["wan", "wan2.2"])
def test_diffusers_keys_are_those_of_autoencoder_kl_wan(levels: int, blocks: int, family: str) -> None:
    from diffusers import AutoencoderKLWan

    config = wan_config(levels, blocks)
    if family == "wan2.2":
        config = wan22_config(config)
    with torch.device("meta"):
        theirs = AutoencoderKLWan(**family_of(family).diffusers(config, None))
    assert foreign_names("diffusers", family, config) == set(theirs.state_dict())


@pytest.mark.parametrize("stages", [2, 4, 5])
def test_diffusers_keys_are_those_of_autoencoder_tiny(stages: int) -> None:
    from diffusers import AutoencoderTiny

    config = tiny_config(stages)
    with torch.device("meta"):
        theirs = AutoencoderTiny(
            encoder_block_out_channels=config.encoder_widths,
            decoder_block_out_channels=config.decoder_widths,
            num_encoder_blocks=config.encoder_blocks,
            num_decoder_blocks=config.decoder_blocks,
            latent_channels=config.geometry.latent_channels,
        )
    assert foreign_names("diffusers", "tiny", config) == set(theirs.state_dict())


@pytest.mark.parametrize("down", ["conv", "pixel_unshuffle"])
@pytest.mark.parametrize("stages", [2, 6, 11])
def test_diffusers_keys_are_those_of_autoencoder_dc(stages: int, down: str) -> None:
    from diffusers import AutoencoderDC

    config = dcae_config(stages, down, True)
    with torch.device("meta"):
        theirs = AutoencoderDC(**family_of("dcae").diffusers(config, None))
    assert foreign_names("diffusers", "dcae", config) == set(theirs.state_dict())


def foreign_names(name: str, family: str, config: Config) -> set[str | None]:
    layout = layout_of(name, family)
    assert layout is not None
    native = native_keys(family, config)
    levels = layout.native_levels(native)
    return {layout.from_native(key, levels) for key in native}
