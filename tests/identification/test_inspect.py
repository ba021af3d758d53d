"""What `inspect` says of a file."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from published_configs import PUBLISHED
from recognized_examples import RECOGNIZED
from safetensors.torch import load_file, save_file
from shapes_of_configs import native_shapes

from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.identification.fingerprint import fingerprint
from vaekit.library.inspect import inspect
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE


def test_the_facts_about_a_saved_vae(kl_vae: VAE, tmp_path: Path) -> None:
    save(kl_vae.half(), tmp_path / "x.safetensors", "ldm")
    facts = inspect(tmp_path / "x.safetensors")
    assert (facts.family, facts.layout, facts.prefix, facts.format) == ("kl", "ldm", "", "safetensors")
    assert (facts.latent_channels, facts.factor, facts.compression) == (4, 2, 3.0)
    assert (facts.halves, facts.dtypes) == (("encoder", "decoder"), ("float16",))
    assert (facts.normalization, facts.normalization_source) == (kl_vae.normalization, "the file's metadata")
    assert facts.parameters == sum(parameter.numel() for parameter in kl_vae.parameters())
    assert facts.fingerprint == fingerprint(kl_vae)
    assert json.loads(json.dumps(dataclasses.asdict(facts)))["config"]["encoder_widths"] == [32, 64]


@pytest.mark.parametrize(
    ("folder", "channels", "dtype", "normalization"),
    [
        ("taesd", 4, "bfloat16", LatentNormalization()),
        ("taesd3", 16, "bfloat16", LatentNormalization()),
        ("taef2", 32, "float16", None),
    ],
)
def test_the_shared_tiny_autoencoders(
    shared_data: Path, folder: str, channels: int, dtype: str, normalization: LatentNormalization | None
) -> None:
    facts = inspect(shared_data / "vae" / folder)
    assert (facts.family, facts.layout, facts.latent_channels, facts.factor) == ("tiny", "tiny", channels, 8)
    assert (facts.dtypes, facts.normalization, len(facts.candidate_models)) == ((dtype,), normalization, 1)
    assert facts.halves == ("encoder", "decoder")
    assert facts.format == ("pickle" if folder == "taef2" else "safetensors")


@pytest.mark.parametrize(
    ("path", "family", "candidate_models", "latent", "size", "halves"),
    [
        ("taesana/taesana_encoder.pth", "tiny", "TAESANA (latents of Sana's DC-AE)", (32, 32), None, 1),
        ("vae_approx/model.pt", "approx", "VAE-approx (previews of SD1 latents)", (4, 2), None, 1),
        ("disentangling/VAE_mnist/model.pt", "burgess", "disentangling-vae 32x32", (10, 32), 32, 2),
        ("disentangling/betaB_mnist/model.pt", "burgess", "disentangling-vae 32x32", (10, 32), 32, 2),
        ("disentangling/btcvae_mnist/model.pt", "burgess", "disentangling-vae 32x32", (10, 32), 32, 2),
        ("disentangling/VAE_celeba/model.pt", "burgess", "disentangling-vae 64x64", (10, 64), 64, 2),
        ("disentangling/btcvae_dsprites/model.pt", "burgess", "disentangling-vae 64x64", (10, 64), 64, 2),
        ("joint/mnist/model.pt", "joint", "JointVAE 32x32", (20, 32), 32, 2),
        ("joint/celeba/model.pt", "joint", "JointVAE 64x64", (42, 64), 64, 2),
    ],
)
def test_the_shared_smaller_families(
    shared_data: Path,
    path: str,
    family: str,
    candidate_models: str,
    latent: tuple[int, int],
    size: int | None,
    halves: int,
) -> None:
    facts = inspect(shared_data / "vae" / path)
    assert (facts.family, facts.candidate_models, len(facts.halves)) == (family, (candidate_models,), halves)
    assert ((facts.latent_channels, facts.factor), facts.image_size) == (latent, size)
    if size is None:
        assert facts.normalization == LatentNormalization()
    else:
        assert facts.problems == (
            "The normalization is unknown: no diffusion model uses such latents, and each of these VAEs has its own "
            "latent space.",
        )


@pytest.mark.parametrize(("half", "verb"), [("encoder", "encode"), ("decoder", "decode")])
def test_halves(shared_data: Path, half: str, verb: str) -> None:
    facts = inspect(shared_data / "vae" / "taesd" / f"taesd_{half}.safetensors")
    assert (facts.halves, facts.layout, facts.normalization) == ((half,), f"tiny-{half}", LatentNormalization())
    assert facts.problems == (
        f"Only the {half} is present: it can {verb}, but not {'decode' if verb == 'encode' else 'encode'}.",
    )
    assert 1_222_000 < facts.parameters < 1_223_000
    assert facts.fingerprint != inspect(shared_data / "vae" / "taesd").fingerprint


def test_problems_are_told(kl_vae: VAE, tmp_path: Path) -> None:
    save(kl_vae, tmp_path / "x.safetensors", "ldm")
    tensors = {f"vae.{key}": tensor for key, tensor in load_file(tmp_path / "x.safetensors").items()}
    save_file(tensors | {"unet.weight": torch.ones(2), "step": torch.ones(1)}, tmp_path / "x.safetensors")
    facts = inspect(str(tmp_path / "x.safetensors"))
    assert facts.prefix == "vae."
    told = " ".join(facts.problems)
    for part in ("normalization is unknown", "2 other tensors", "norm groups is assumed to be 32"):
        assert part in told


def test_a_copy_that_lost_its_metadata_has_the_same_fingerprint(kl_vae: VAE, tmp_path: Path) -> None:
    save(kl_vae, tmp_path / "a.safetensors", "diffusers")
    save_file(load_file(tmp_path / "a.safetensors"), tmp_path / "b.safetensors")
    a, b = inspect(tmp_path / "a.safetensors"), inspect(tmp_path / "b.safetensors")
    assert (a.fingerprint, a.config) == (b.fingerprint, b.config)
    assert b.normalization is None
    assert load(tmp_path / "b.safetensors").normalization is None


@pytest.mark.parametrize(
    ("sample", "media", "latents", "compression", "used_by"),
    [
        ("SeedVR2", "video", (16, 8, 4), 48.0, "SeedVR2"),
        ("Mage", "images", (128, 16, None), 6.0, "Mage-Flow"),
        ("Music 3", "sound", (128, None, 512), None, "MiniMax Music 3"),
    ],
)
def test_the_facts_about_a_vae_that_does_not_run(
    tmp_path: Path,
    sample: str,
    media: str,
    latents: tuple[int | None, ...],
    compression: float | None,
    used_by: str,
) -> None:
    shapes = RECOGNIZED[sample][3]()
    save_file({key: torch.zeros(shape, dtype=torch.uint8) for key, shape in shapes.items()}, tmp_path / "x.safetensors")
    facts = inspect(tmp_path / "x.safetensors")
    assert (facts.runnable, facts.family) == (False, RECOGNIZED[sample][0])
    assert (facts.latent_channels, facts.factor, facts.steps) == latents
    assert (facts.media, facts.compression) == (media, compression)
    assert used_by in facts.used_by and facts.normalization_source


def test_fine_tuned_vaes_with_the_same_tensors_are_listed(
    sparse_file: Callable[..., Path], sd_shapes: Callable[..., dict[str, tuple[int, ...]]]
) -> None:
    """For FLUX.1's shapes, of which nothing is known; a normalization that the file states excludes them."""
    facts = inspect(sparse_file("x.safetensors", sd_shapes(16)), hash=False, measure=False)
    assert (facts.normalization, facts.candidate_models) == (None, ("SD3 / SD3.5", "FLUX.1"))
    assert facts.twins == ("REPA-E e2e-sd3.5-vae", "REPA-E e2e-flux-vae", "ms-lc-eq-d-vr-flux")
    assert {"Z-Image", "Chroma"} <= set(facts.used_by)
    assert any("e2e-flux-vae" in problem for problem in facts.problems)
    own = {"vaekit.normalization": json.dumps({"shift": [0.1159], "scale": [0.3611], "patch": 1})}
    facts = inspect(sparse_file("y.safetensors", sd_shapes(16), own), hash=False, measure=False)
    assert (facts.candidate_models, facts.twins) == (("FLUX.1",), ())


def test_a_normalization_of_the_shapes_is_not_silent_about_fine_tuned_vaes(sparse_file: Callable[..., Path]) -> None:
    shapes = native_shapes(PUBLISHED["Wan 2.1 and Qwen-Image"])
    facts = inspect(sparse_file("x.safetensors", shapes), hash=False, measure=False)
    assert facts.candidate_models == ("Wan 2.1", "Qwen-Image") and facts.twins == ("REPA-E e2e-qwenimage-vae",)
    assert facts.normalization is not None
    assert any("REPA-E/e2e-qwenimage-vae" in problem for problem in facts.problems)
