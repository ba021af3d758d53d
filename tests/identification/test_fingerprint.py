"""One fingerprint for the same weights in whatever file, and another for any other weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.identification.fingerprint import fingerprint
from vaekit.vae import VAE


def test_it_survives_layout_folder_prefix_order_and_format(kl_vae: VAE, tmp_path: Path) -> None:
    expected = fingerprint(kl_vae)
    assert len(expected) == 64
    for layout, place in (("native", "a.safetensors"), ("diffusers", "b.safetensors"), ("diffusers", "c")):
        save(kl_vae, tmp_path / place, layout)
        assert fingerprint(load(tmp_path / place)) == expected
    save(kl_vae, tmp_path / "d.safetensors", "ldm")
    tensors = {f"first_stage_model.{key}": t for key, t in reversed(load_file(tmp_path / "d.safetensors").items())}
    save_file(tensors, tmp_path / "e.safetensors")
    torch.save(tensors, tmp_path / "e.pt")
    assert fingerprint(load(tmp_path / "e.safetensors")) == fingerprint(load(tmp_path / "e.pt")) == expected


def test_it_survives_the_two_files_of_a_tiny_autoencoder(tiny_vae: VAE, tmp_path: Path) -> None:
    save(tiny_vae, tmp_path / "halves", "tiny")
    assert fingerprint(load(tmp_path / "halves")) == fingerprint(tiny_vae)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_it_survives_a_lossless_upcast_and_not_rounding(kl_vae: VAE, dtype: torch.dtype) -> None:
    exact = fingerprint(kl_vae)
    rounded = fingerprint(kl_vae.to(dtype))
    assert rounded != exact
    assert fingerprint(kl_vae.float()) == rounded


def test_it_changes_with_one_weight(kl_vae: VAE) -> None:
    before = fingerprint(kl_vae)
    for key in ("encoder.conv_in.weight", "decoder.up.1.block.1.norm2.bias"):
        with torch.no_grad():
            kl_vae.state_dict()[key].flatten()[-1].add_(0.01)
        after = fingerprint(kl_vae)
        assert after != before
        before = after


def test_it_tells_exchanged_tensors_and_halves(kl_vae: VAE) -> None:
    whole = fingerprint(kl_vae)
    query, key = (kl_vae.get_parameter(f"encoder.mid.attn_1.{name}.weight") for name in "qk")
    with torch.no_grad():
        kept = query.clone()
        query.copy_(key)
        key.copy_(kept)
    exchanged = fingerprint(kl_vae)
    kl_vae.decoder = None
    assert len({whole, exchanged, fingerprint(kl_vae)}) == 3
