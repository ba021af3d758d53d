"""Memory that runs out in the middle of a run costs time and no image."""

import errno
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from refusals import refuses
from torch import Tensor

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.errors import TooLittleMemory
from vaekit.families.kl import net as kl
from vaekit.families.kl.net import KLConfig
from vaekit.runtime.engine import Engine
from vaekit.runtime.memory import out_of_memory
from vaekit.runtime.plan import Plan
from vaekit.runtime.streaming import slab_runner as slabs
from vaekit.vae import VAE

SIZE = (320, 256)


@pytest.fixture(scope="module")
def vae(small_kl: KLConfig) -> VAE:
    """A KL autoencoder of factor 4 with random weights."""
    torch.manual_seed(0)
    encoder, decoder = kl.build(replace(small_kl, encoder_widths=(16, 16, 32), decoder_widths=(16, 16, 32)))
    return VAE(encoder, DiagonalGaussian.from_moments, decoder, Laplace).eval()


def latents(rows: int = SIZE[0] // 4, columns: int = SIZE[1] // 4) -> Tensor:
    return torch.randn(1, 4, rows, columns, generator=torch.Generator().manual_seed(0))


def engine(vae: VAE, memory: str | None = None) -> Engine:
    return Engine(vae, Plan(device="cpu", memory=memory, backend="torch"))


def failing(times: int, error: Callable[[], Exception], peaks: list[int]) -> Callable[..., Tensor]:
    """A `stream` that runs out of memory so many times; it writes the peak of each try's courses down."""
    plain = slabs.run_stages

    def stream(*args: Any) -> Tensor:
        peaks.append(sum(course.slab_rows for course in args[1]))
        if len(peaks) <= times:
            raise error()
        return plain(*args)

    return stream


ERRORS: dict[str, Callable[[], Exception]] = {
    "torch": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "python": MemoryError,
    "torch's CPU allocator": lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
    "cuDNN": lambda: RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "a map of memory": lambda: OSError(errno.ENOMEM, "Cannot allocate memory"),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_a_run_that_ran_out_of_memory_is_done_in_smaller_slabs(
    vae: VAE, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    expected, rows = engine(vae).decode(latents()), []
    monkeypatch.setattr(slabs, "run_stages", failing(1, ERRORS[kind], rows))
    running = engine(vae)
    torch.testing.assert_close(running.decode(latents()), expected, atol=1e-5, rtol=0)
    assert len(rows) == 2 and rows[1] < rows[0]
    assert running.notes == ("decoder: ran out of memory at 256x320: used smaller slabs",)


def test_the_smaller_slabs_are_remembered_for_that_size_alone(vae: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    running = engine(vae)
    wide = running.explain(*SIZE)[1], running.explain(64, 64)[1]
    monkeypatch.setattr(slabs, "run_stages", failing(1, MemoryError, rows))
    first, second = running.decode(latents()), running.decode(latents())
    assert torch.equal(first, second)
    assert rows[1] == rows[2] < rows[0]
    narrow = running.explain(*SIZE)[1], running.explain(64, 64)[1]
    assert narrow[0].predicted_peak is not None and wide[0].predicted_peak is not None
    assert narrow[0].predicted_peak <= wide[0].predicted_peak // 2 or narrow[0].slab_rows < wide[0].slab_rows
    assert narrow[1] == wide[1]


@pytest.mark.parametrize("memory", [None, "64MiB"])
def test_it_ends_in_words_when_the_smallest_slabs_do_not_fit(
    vae: VAE, monkeypatch: pytest.MonkeyPatch, memory: str | None
) -> None:
    rows: list[int] = []
    monkeypatch.setattr(slabs, "run_stages", failing(1000, MemoryError, rows))
    running = engine(vae, memory)
    with refuses(TooLittleMemory, "256x320"):
        running.decode(latents())
    assert 2 <= len(rows) < 20
    assert rows == sorted(rows, reverse=True)


def test_a_budget_of_the_user_is_never_exceeded(vae: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    running = engine(vae, "40MiB")
    plans: list[int | None] = []
    plain = running._decoder.slabs.plan  # type: ignore[union-attr]
    monkeypatch.setattr(running._decoder.slabs, "plan", lambda *args: plans.append(args[2]) or plain(*args))
    monkeypatch.setattr(slabs, "run_stages", failing(1000, MemoryError, rows))
    with pytest.raises(TooLittleMemory):
        running.decode(latents())
    assert max(plan for plan in plans if plan is not None) <= 40 << 20
    assert None not in plans


def test_other_errors_are_no_lack_of_memory(vae: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not out_of_memory(RuntimeError("shapes do not match"))
    assert not out_of_memory(OSError(errno.ENOSPC, "No space left on device"))
    rows: list[int] = []
    monkeypatch.setattr(slabs, "run_stages", failing(1, lambda: RuntimeError("shapes do not match"), rows))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        engine(vae).decode(latents())
    assert len(rows) == 1
