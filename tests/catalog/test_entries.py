"""The table of known VAEs is whole and consistent."""

import dataclasses
import inspect
import itertools
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from diffusers import AutoencoderKLQwenImage, AutoencoderKLQwenImage21, AutoencoderKLWan
from published_configs import PUBLISHED

from vaekit.catalog.entries import (
    catalog_entries,
    entry_named,
    latent_space_named,
    latent_spaces,
    latent_spaces_with,
    matching_latent_spaces,
    matching_twins,
    shared_normalization,
    twins,
)
from vaekit.catalog.tables import packaged_weights
from vaekit.checkpoints.load import load
from vaekit.families import family_of
from vaekit.families.burgess.net import BurgessConfig
from vaekit.families.tiny.net import TinyConfig
from vaekit.families.vq.net import VQConfig
from vaekit.families.wan.net import WanConfig
from vaekit.families.wan22.net import Wan22Config
from vaekit.geometry import Geometry
from vaekit.identification import inspect as inspect_module
from vaekit.normalization import TOLERANCE, LatentNormalization

TAESD = TinyConfig(3, 4, (), (64,) * 4, (64,) * 4, (1, 3, 3, 3), (3, 3, 3, 1), False)

WANTED = """
    sd1.5 sd-vae-ft-mse sd-vae-ft-ema kl-f8-anime kl-f8-anime2 animevae blessed2 clearvae furception
    sdxl-vae sdxl-vae-1.0 sdxl-vae-fp16-fix eq-sdxl-vae ms-lc-eq-d-vr playground-2.5
    sd3 sd3.5 flux.1 flux.2 flux.2-small-decoder cogview4 sd-x4-upscaler ldm-vq-f4 asymmetric-x1.5 asymmetric-x2
    taesd taesdxl taesd3 taef1 taef2 vae-approx
    dc-ae-f32c32-sana-1.0 dc-ae-f32c32-sana-1.1 dc-ae-f32c32-in-1.0 dc-ae-f32c32-mix-1.0
    dc-ae-f64c128-in-1.0 dc-ae-f64c128-mix-1.0 dc-ae-f128c512-in-1.0 dc-ae-f128c512-mix-1.0
    hunyuanimage-2.1 wan-2.1 wan-2.2 qwen-image qwen-image-2.1
"""
"""VAEs that people ask for by name."""


def test_every_kind_names_fields_of_its_family() -> None:
    assert len({space.name for space in latent_spaces()}) == len(latent_spaces())
    for space in latent_spaces():
        config = family_of(space.family).config
        fields = {field.name for field in dataclasses.fields(config)}
        facts = {field.name for field in dataclasses.fields(Geometry)}
        assert space.match.keys() <= fields | facts
        assert space.normalization is None or space.normalization.fits(space.match["latent_channels"])


def test_every_fine_tuned_vae_has_the_shapes_of_a_latent_space() -> None:
    assert len({twin.name for twin in twins()} | {space.name for space in latent_spaces()}) == len(twins()) + len(
        latent_spaces()
    )
    for twin in twins():
        assert any((space.family, space.match) == (twin.family, twin.match) for space in latent_spaces())
        assert twin.repo.count("/") == 1


@pytest.mark.parametrize(
    ("name", "family", "found"),
    [
        ("SD3 and FLUX.1", "kl", ["REPA-E e2e-sd3.5-vae", "REPA-E e2e-flux-vae", "ms-lc-eq-d-vr-flux"]),
        ("CogView4", "kl", []),
    ],
)
def test_fine_tuned_vaes_fit_a_config_of_their_family(name: str, family: str, found: list[str]) -> None:
    assert [twin.name for twin in matching_twins(family, PUBLISHED[name])] == found
    assert matching_twins("vq", PUBLISHED[name]) == ()


@pytest.mark.parametrize("name", ["SD1 and SDXL", "SD3 and FLUX.1", "CogView4"])
def test_only_kinds_of_its_own_family_fit_a_config(name: str) -> None:
    found = matching_latent_spaces("kl", PUBLISHED[name])
    assert found and all(kind.family == "kl" for kind in found)


def test_normalizations_are_agreed_on_only_by_all() -> None:
    by_name = {space.name: space for space in latent_spaces()}
    assert shared_normalization([by_name["FLUX.1"]]) == by_name["FLUX.1"].normalization
    assert shared_normalization([by_name["FLUX.1"], by_name["SD3 / SD3.5"]]) is None
    assert shared_normalization([]) is None


def test_a_kind_is_the_whole_shape_and_not_only_its_channels() -> None:
    assert [space.name for space in matching_latent_spaces("tiny", TAESD)] == ["TAESD (latents of SD1 or SDXL)"]
    for change in (
        {"encoder_widths": (32,) * 4},
        {"pool": True},
        {"encoder_blocks": (1, 3, 3), "decoder_blocks": (3, 3, 1)},
    ):
        assert matching_latent_spaces("tiny", dataclasses.replace(TAESD, **change)) == ()


def test_a_codebook_tells_the_published_vector_quantized_ones_apart() -> None:
    for widths, channels, codes, mid, name in (
        ((128, 256, 512), 3, 8192, True, "LDM vq-f4"),
        ((128, 256, 512), 3, 8192, False, "LDM vq-f4-noattn"),
        ((128, 256, 256, 512), 4, 16384, True, "LDM vq-f8"),
        ((128, 256, 256, 512), 4, 256, True, "LDM vq-f8-n256"),
        ((128, 128, 256, 256, 512), 8, 16384, True, "LDM vq-f16"),
    ):
        config = VQConfig(3, channels, channels, widths, widths, 2, 3, (), (), mid, True, True, 32, codes)
        assert [space.name for space in matching_latent_spaces("vq", config)] == [name]


def test_every_card_says_what_a_user_needs() -> None:
    for entry in catalog_entries():
        assert entry.about
        assert entry.license
        assert entry.files
        assert entry.fp16 in ("safe", "unsafe", "unknown")
        assert not entry.latent_space or latent_space_named(entry.latent_space)


def test_cards_go_by_names_that_are_easy_to_type() -> None:
    names = [entry.name for entry in catalog_entries()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name) for name in names)


def test_the_vaes_that_people_ask_for_have_cards() -> None:
    assert [name for name in WANTED.split() if entry_named(name) is None] == []


def test_every_file_is_somewhere() -> None:
    for entry in catalog_entries():
        for file in entry.files:
            assert file.path
            if file.url:
                assert re.fullmatch(r"https://\S+", file.url)
            else:
                assert re.fullmatch(r"[\w.-]+/[\w.-]+", file.repo) if file.repo else file.path == entry.packaged
        assert all(n == 1 for n in Counter((file.repo, file.path) for file in entry.files).values())


def test_a_maker_is_one_of_those_who_have_the_file() -> None:
    made = {entry.name: entry for entry in catalog_entries() if entry.maker}
    assert made["flux.1"].maker == "black-forest-labs/FLUX.1-schnell"
    assert made["wan-2.1"].maker == "Wan-AI/Wan2.1-T2V-1.3B"
    for entry in made.values():
        assert entry.maker in {file.repo for file in entry.files}


def test_cards_configure_only_what_their_family_has() -> None:
    for entry in catalog_entries():
        space = latent_space_named(entry.latent_space)
        if space is not None:
            fields = {field.name for field in dataclasses.fields(family_of(space.family).config)}
            assert entry.config.keys() <= fields - space.match.keys()


def test_hashes_are_whole_and_belong_to_one_card() -> None:
    owners = {(file.sha256, entry.name) for entry in catalog_entries() for file in entry.files if file.sha256}
    assert len({digest for digest, _ in owners}) == len(owners)
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest, _ in owners)
    assert all(file.sha256 for entry in catalog_entries() for file in entry.files if file.verified)


def test_copies_of_one_file_agree() -> None:
    facts = {
        (file.sha256, file.verified, file.bytes) for entry in catalog_entries() for file in entry.files if file.sha256
    }
    assert len({digest for digest, *_ in facts}) == len(facts)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("taesd", "taesd"),
        ("taesd/taesd_encoder.safetensors", "taesd"),
        ("taesd/taesd_decoder.safetensors", "taesd"),
        ("taesd3/taesd3_encoder.safetensors", "taesd3"),
        ("taesd3/taesd3_decoder.safetensors", "taesd3"),
        ("taef2/taef2_encoder.pth", "taef2"),
        ("taef2/taef2_decoder.pth", "taef2"),
        ("vae_approx/model.pt", "vae-approx"),
    ],
)
def test_published_files_are_known(shared_data: Path, path: str, name: str) -> None:
    assert inspect_module.inspect_path(shared_data / "vae" / path).catalog_entry == entry_named(name)


def test_packaged_weights_are_those_of_the_cards() -> None:
    assert packaged_weights() == {entry.name: entry.packaged for entry in catalog_entries() if entry.packaged}


def test_packaged_cards_load() -> None:
    packaged = [entry for entry in catalog_entries() if entry.packaged]
    assert packaged
    for entry in packaged:
        assert load(entry.name).encoder is not None


SIXTEEN = WanConfig(3, 16, (96, 192, 384, 384), (384, 384, 192, 96), 2, 3, (1, 2), True)
PRUNED = dataclasses.replace(SIXTEEN, temporal=False, time_levels=())
RGBA = Wan22Config(4, 64, (96, 192, 384, 768, 768), (1152, 1152, 576, 288, 144), 2, 3, (1, 2, 3), False, 1)


@pytest.mark.parametrize(
    ("family", "config", "names", "theirs", "channels"),
    [
        ("wan", SIXTEEN, ["Wan 2.1", "Qwen-Image"], AutoencoderKLWan, 16),
        ("wan", PRUNED, ["Wan 2.1", "Qwen-Image"], AutoencoderKLQwenImage, 16),
        ("wan2.2", RGBA, ["Qwen-Image 2.1 (RGBA)"], AutoencoderKLQwenImage21, 64),
    ],
)
def test_the_normalizations_of_wan_and_its_twins_are_those_of_diffusers(
    family: str, config: WanConfig, names: list[str], theirs: Any, channels: int
) -> None:
    """Twins share a normalization, so it is known even where the name is not."""
    candidates = matching_latent_spaces(family, config)
    assert [space.name for space in candidates] == names
    defaults = {name: entry.default for name, entry in inspect.signature(theirs.__init__).parameters.items()}
    mean, std = defaults["latents_mean"], defaults["latents_std"]
    normalization = shared_normalization(candidates)
    assert normalization == LatentNormalization(tuple(mean), tuple(1 / value for value in std))
    assert len(mean) == channels


def largest_difference(a: LatentNormalization, b: LatentNormalization, channels: int) -> float:
    """The largest relative difference of two values."""
    values = zip(sum(a.per_channel(channels), ()), sum(b.per_channel(channels), ()), strict=True)
    return max(abs(x - y) / max(abs(x), abs(y)) if x != y else 0.0 for x, y in values)


def test_known_latent_spaces_differ_by_far_more_than_rounding() -> None:
    """What `TOLERANCE` is compared with: of the same number of channels, two are equal or at least 3.5 % apart."""
    known = [
        (space.name, space.match["latent_channels"], space.normalization)
        for space in latent_spaces()
        if space.normalization
    ]
    apart = {}
    for (name, channels, a), (other, as_many, b) in itertools.combinations(known, 2):
        if channels == as_many and a != b:
            assert not a.is_close(b, channels=channels) and not b.is_close(a, channels=channels), (name, other)
            apart[name, other] = largest_difference(a, b, channels)
    assert min(apart.values()) > 0.035 > 4 * TOLERANCE
    assert apart["SD1 / SD2", "SDXL"] == pytest.approx(0.285, abs=1e-3)
    assert ("SD3 / SD3.5", "FLUX.1") in apart


@pytest.mark.parametrize(
    ("name", "family"), [("SD1 and SDXL", "kl"), ("Wan 2.1 and Qwen-Image", "wan"), ("TAESD", "tiny")]
)
@pytest.mark.parametrize("channels", [1, 4, 12])
def test_vaes_of_other_image_channels_have_latents_of_their_own(name: str, family: str, channels: int) -> None:
    config = PUBLISHED[name]
    assert matching_latent_spaces(family, config)
    assert not matching_latent_spaces(family, dataclasses.replace(config, image_channels=channels))
    known = config.latent_channels, family
    assert latent_spaces_with(*known, image_channels=3)
    assert not latent_spaces_with(*known, image_channels=channels)


@pytest.mark.parametrize("channels", [1, 3])
def test_small_vaes_of_one_image_size_match_with_any_image_channels(channels: int) -> None:
    assert matching_latent_spaces("burgess", BurgessConfig(channels, 32, 32, 256, 10))
