"""Files of codecs with a hyperprior: names and detection."""

from dataclasses import replace

import pytest
from family_examples import EXAMPLES
from shapes_of_configs import native_shapes

from vaekit.families.hyperprior.files import detect_hyperprior
from vaekit.families.hyperprior.net import HyperpriorVAEConfig

EXAMPLE = EXAMPLES["hyperprior"]
assert isinstance(EXAMPLE, HyperpriorVAEConfig)
CONFIGS = [EXAMPLE, replace(EXAMPLE, image_channels=1, slices=(3,), encoder_blocks=0, filter_width=7, slice_width=5)]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_the_config_follows_from_the_shapes(config: HyperpriorVAEConfig) -> None:
    assert detect_hyperprior(native_shapes(config)) == config


def test_a_missing_half_is_assumed_to_mirror_the_other() -> None:
    shapes = native_shapes(EXAMPLE)
    decoder = detect_hyperprior({name: shape for name, shape in shapes.items() if not name.startswith("encoder")})
    assert decoder == replace(EXAMPLE, encoder_blocks=EXAMPLE.decoder_blocks)
    encoder = detect_hyperprior({name: shape for name, shape in shapes.items() if not name.startswith("decoder")})
    assert encoder == replace(EXAMPLE, decoder_blocks=EXAMPLE.encoder_blocks, filter_width=EXAMPLE.hidden)


@pytest.mark.parametrize("key", ["to_prior.analysis.4.weight", "to_prior.slices.1.4.weight"])
def test_without_its_prior_it_is_none_of_them(key: str) -> None:
    shapes = dict(native_shapes(EXAMPLE))
    shapes[key] = (1, 2, 3)
    assert detect_hyperprior(shapes) is None
    assert detect_hyperprior({}) is None
