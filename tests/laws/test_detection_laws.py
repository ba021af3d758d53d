"""Published models are read off their names and shapes: one family, one config, whole or by halves."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from family_examples import EXAMPLES, daily
from published_configs import FOUR, PUBLISHED
from safetensors.torch import save_file
from shapes_of_configs import PREFIXES, detected, family_name, in_layout, layouts_for, native_shapes
from slow_cases import nightly

from vaekit.catalog.entries import LatentSpace, latent_spaces, matching_latent_spaces
from vaekit.errors import WrongTensors
from vaekit.families import FAMILIES, LAYOUTS, Config, Family, Shapes, family_of
from vaekit.families.family import no_diffusers_class
from vaekit.families.normalization import PATCH
from vaekit.families.tiny import net as tiny
from vaekit.families.tiny.net import TinyConfig
from vaekit.formats.open import TensorFile, TensorSpec
from vaekit.identification import locate
from vaekit.identification.fused_tensors import present_parts
from vaekit.identification.identify import identify
from vaekit.identification.key_signatures import match_unsupported
from vaekit.identification.mismatches import mismatch_count
from vaekit.normalization import LatentNormalization

NO_MIRROR = (
    *("FLUX.2 small decoder", "TAESANA", "Asymmetric x1.5", "Asymmetric x2", "VAE-approx", "JointVAE"),
    *("Wan 2.2", "Qwen-Image 2.1", "DC-AE Lite", "DC-AE f32c32", "DC-AE f64c128", "DC-AE f128c512"),
    *("LTX-Video 0.9.0", "LTX-2", "Kandinsky 6 SR", "Mochi 1", "RAE DINOv2"),
    *("KVAE-Audio", "DAC 44.1 kHz", "DAC 24 kHz", "DAC 16 kHz", "MiniMax-H3 audio", "LTX-2 audio"),
    *("LTX-2.3 audio", "AudioLDM", "ACE-Step 1", "ACE-Step 1 without its vocoder", "VibeVoice"),
)
"""Those whose halves are not each other's mirror: half of one is read as half of another."""
MANY = ("kl", "dcae", "tiny")
"""Families with many published models."""
OFTEN = ("SD1 and SDXL", "FLUX.2 small decoder", "TAESD", "DC-AE f32c32")
"""Those of them whose files are tried in every run."""
MIRRORED = [name for name in PUBLISHED if name not in NO_MIRROR]


def often(names: Iterable[str]) -> list[Any]:
    """Parameters of a test: of families with many published models, only some are tried in every run."""
    many = {name for name in PUBLISHED if family_name(PUBLISHED[name]) in MANY and name not in OFTEN}
    return [pytest.param(name, marks=pytest.mark.nightly) if name in many else name for name in names]


@pytest.mark.parametrize("name", often(PUBLISHED))
def test_published_configs_are_read_off_their_shapes(name: str) -> None:
    """Without a prefix and with one; all of them have their turn, from model to model and layout to layout."""
    config, turn = PUBLISHED[name], list(PUBLISHED).index(name)
    shapes = native_shapes(config)
    for seed, layout in enumerate(layouts_for(config), turn):
        assert detected(in_layout(layout, shapes), seed) == (config, shapes)
        if layout.any_prefix:
            prefix = PREFIXES[1 + seed % (len(PREFIXES) - 1)]
            assert detected(in_layout(layout, shapes, prefix), seed) == (config, shapes)


@pytest.mark.parametrize("name", PUBLISHED)
def test_exactly_one_family_says_yes(name: str) -> None:
    shapes = native_shapes(PUBLISHED[name])
    assert explained_by(shapes) == {family_name(PUBLISHED[name])}


def explained_by(shapes: Shapes) -> set[str]:
    """The families that have a network with exactly these tensors."""
    return {family.name for family in FAMILIES if mismatch_count(family, shapes, {}) == 0}


def families_for(names: Shapes) -> set[str]:
    """The families that have a network with exactly the tensors of a file, by any of their layouts."""
    said = set()
    file = TensorFile(
        Path("any"), "safetensors", {}, {name: TensorSpec(shape, torch.float32) for name, shape in names.items()}, dict
    )
    for layout in LAYOUTS:
        seen = {name: spec.shape for name, spec in present_parts(file, layout).specs.items()}
        levels = layout.levels(seen)
        native = {layout.to_native(name, levels): shape for name, shape in seen.items()}
        known = {key: shape for key, shape in native.items() if key is not None}
        if len(known) == len(seen) and mismatch_count(family_of(layout.family), known, layout.implies) == 0:
            said.add(layout.family)
    return said


@pytest.mark.parametrize("half", ["", *nightly("encoder", "decoder")])
@pytest.mark.parametrize("name", often(name for name in PUBLISHED if not hasattr(PUBLISHED[name], "codes")))
def test_exactly_one_family_says_yes_to_a_file(name: str, half: str) -> None:
    """Two families may have the same names: those of HunyuanImage are LDM's, and it has kl-f32's 64 channels."""
    shapes = {key: shape for key, shape in native_shapes(PUBLISHED[name]).items() if key.startswith(half)}
    # The encoder of an asymmetric autoencoder is SD1's own.
    family = "kl" if name.startswith("Asymmetric") and half == "encoder" else family_name(PUBLISHED[name])
    for layout in layouts_for(PUBLISHED[name]) if shapes else ():
        assert families_for(in_layout(layout, shapes)) == {family}


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_runs_is_not_among_what_is_only_recognized(name: str) -> None:
    config = PUBLISHED[name]
    shapes = native_shapes(config)
    for layout in layouts_for(config):
        specs = {key: TensorSpec(shape, torch.float32) for key, shape in in_layout(layout, shapes, "vae.").items()}
        assert match_unsupported(specs) is None


@pytest.mark.parametrize("space", latent_spaces(), ids=[space.name for space in latent_spaces()])
def test_a_space_names_the_layouts_that_cannot_express_it(space: LatentSpace) -> None:
    family = family_of(space.family)
    configs = [config for config in PUBLISHED.values() if space.fits(family_name(config), config)]
    if configs and family.diffusers is not no_diffusers_class:
        channels = PATCH**2 * configs[0].latent_channels
        normalizations = (space.normalization, LatentNormalization((0.0,) * channels, (1.0,) * channels, PATCH))
        expressed = any(
            fits_diffusers(family, config, normalization) for config in configs for normalization in normalizations
        )
        assert expressed == ("diffusers" not in space.not_in), "not_in in its facts.toml"


def fits_diffusers(family: Family, config: Config, normalization: LatentNormalization | None) -> bool:
    try:
        return bool(family.diffusers(config, normalization))
    except WrongTensors:
        return False


@pytest.mark.parametrize("half", ["encoder", "decoder"])
@pytest.mark.parametrize("name", daily(MIRRORED, lambda name: family_name(PUBLISHED[name])))
def test_a_half_is_recognized_and_mirrored(name: str, half: str) -> None:
    config = PUBLISHED[name]
    shapes = {key: shape for key, shape in native_shapes(config).items() if key.startswith((half, "to_posterior"))}
    for layout in layouts_for(config):
        assert detected(in_layout(layout, shapes, "vae.")) == (config, shapes)


HAVE_BARE_HALVES = ("kl", "tiny")


@pytest.mark.parametrize("half", ["encoder", "decoder"])
@pytest.mark.parametrize("name", [name for name in MIRRORED if family_name(PUBLISHED[name]) in HAVE_BARE_HALVES])
def test_a_half_without_its_own_prefix_is_recognized(name: str, half: str) -> None:
    shapes = {key: shape for key, shape in native_shapes(PUBLISHED[name]).items() if key.startswith(half)}
    bare = {key.removeprefix(half + "."): shape for key, shape in shapes.items()}
    assert detected(bare) == (PUBLISHED[name], shapes)


@pytest.mark.parametrize("name", ["taesd_decoder.safetensors", "flux.safetensors", "vae-ft-mse.ckpt", "no_ending"])
def test_file_names_never_matter(name: str, tmp_path: Path) -> None:
    _, decoder = tiny.build(TinyConfig(3, 4, (), FOUR, FOUR, (1, 3, 3, 3), (3, 3, 3, 1), False))
    save_file(dict(decoder.state_dict()), tmp_path / name)
    identified = identify(tmp_path / name)
    assert (identified.family.name, identified.layout, identified.halves) == ("tiny", "tiny-decoder", ("decoder",))
    assert identified.config == PUBLISHED["TAESD"]
    assert [space.name for space in identified.latent_spaces] == ["TAESD (latents of SD1 or SDXL)"]


def test_halves_without_a_mirror_are_what_they_are() -> None:
    """The half that is there is read whole, and its network is the same as in the whole model."""
    halves = ("TAESANA", "encoder"), ("TAESANA", "decoder"), ("Asymmetric x2", "decoder")
    for name, half in (*halves, ("JointVAE", "encoder"), ("JointVAE", "decoder"), ("VAE-approx", "decoder")):
        config, shapes = PUBLISHED[name], native_shapes(PUBLISHED[name])
        part = {key: shape for key, shape in shapes.items() if key.startswith(half + ".")}
        found, native = detected(part)
        assert native == part
        assert found is not None
        assert type(found) is type(config)
        assert found.geometry.factors == config.geometry.factors
        assert {key: shape for key, shape in native_shapes(found).items() if key.startswith(half + ".")} == part
        assert [space.name.split()[0] for space in matching_latent_spaces(family_name(found), found)] == [
            name.split()[0]
        ]


def test_the_encoder_of_an_asymmetric_one_is_that_of_sd() -> None:
    shapes = {key: shape for key, shape in native_shapes(PUBLISHED["Asymmetric x2"]).items() if "encoder." in key[:8]}
    assert detected(shapes) == (PUBLISHED["SD1 and SDXL"], shapes)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_order_of_families_changes_no_answer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reverse = [layout for family in reversed(FAMILIES) for layout in family.layouts]
    assert len(reverse) == len(LAYOUTS)
    monkeypatch.setattr(locate, "LAYOUTS", tuple(reverse))
    shapes = native_shapes(EXAMPLES[name])
    for layout in layouts_for(EXAMPLES[name]):
        config, native = detected(in_layout(layout, shapes, "vae." if layout.any_prefix else ""))
        assert config is not None
        assert (type(config), native) == (family_of(name).config, shapes)
