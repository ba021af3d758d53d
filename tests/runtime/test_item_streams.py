"""Items that are read by ranges and padded, and that are written in blocks up to their length."""

import pytest
import torch
from line_nets import random_vae
from refusals import refuses
from torch import Tensor

from vaekit.errors import BadItem, HalfMissing, LatentMismatch
from vaekit.families import PARTS, assemble
from vaekit.families.parts.net import GaussianPart, PartsConfig
from vaekit.geometry import Geometry
from vaekit.nets.column_likelihoods import ColumnsPart
from vaekit.nets.mlp import MLPConfig
from vaekit.runtime import whole_runner
from vaekit.runtime.engine import Engine
from vaekit.runtime.item_streams import CroppedBlocks, PaddedItem
from vaekit.runtime.plan import Plan
from vaekit.vae import VAE

CPU = torch.device("cpu")


@pytest.mark.parametrize(("padding", "last"), [("edge", 6.0), ("zeros", 0.0)])
def test_a_range_beyond_the_end_is_padding(padding: str, last: float) -> None:
    x, ranges = torch.arange(7.0)[None], list[tuple[int, int]]()

    def read(start: int, end: int) -> Tensor:
        ranges.append((start, end))
        return x[:, start:end]

    item = PaddedItem(read, 7, Geometry(1, 1, (4,), padding=padding), CPU, torch.float64)
    assert item(0, 3).flatten().tolist() == [0, 1, 2] and item(3, 5).flatten().tolist() == [3, 4]
    assert item(5, 8).flatten().tolist() == [5, 6, last]
    assert item(7, 10).flatten().tolist() == [last] * 3
    assert item(9, 10).flatten().tolist() == [last]
    assert item(0, 2).dtype == torch.float64 and item(0, 2).shape == (1, 1, 2)
    assert all(0 <= start < end <= 7 for start, end in ranges)


def test_what_the_reader_returns_is_copied_and_checked() -> None:
    memory = torch.zeros(2, 4)
    item = PaddedItem(lambda start, end: memory[:, : end - start], 4, Geometry(2, 1, (4,)), CPU, torch.float32)
    block = item(0, 4)
    memory.fill_(1)
    assert not block.any()
    for wrong in (torch.zeros(1, 4), torch.zeros(2, 3), torch.zeros(1, 2, 4)):
        with pytest.raises(ValueError, match="reader"):
            PaddedItem(lambda *_, wrong=wrong: wrong, 4, Geometry(2, 1, (4,)), CPU, torch.float32)(0, 4)


def test_blocks_are_cropped_to_the_length() -> None:
    blocks: list[Tensor] = []
    cropped = CroppedBlocks(blocks.append, 5, lambda x: 2 * x, CPU)
    for _ in range(3):
        cropped(torch.ones(1, 2, 3, dtype=torch.float16))
    assert [tuple(each.shape) for each in blocks] == [(2, 3), (2, 2)]
    assert all(each.dtype == torch.float32 and (each == 2).all() for each in blocks)


def engine(vae: VAE) -> Engine:
    return Engine(vae, Plan(device="cpu", backend="torch"))


def unread(start: int, end: int) -> Tensor:
    raise AssertionError


def test_short_items_run_whole_with_one_read(monkeypatch: pytest.MonkeyPatch) -> None:
    vae, blocks = random_vae(1), list[Tensor]()
    x, running = torch.randn(1, vae.geometry.channels, 100), engine(vae)
    whole = running.encode_stream(lambda start, end: x[0, :, start:end], 100)
    assert torch.equal(whole.mode, running.encode(x).mode)
    running.decode_stream(whole.mode, blocks.append, 100)
    assert len(blocks) == 1 and torch.equal(blocks[0][None], running.decode(whole.mode, (100,)))
    running.decode_stream(whole.mode, blocks.append)
    assert blocks[1].shape[1] == vae.geometry.padded_size((100,))[0]


@pytest.mark.parametrize("least", [0, whole_runner.LEAST_PRODUCTS])
def test_items_that_cannot_be_streamed_are_refused(least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_runner, "LEAST_PRODUCTS", least)
    vae = random_vae(1)
    running, z = engine(vae), torch.zeros(1, vae.geometry.latent_channels, 9)
    with pytest.raises(ValueError, match="positions"):
        running.encode_stream(unread, 0)
    with pytest.raises(ValueError, match="one item"):
        running.decode_stream(z.expand(2, -1, -1), print)
    with pytest.raises(ValueError, match="represent"):
        running.decode_stream(z, print, 10**6)
    with refuses(LatentMismatch):
        running.decode_stream(torch.cat([z, z], dim=1), print)
    with refuses(HalfMissing, "encoder"):
        engine(VAE(None, vae.to_posterior, vae.decoder, vae.to_likelihood)).encode_stream(unread, 9)
    with refuses(HalfMissing, "decoder"):
        engine(VAE(vae.encoder, vae.to_posterior, None, vae.to_likelihood)).decode_stream(z, print)
    rows = assemble(PARTS, PartsConfig(MLPConfig((5,), 2, (8,)), GaussianPart(), ColumnsPart(("normal:5",))))
    with refuses(BadItem, "axis"):
        engine(rows).encode_stream(unread, 9)
    with refuses(BadItem, "axis"):
        engine(rows).decode_stream(torch.zeros(1, 2), print)


def test_an_error_of_the_reader_or_the_writer_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_runner, "LEAST_PRODUCTS", 0)
    vae = random_vae(1)
    x, running = torch.randn(1, vae.geometry.channels, 300), engine(vae)

    def fails(*_: object) -> Tensor:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        running.encode_stream(fails, 300)
    z = running.encode_stream(lambda start, end: x[0, :, start:end], 300).mode
    with pytest.raises(OSError, match="full"):
        running.decode_stream(z, fails)
    assert torch.allclose(running.encode(x).mode, z, atol=1e-5)
