"""What was trained on is written as it came, and what was not trained stays as it was, bit for bit."""

import dataclasses
import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from family_examples import EXAMPLES, KL
from refusals import refuses
from safetensors.torch import save_file
from slow_cases import nightly
from torch import Tensor

from vaekit.checkpoints import finetuned_writer
from vaekit.checkpoints.finetuned_writer import BaseModel, base_model_at, same_bits, write_finetuned
from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.errors import BadPlan, CannotWrite, HalfMissing, WrongTensors
from vaekit.families import assemble, family_with
from vaekit.families.kl.net import KLConfig
from vaekit.formats.open import open_tensors
from vaekit.identification import resolve
from vaekit.identification.build import build
from vaekit.identification.identify import identify
from vaekit.identification.probe_padding import BorderError, PaddingProbe
from vaekit.identification.weights import weights_in
from vaekit.library.upload import weights_files
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

KEPT = ("encoder.", "to_posterior.", "decoder.post_quant_conv.")


def example(name: str, dtype: torch.dtype = torch.float32) -> VAE:
    torch.manual_seed(0)
    family = family_with(EXAMPLES[name])
    assert family is not None
    return assemble(family, EXAMPLES[name], normalization=LatentNormalization((0.1,), (0.5,))).to(dtype).eval()


@pytest.fixture
def parent(tmp_path: Path) -> Callable[..., BaseModel]:
    """A file or folder with an example in it, padding told so that nothing need be measured."""

    def at(name: str, layout: str = "native", dtype: torch.dtype = torch.float16) -> BaseModel:
        path = tmp_path / ("source" if layout in ("tiny", "diffusers") else "source.safetensors")
        save(example(name, dtype), path, layout)
        return base_model_at(path, "source", "zeros" if hasattr(EXAMPLES[name], "padding") else None)

    return at


def trained(parent: BaseModel) -> tuple[VAE, set[str]]:
    """The VAE in fp32 with another decoder, and what was to stay."""
    vae = build(parent.identified).float()
    kept = {key for key in vae.state_dict() if key.startswith(KEPT)}
    with torch.no_grad():
        for name, tensor in vae.named_parameters():
            if name not in kept:
                tensor.add_(0.01)
    return vae, kept


def tensors_in(path: Path) -> dict[str, Tensor]:
    return {key: piece.tensor() for key, piece in weights_in(identify(path)).tensors.items()}


@pytest.mark.parametrize(
    ("name", "layout"),
    [("kl", "ldm"), ("kl", "diffusers"), ("kl", "native"), ("vq", "ldm"), ("tiny", "tiny"), ("tiny", "diffusers")],
)
@pytest.mark.parametrize(
    "dtype",
    [torch.float16, *nightly(torch.bfloat16, torch.float32)],
)
def test_as_it_came_and_kept_to_the_bit(
    parent: Callable[..., BaseModel], tmp_path: Path, name: str, layout: str, dtype: torch.dtype
) -> None:
    source = parent(name, layout, dtype)
    vae, kept = trained(source)
    files = write_finetuned(source, vae, kept, tmp_path / "run", {"vaekit.finetuned": "{}"})
    assert files == weights_files(tmp_path / "run")
    written = identify(tmp_path / "run")
    assert written.layout == source.identified.layout
    assert (written.config, written.normalization) == (source.identified.config, source.identified.normalization)
    before, after = tensors_in(source.identified.path), tensors_in(tmp_path / "run")
    assert before.keys() == after.keys() and kept
    for key, tensor in before.items():
        assert after[key].dtype == tensor.dtype == dtype
        assert same_bits(tensor, after[key]) == (key in kept), key
    for file in files:
        if file.suffix == ".safetensors":
            assert open_tensors(file).metadata["vaekit.finetuned"] == "{}"


def test_a_tiny_pair_keeps_its_names(parent: Callable[..., BaseModel], tmp_path: Path) -> None:
    source = parent("tiny", "tiny")
    files = write_finetuned(source, *trained(source), tmp_path / "run", {})
    assert [file.name for file in files] == ["source_decoder.safetensors", "source_encoder.safetensors"]


def test_settings_of_the_source_stay(parent: Callable[..., BaseModel], tmp_path: Path) -> None:
    source = parent("kl", "diffusers")
    path = source.files[0].parent / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"force_upcast": True}))
    write_finetuned(source, *trained(source), tmp_path / "run", {})
    assert json.loads((tmp_path / "run" / "config.json").read_text())["force_upcast"] is True


def test_another_dtype_rounds_what_is_kept_too(parent: Callable[..., BaseModel], tmp_path: Path) -> None:
    source = parent("kl", "native", torch.float32)
    vae, kept = trained(source)
    write_finetuned(source, vae, kept, tmp_path / "run", {}, torch.bfloat16)
    before, after = tensors_in(source.identified.path), tensors_in(tmp_path / "run")
    assert {tensor.dtype for tensor in after.values()} == {torch.bfloat16}
    assert all(same_bits(before[key].bfloat16(), after[key]) for key in kept)


@pytest.mark.parametrize("change", [1e-3, 1e-7])
def test_a_changed_encoder_is_not_written(parent: Callable[..., BaseModel], tmp_path: Path, change: float) -> None:
    source = parent("kl", "native", torch.float32)
    vae, kept = trained(source)
    with torch.no_grad():
        next(iter(vae.encoder.parameters())).flatten()[0].mul_(1 + change)  # type: ignore[union-attr]
    with pytest.raises(WrongTensors):
        write_finetuned(source, vae, kept, tmp_path / "run", {})
    assert not (tmp_path / "run").exists()


def test_what_is_written_wrong_does_not_get_its_name(
    parent: Callable[..., BaseModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = parent("kl")
    vae = build(source.identified)
    real = finetuned_writer.write_files

    def spoilt(parent: BaseModel, weights: finetuned_writer.StoredWeights, staging: Path) -> list[str]:
        names = real(parent, weights, staging)
        content = bytearray((staging / names[0]).read_bytes())
        content[-1] ^= 1
        (staging / names[0]).write_bytes(content)
        return names

    monkeypatch.setattr(finetuned_writer, "write_files", spoilt)
    every = set(vae.state_dict())
    with pytest.raises(WrongTensors):
        write_finetuned(source, vae, every, tmp_path / "run", {})
    assert list((tmp_path / "run").iterdir()) == []


def test_a_full_disk_leaves_the_result_before_it(
    parent: Callable[..., BaseModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = parent("kl")
    vae, kept = trained(source)
    [file] = write_finetuned(source, vae, kept, tmp_path / "run", {})
    before = file.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vaekit.formats.safetensors_writer._write", full)
    with refuses(CannotWrite, "No space left"):
        write_finetuned(source, vae, kept, tmp_path / "run", {"new": "words"})
    assert file.read_bytes() == before
    assert [path.name for path in (tmp_path / "run").iterdir()] == [file.name]


def test_half_a_vae_is_refused(tmp_path: Path) -> None:
    for half, other in (("encoder", "decoder"), ("decoder", "encoder")):
        alone = example("kl")
        setattr(alone, other, None)
        save(alone, tmp_path / f"{half}.safetensors")
        with refuses(HalfMissing, half):
            base_model_at(tmp_path / f"{half}.safetensors", half, "zeros")


def test_reflection_makes_a_diffusers_folder_native(tmp_path: Path) -> None:
    save(example("kl"), tmp_path / "source", "diffusers")
    source = base_model_at(tmp_path / "source", "source", "reflect")
    assert (source.layout, source.folder) == ("native", False)
    [file] = write_finetuned(source, *trained(source), tmp_path / "run", {})
    assert file.name == "vae.safetensors"
    assert load(file).config == dataclasses.replace(KL, padding="reflect")


def padding_of(parent: BaseModel) -> tuple[str, str]:
    """What it was made for, and what it goes on with."""
    found, now = parent.original.config, parent.identified.config
    assert isinstance(found, KLConfig) and isinstance(now, KLConfig)
    return found.padding, now.padding


def test_what_it_was_before_has_the_padding_that_its_file_tells(tmp_path: Path) -> None:
    save(example("kl"), tmp_path / "source.safetensors")
    source = base_model_at(tmp_path / "source.safetensors", "source", "reflect")
    assert padding_of(source) == ("zeros", "reflect")
    assert source.changes() == {"padding": {"before": "zeros", "after": "reflect"}}
    assert padding_of(base_model_at(tmp_path / "source.safetensors", "source")) == ("zeros", "zeros")
    assert base_model_at(tmp_path / "source.safetensors", "source", "zeros").changes() == {}
    with refuses(BadPlan, "circular"):
        base_model_at(tmp_path / "source.safetensors", "source", "circular")


@pytest.mark.parametrize(("measured", "before"), [("zeros", "zeros"), ("reflect", "reflect"), ("unsure", "reflect")])
def test_what_no_file_tells_is_measured_and_else_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: str, before: str
) -> None:
    small, large = BorderError(1.0, 1.0), BorderError(9.0, 1.0)
    borders = PaddingProbe(
        measured, large if measured == "reflect" else small, small if measured == "reflect" else large
    )
    for module in (finetuned_writer, resolve):
        monkeypatch.setattr(module, "cached_padding_probe", lambda *_: borders)
    save_file(example("kl").state_dict(), tmp_path / "source.safetensors")
    source = base_model_at(tmp_path / "source.safetensors", "source", "reflect")
    assert padding_of(source) == (before, "reflect")


@pytest.mark.parametrize(
    ("dtype", "changes"),
    [
        (None, {}),
        (torch.float16, {}),
        (torch.float32, {}),
        (torch.bfloat16, {"dtype": {"before": "float16", "after": "bfloat16"}}),
    ],
)
def test_a_dtype_changes_what_it_rounds(
    parent: Callable[..., BaseModel], dtype: torch.dtype | None, changes: dict[str, object]
) -> None:
    assert parent("kl").changes(dtype) == changes


def test_half_of_a_result_is_none(parent: Callable[..., BaseModel], tmp_path: Path) -> None:
    for name, layout, lost in (
        ("kl", "diffusers", "diffusion_pytorch_model.safetensors"),
        ("tiny", "tiny", "source_encoder.safetensors"),
    ):
        folder = tmp_path / layout
        source = parent(name, layout)
        write_finetuned(source, *trained(source), folder, {})
        (folder / lost).unlink()
        assert weights_files(folder) == [] != list(folder.iterdir())
        shutil.rmtree(tmp_path / "source")


def test_diffusers_opens_what_became_of_a_folder(parent: Callable[..., BaseModel], tmp_path: Path) -> None:
    from diffusers import AutoencoderKL, AutoencoderTiny

    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)).double() * 2 - 1
    source = parent("kl", "diffusers", torch.float32)
    write_finetuned(source, *trained(source), tmp_path / "kl", {})
    ours, theirs = load(tmp_path / "kl").double(), AutoencoderKL.from_pretrained(tmp_path / "kl").double().eval()
    with torch.no_grad():
        z = ours.encode(x).mode
        torch.testing.assert_close(theirs.encode(x).latent_dist.mean, z, rtol=0, atol=1e-6)
        torch.testing.assert_close(theirs.decode(z).sample, ours.decode(z), rtol=0, atol=1e-6)
    save(example("tiny"), tmp_path / "tiny source", "diffusers")
    source = base_model_at(tmp_path / "tiny source", "tiny")
    write_finetuned(source, *trained(source), tmp_path / "tiny", {})
    ours, theirs = load(tmp_path / "tiny").double(), AutoencoderTiny.from_pretrained(tmp_path / "tiny").double().eval()
    with torch.no_grad():
        z = ours.encode(x).mode
        torch.testing.assert_close(theirs.decode(z).sample, ours.decode(z), rtol=0, atol=1e-6)
