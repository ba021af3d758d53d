"""Names of training wrappers, and of averaged weights."""

import pytest

from vaekit.formats.wrapper_names import FLAT, averaging, unwrapped


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("encoder._orig_mod.conv_in.weight", "encoder.conv_in.weight"),
        ("encoder.down.0.module._checkpoint_wrapped_module.conv.weight", "encoder.down.0.conv.weight"),
        ("_fsdp_wrapped_module._fpw_module.decoder.bias", "decoder.bias"),
        ("context_module.main.local_module.weight", "context_module.main.local_module.weight"),
        ("encoder.module", "encoder.module"),
        ("", ""),
    ],
)
def test_unwrapped(name: str, expected: str) -> None:
    assert unwrapped(name) == expected


@pytest.mark.parametrize(
    "name",
    ["ema", "model_ema", "ema_model.", "params_ema", "netG_ema", "EMA", "EMACallback{}", "swa_model", "ModelEMA"],
)
def test_names_of_averages(name: str) -> None:
    assert averaging(name)


@pytest.mark.parametrize("name", ["model", "schema", "cinema.x", "state_dict", "", "1234"])
def test_names_that_say_nothing(name: str) -> None:
    assert averaging(name) is None


def test_the_last_word_decides() -> None:
    assert averaging("ema.online_model.") is False
    assert averaging("online.ema_model.") is True


@pytest.mark.parametrize("name", ["_flat_param", "a._fsdp_wrapped_module._flat_param", "x.flat_param_0", "flat_param"])
def test_flattened_parameters(name: str) -> None:
    assert FLAT.fullmatch(name)
    assert not FLAT.fullmatch(name + ".weight")
