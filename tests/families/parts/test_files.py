"""VAEs described part by part: their config from the words of a file or recipe, and the names of their tensors."""

from typing import Any

import pytest
from refusals import refuses

from vaekit.errors import UnknownVAE
from vaekit.families.parts.code_parts import FSQPart
from vaekit.families.parts.files import FAMILY, LAYOUT, config_from_fields, not_detectable, part_from_fields
from vaekit.families.parts.net import NETS, CustomaryPart, GaussianPart, PartsConfig
from vaekit.nets.likelihoods import NormalPart
from vaekit.nets.mlp import MLPConfig
from vaekit.nets.residual import ResidualConfig

WORDS: dict[str, Any] = {
    "net": {"kind": "mlp", "data_shape": [5], "latent_channels": 3, "hidden": [8]},
    "posterior": {"kind": "gaussian"},
    "likelihood": {"kind": "normal"},
}
TOKENS = {"kind": "tokens", "vocabulary": 5, "length": 4, "latent_channels": 3}


def test_each_part_is_built_from_its_words() -> None:
    assert config_from_fields(WORDS) == PartsConfig(MLPConfig((5,), 3, (8,)), GaussianPart(), NormalPart())
    assert config_from_fields({**WORDS, "prior": {"kind": "customary"}}).prior == CustomaryPart()
    fsq = {**WORDS, "posterior": {"kind": "fsq", "levels": [4, 3, 3]}}
    assert config_from_fields(fsq).posterior == FSQPart((4, 3, 3))


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"net": None}, ["net", "mlp"]),
        ({"net": {"kind": "unet"}}, ["net", "unet", "mlp"]),
        ({"net": {"kind": ["mlp"]}}, ["net", "mlp"]),
        ({"posterior": "gaussian"}, ["posterior"]),
        ({"likelihood": {}}, ["likelihood", "bernoulli"]),
        ({"prior": {"kind": "magic"}}, ["prior", "magic", "vamp"]),
        ({"decoder": {"kind": "mlp"}}, ["decoder", "net, posterior, likelihood, prior"]),
        ({"net": {**WORDS["net"], "depth": 3}}, ["net", "mlp", "depth"]),
        ({"net": {"kind": "mlp", "data_shape": [5]}}, ["net", "mlp", "hidden"]),
        ({"net": {**WORDS["net"], "hidden": "8"}}, ["net", "mlp", "hidden"]),
        ({"posterior": {"kind": "fsq", "levels": [4, 3]}}, ["fsq", "latent_channels", "2", "3"]),
        ({"likelihood": {"kind": "tokens"}}, []),
        ({"net": {**WORDS["net"], "hidden": [10**10] * 2}}, []),
        ({"net": {**TOKENS, "width": 10**9}, "likelihood": {"kind": "tokens"}}, []),
        ({"net": {**TOKENS, "layers": 10**9}, "likelihood": {"kind": "tokens"}}, ["blocks", "10,000"]),
        ({"net": {**WORDS["net"], "latent_channels": 10**18}}, []),
        ({"prior": {"kind": "flow", "layers": 10**9}}, ["flow", "layers"]),
        ({"prior": {"kind": "vamp", "components": 10**30}}, []),
    ],
)
def test_words_that_make_no_vae_are_refused(change: dict[str, Any], facts: list[str]) -> None:
    with refuses(UnknownVAE, *facts):
        config_from_fields({name: part for name, part in {**WORDS, **change}.items() if part is not None})


def test_fields_of_the_first_edition_have_their_old_names() -> None:
    words = {"kind": "residual", "image_channels": 1, "latent_channels": 3, "widths": [8], "blocks": 1}
    expected = ResidualConfig(1, 16, 3, (8,), 1)
    assert part_from_fields("net", {**words, "picture_size": 16}, NETS) == expected
    assert part_from_fields("net", {**words, "image_size": 16}, NETS) == expected


def test_shapes_alone_tell_no_config() -> None:
    assert not_detectable({"encoder.0.weight": (8, 5)}) is None
    assert FAMILY.detect({"encoder.0.weight": (8, 5)}) is None


def test_names_are_those_of_the_parts() -> None:
    for key in ("encoder.a.b", "decoder.0.weight", "to_posterior.codebook", "to_likelihood.scale", "to_prior.x"):
        assert LAYOUT.to_native(key, 1) == LAYOUT.from_native(key, 1) == key
    assert LAYOUT.to_native("optimizer.0", 1) is None
    assert LAYOUT.prefixes(["vae.encoder.0.weight"]) == {}
