"""Saved in any layout and dtype and loaded back: the same weights, bit for bit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from refusals import refuses
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from slow_cases import nightly

from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.errors import CannotWrite, HalfMissing, WrongTensors
from vaekit.families import family_of
from vaekit.families.kl.net import KLConfig
from vaekit.identification.identify import identify
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE, normalize

DTYPES = [
    torch.float16,
    *nightly(torch.float32, torch.bfloat16, torch.float64),
]
PLACES = {
    "native": "x.safetensors",
    "ldm": "x.safetensors",
    "original": "x.safetensors",
    "diffusers": "folder",
    "tiny": "folder",
}


def assert_same(a: VAE, b: VAE) -> None:
    theirs, ours = a.state_dict(), b.state_dict()
    assert list(theirs) == list(ours)
    for key in ours:
        assert theirs[key].dtype == ours[key].dtype
        assert torch.equal(theirs[key], ours[key])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("layout", "place"),
    [("native", "x.safetensors"), ("ldm", "x.safetensors"), ("diffusers", "folder"), ("diffusers", "x.safetensors")],
)
def test_kl_survives_every_layout(kl_vae: VAE, tmp_path: Path, layout: str, place: str, dtype: torch.dtype) -> None:
    save(kl_vae.to(dtype), tmp_path / place, layout)
    loaded = load(tmp_path / place)
    assert_same(kl_vae, loaded)
    assert (loaded.normalization, identify(tmp_path / place).layout) == (kl_vae.normalization, layout)
    assert not loaded.training


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["native", "diffusers", "tiny"])
def test_tiny_survives_every_layout(tiny_vae: VAE, tmp_path: Path, layout: str, dtype: torch.dtype) -> None:
    save(tiny_vae.to(dtype), tmp_path / PLACES[layout], layout)
    assert_same(tiny_vae, load(tmp_path / PLACES[layout]))
    assert identify(tmp_path / PLACES[layout]).layout == layout


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["native", "ldm", "diffusers"])
def test_vq_survives_every_layout(vq_vae: VAE, tmp_path: Path, layout: str, dtype: torch.dtype) -> None:
    save(vq_vae.to(dtype), tmp_path / PLACES[layout], layout)
    assert_same(vq_vae, load(tmp_path / PLACES[layout]))
    seen = identify(tmp_path / PLACES[layout])
    assert (seen.family.name, seen.layout, seen.normalization) == ("vq", layout, vq_vae.normalization)


WRITTEN = {
    "asymmetric_vae": ("native", "ldm", "diffusers"),
    "stem_vae": ("native", "tiny"),
    "approx_vae": ("native", "original"),
    "burgess_vae": ("native", "original"),
    "joint_vae": ("native", "original"),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "layout"), [(name, layout) for name, layouts in WRITTEN.items() for layout in layouts]
)
def test_every_family_survives_every_layout(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, layout: str, dtype: torch.dtype
) -> None:
    vae: VAE = request.getfixturevalue(name)
    save(vae.to(dtype), tmp_path / PLACES[layout], layout)
    assert_same(vae, load(tmp_path / PLACES[layout]))
    seen = identify(tmp_path / PLACES[layout])
    # The names of the burgess family are those of its code: its two layouts are the same file.
    expected = "original" if name == "burgess_vae" else layout
    assert (seen.config, seen.layout, seen.normalization) == (vae.config, expected, vae.normalization)


@pytest.mark.parametrize("name", ["asymmetric_vae", "burgess_vae", "joint_vae"])
@pytest.mark.parametrize("prefix", ["first_stage_model.", "some.odd.prefix."])
def test_a_copy_behind_a_prefix_among_others_is_found(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, prefix: str
) -> None:
    vae: VAE = request.getfixturevalue(name)
    save(vae.half(), tmp_path / "x.safetensors", WRITTEN[name][1])
    inside = {prefix + key: tensor for key, tensor in load_file(tmp_path / "x.safetensors").items()}
    shuffled = dict(sorted(inside.items(), key=lambda item: item[0][::-1]))
    save_file(shuffled | {"unet.weight": torch.ones(2)}, tmp_path / "x.safetensors")
    seen = identify(tmp_path / "x.safetensors")
    assert (seen.config, seen.parts[0].prefix, seen.parts[0].ignored) == (vae.config, prefix, 1)
    assert_same(vae, load(tmp_path / "x.safetensors"))


def test_layers_that_the_original_code_never_reads_are_left_out(asymmetric_vae: VAE, tmp_path: Path) -> None:
    save(asymmetric_vae, tmp_path / "x.safetensors", "ldm")
    idle = {f"decoder.up_layers.{i}.deconv.{leaf}": torch.ones(3) for i in range(4) for leaf in ("weight", "bias")}
    published = load_file(tmp_path / "x.safetensors") | idle | {"loss.logvar": torch.ones(())}
    torch.save({"state_dict": published, "epoch": 3}, tmp_path / "x.ckpt")
    seen = identify(tmp_path / "x.ckpt")
    assert (seen.family.name, seen.layout, seen.parts[0].ignored) == ("asymmetric", "ldm", 9)
    assert_same(asymmetric_vae, load(tmp_path / "x.ckpt"))


@pytest.mark.parametrize(
    ("name", "layout"), [("burgess_vae", "ldm"), ("joint_vae", "diffusers"), ("kl_vae", "original")]
)
def test_a_layout_that_a_family_has_not_is_refused_with_those_that_it_has(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, layout: str
) -> None:
    theirs = ("native", "diffusers", "ldm") if name == "kl_vae" else ("native", "original")
    with refuses(WrongTensors, layout, *theirs):
        save(request.getfixturevalue(name), tmp_path / "x.safetensors", layout)


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_half_of_a_vq_keeps_its_codebook(vq_vae: VAE, tmp_path: Path, half: str) -> None:
    setattr(vq_vae, "decoder" if half == "encoder" else "encoder", None)
    save(vq_vae, tmp_path / "x.safetensors")
    assert_same(vq_vae, load(tmp_path / "x.safetensors"))


@pytest.mark.parametrize(
    "normalization", [LatentNormalization((0.5,), (2.0,)), LatentNormalization((0.0,), (1.0, 2.0, 3.0, 4.0))]
)
def test_vq_model_knows_one_factor_only(vq_vae: VAE, tmp_path: Path, normalization: LatentNormalization) -> None:
    vq_vae.normalization = normalization
    with refuses(WrongTensors, "VQModel"):
        save(vq_vae, tmp_path / "folder", "diffusers")
    vq_vae.normalization = None
    save(vq_vae, tmp_path / "folder", "diffusers")
    assert load(tmp_path / "folder").normalization is None


def test_attention_inside_levels_opens_in_diffusers(random_vae: Callable[..., VAE], tmp_path: Path) -> None:
    from diffusers import AutoencoderKL

    config = KLConfig(3, 4, 4, (32, 64), (32, 64), 1, 2, (1,), (0, 1), True, True, True, 32)
    inside = random_vae(config, None)
    save(inside, tmp_path / "folder", "diffusers")
    assert_same_output(inside, AutoencoderKL.from_pretrained(tmp_path / "folder").eval())


@pytest.mark.parametrize("layout", ["native", "ldm"])
def test_attention_inside_levels_survives(deep_vae: VAE, tmp_path: Path, layout: str) -> None:
    save(deep_vae, tmp_path / "x.safetensors", layout)
    assert_same(deep_vae, load(tmp_path / "x.safetensors"))


@pytest.mark.parametrize("layout", ["native", "tiny"])
def test_the_pool_branch_survives(pooled_vae: VAE, tmp_path: Path, layout: str) -> None:
    save(pooled_vae, tmp_path / PLACES[layout], layout)
    assert_same(pooled_vae, load(tmp_path / PLACES[layout]))


@pytest.mark.parametrize("layout", ["native", "ldm", "diffusers"])
def test_a_saved_vae_can_be_saved_again_from_its_mapped_file(kl_vae: VAE, tmp_path: Path, layout: str) -> None:
    save(kl_vae, tmp_path / "a.safetensors")
    save(load(tmp_path / "a.safetensors"), tmp_path / "b.safetensors", layout)
    save(load(tmp_path / "b.safetensors"), tmp_path / "a.safetensors")
    assert_same(kl_vae, load(tmp_path / "a.safetensors"))


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_halves_have_files_of_their_own(kl_vae: VAE, tiny_vae: VAE, tmp_path: Path, half: str) -> None:
    other = "decoder" if half == "encoder" else "encoder"
    for vae, layout, place in ((kl_vae, "native", "x.safetensors"), (tiny_vae, "tiny", "halves")):
        setattr(vae, other, None)
        save(vae, tmp_path / place, layout)
        assert_same(vae, load(tmp_path / place))
        with refuses(HalfMissing, half):
            save(vae, tmp_path / "folder", "diffusers")


def test_the_numbers_of_norm_groups_is_remembered(kl_vae: VAE, tmp_path: Path) -> None:
    from vaekit.families.kl.net import build

    config = KLConfig(3, 2, 2, (8, 12), (8, 12), 1, 2, (), (), False, False, False, 4)
    kl_vae.encoder, kl_vae.decoder = build(config)
    for place, layout in (("x.safetensors", "ldm"), ("folder", "diffusers")):
        save(kl_vae, tmp_path / place, layout)
        assert identify(tmp_path / place).config == config


NORMALIZATIONS = [
    LatentNormalization(),
    LatentNormalization((0.1159,), (0.3611,)),
    LatentNormalization((0.0,), (0.18215,)),
    LatentNormalization((0.1, 0.2, 0.3, 0.4), (1.1, 1.2, 1.3, 1.7)),
    LatentNormalization((0.0,), (1.1, 1.2, 1.3, 1.7)),
    LatentNormalization(tuple(map(float, range(16))), (2.0,), patch=2),
    LatentNormalization((0.0,), (2.0,), patch=4),
]


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_a_normalization_comes_back(kl_vae: VAE, tmp_path: Path, normalization: LatentNormalization) -> None:
    kl_vae.normalization = normalization
    save(kl_vae, tmp_path / "x.safetensors")
    assert load(tmp_path / "x.safetensors").normalization == normalization
    if normalization.patch == 4:
        with refuses(WrongTensors, "4x4"):
            save(kl_vae, tmp_path / "folder", "diffusers")
    else:
        save(kl_vae, tmp_path / "folder", "diffusers")
        back, z = load(tmp_path / "folder").normalization, torch.ones(1, 4, 4, 4)
        assert back is not None
        torch.testing.assert_close(normalize(z, back), normalize(z, normalization))


def test_diffusers_opens_what_was_saved(kl_vae: VAE, tmp_path: Path) -> None:
    from diffusers import AutoencoderKL

    for normalization in (kl_vae.normalization, None):
        kl_vae.normalization = normalization
        save(kl_vae, tmp_path / str(normalization is None), "diffusers")
        theirs = AutoencoderKL.from_pretrained(tmp_path / str(normalization is None)).eval()
        assert theirs.config.scaling_factor == (None if normalization is None else 0.25)
        assert_same_output(kl_vae, theirs)


def assert_same_output(ours: VAE, theirs: torch.nn.Module) -> None:
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(x).mean, theirs.encode(x).latent_dist.mean)
        z = ours.encode(x).mean
        torch.testing.assert_close(ours.decode(z), theirs.decode(z).sample)


def test_diffusers_opens_a_tiny_one(tiny_vae: VAE, tmp_path: Path) -> None:
    from diffusers import AutoencoderTiny

    save(tiny_vae, tmp_path / "folder", "diffusers")
    theirs = AutoencoderTiny.from_pretrained(tmp_path / "folder").eval()
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(tiny_vae.encode(x).mean, theirs.encode(x).latents)
        torch.testing.assert_close(
            tiny_vae.decode(torch.ones(1, 4, 4, 4)), theirs.decode(torch.ones(1, 4, 4, 4)).sample
        )


def test_files_say_what_they_hold(kl_vae: VAE, tmp_path: Path) -> None:
    save(kl_vae, tmp_path / "x.safetensors", "ldm")
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        assert file.metadata()["vaekit.family"] == "kl"
        assert "quant_conv.weight" in file.keys()  # noqa: SIM118 (not a dictionary)


def test_what_a_layout_cannot_say_is_refused(
    deep_vae: VAE,
    pooled_vae: VAE,
    stem_vae: VAE,
    asymmetric_vae: VAE,
    joint_vae: VAE,
    tiny_vae: VAE,
    kl_vae: VAE,
    tmp_path: Path,
) -> None:
    with refuses(WrongTensors, "AutoencoderKL"):
        save(deep_vae, tmp_path / "folder", "diffusers")
    with refuses(WrongTensors, "GroupNorm"):
        save(pooled_vae, tmp_path / "folder", "diffusers")
    with refuses(WrongTensors, "TAESANA"):
        save(stem_vae, tmp_path / "folder", "diffusers")
    asymmetric_vae.normalization = LatentNormalization((0.5,), (2.0,))
    with refuses(WrongTensors, "AsymmetricAutoencoderKL"):
        save(asymmetric_vae, tmp_path / "folder", "diffusers")
    with pytest.raises(WrongTensors):
        family_of("joint").diffusers(joint_vae.config, None)
    with refuses(WrongTensors, "ldm"):
        save(tiny_vae, tmp_path / "x.safetensors", "ldm")
    with pytest.raises(WrongTensors):
        save(kl_vae, tmp_path / "folder", "tiny")
    with refuses(ValueError, "native"):
        save(kl_vae, tmp_path / "x.safetensors", "onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_net_of_no_family_is_refused(kl_vae: VAE, tmp_path: Path) -> None:
    kl_vae.encoder = kl_vae.decoder = torch.nn.Conv2d(1, 1, 1)
    with refuses(WrongTensors, "Conv2d"):
        save(kl_vae, tmp_path / "x.safetensors")


def test_the_target_must_make_sense(kl_vae: VAE, tmp_path: Path) -> None:
    with refuses(CannotWrite, "x.safetensors"):
        save(kl_vae, tmp_path / "x.vae")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(CannotWrite):
        save(kl_vae, tmp_path / "full", "diffusers")
    assert (tmp_path / "full" / "mine.txt").read_text() == "keep"


def test_saving_twice_gives_the_same_bytes(kl_vae: VAE, tmp_path: Path) -> None:
    for name in ("a.safetensors", "b.safetensors"):
        save(kl_vae, tmp_path / name)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
