"""Terms about waveforms."""

import pytest
import torch
from small_audio import audio_vae

from vaekit.errors import BadRecipe
from vaekit.training.objectives import Pass, Term
from vaekit.training.terms.audio import log_mel, stft


def passed(x: torch.Tensor) -> Pass:
    return Pass(audio_vae(), x, 0, torch.Generator())


@pytest.mark.parametrize("term", [stft(), stft((64, 32)), log_mel(8000), log_mel(100, (0.5,), 8)])
def test_terms_have_a_value_and_gradients_for_each_item(term: Term) -> None:
    forward = passed(torch.randn(2, 1, 512) / 10)
    values = term.compute(forward)
    assert values.shape == (2,) and (values > 0).all() and not term.nats
    values.sum().backward()
    assert all(each.grad is None or each.grad.isfinite().all() for each in forward.vae.parameters())


def test_other_items_are_refused() -> None:
    for term in (stft(), log_mel(8000)):
        with pytest.raises(BadRecipe):
            term.compute(passed(torch.zeros(1, 3, 8, 8)))


def test_settings_that_make_no_sense() -> None:
    for make in (lambda: stft(()), lambda: stft((4,)), lambda: log_mel(0), lambda: log_mel(8000, ())):
        with pytest.raises(ValueError):
            make()
