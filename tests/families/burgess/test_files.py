"""Files of the VAEs of disentangling-vae: names and detection."""

from dataclasses import replace

import pytest
from shapes_of_configs import assert_names, native_shapes

from vaekit.families.burgess.files import LAYOUTS, detect_burgess
from vaekit.families.burgess.net import BurgessConfig

CONFIGS = [BurgessConfig(1, 32, 8, 16, 5), BurgessConfig(3, 64, 8, 16, 5)]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("half", ["", "encoder", "decoder"])
def test_the_config_is_read_off_either_half(config: BurgessConfig, half: str) -> None:
    assert (
        detect_burgess({key: shape for key, shape in native_shapes(config).items() if key.startswith(half)}) == config
    )


@pytest.mark.parametrize("key", ["conv1.weight", "mu_logvar_gen.weight"])
def test_half_an_encoder_tells_nothing(key: str) -> None:
    encoder = {name: shape for name, shape in native_shapes(CONFIGS[0]).items() if name.startswith("encoder")}
    del encoder[f"encoder.{key}"]
    assert detect_burgess(encoder) is None
    assert detect_burgess({}) is None


@pytest.mark.parametrize("key", ["encoder.mu_logvar_gen.weight", "encoder.conv1.weight"])
def test_layers_of_another_shape_are_not_believed(key: str) -> None:
    shapes = native_shapes(CONFIGS[0])
    odd = {**shapes, key: (10, 16, 1)}
    assert detect_burgess(odd) == CONFIGS[0], "the decoder tells the same"
    assert detect_burgess({name: shape for name, shape in odd.items() if name.startswith("encoder")}) is None


def test_the_numbers_of_each_end_are_its_own() -> None:
    shapes = dict(native_shapes(replace(CONFIGS[0], hidden=24, latent_channels=7)))
    found = detect_burgess(shapes)
    assert found is not None
    assert (found.hidden, found.latent_channels) == (24, 7)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_published_names_are_the_native_ones(layout: object) -> None:
    names = ("encoder.conv_64.weight", "encoder.mu_logvar_gen.bias", "decoder.convT_64.weight", "decoder.lin3.bias")
    assert_names(layout, CONFIGS[1], {name: name for name in names})  # type: ignore[arg-type]
