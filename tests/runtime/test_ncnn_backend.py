"""One convolution by ncnn is torch's, in the memory that is forecast for it."""

import sys
import threading
from typing import Any

import ncnn
import pytest
import torch
from refusals import refuses
from torch import Tensor

from vaekit.errors import MissingPackage
from vaekit.runtime.backends import Backend
from vaekit.runtime.ncnn_backend import NcnnBackend, Pools, Winograd, pools, reader_class
from vaekit.runtime.streaming.operations import Convolve


def convolution(inputs: int, outputs: int, bias: bool = True, relu: bool = False) -> Convolve:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(outputs, inputs, 3, 3, generator=generator) / (3 * inputs**0.5)
    return Convolve(weight, torch.randn(outputs, generator=generator) if bias else None, (1, 1), (1, 1), 1, relu)


@pytest.mark.parametrize(("bias", "relu"), [(True, False), (False, False), (True, True), (False, True)])
@pytest.mark.parametrize(("inputs", "outputs"), [(16, 16), (16, 40), (33, 17), (64, 128), (40, 3)])
@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (5, 4), (18, 131), (64, 10)])
def test_one_convolution_is_torchs(inputs: int, outputs: int, rows: int, columns: int, bias: bool, relu: bool) -> None:
    one = convolution(inputs, outputs, bias, relu)
    x = torch.randn(1, inputs, rows, columns, generator=torch.Generator().manual_seed(1))
    backend = NcnnBackend()
    assert backend.supports(one)
    ready = backend.prepare(one, 1)
    torch.testing.assert_close(ready(x), one.run((0, 0), [x]), atol=1e-4, rtol=1e-4)
    # A view, as slabs often are, and what was made before stays what it was.
    first, before = ready(x), ready(x).clone()
    ready(x * 2)
    assert torch.equal(first, before)
    wide = torch.cat([x, x], dim=3)[..., :columns]
    torch.testing.assert_close(ready(wide), before)


@pytest.mark.parametrize(
    "other",
    [
        Convolve(torch.zeros(32, 32, 1, 1), None, (1, 1), (1, 1), 1),
        Convolve(torch.zeros(32, 32, 3, 3), None, (2, 2), (1, 1), 1),
        Convolve(torch.zeros(32, 32, 3, 3), None, (1, 1), (2, 2), 1),
        Convolve(torch.zeros(32, 1, 3, 3), None, (1, 1), (1, 1), 32),
        Convolve(torch.zeros(32, 3, 3, 3), None, (1, 1), (1, 1), 1),
        Convolve(torch.zeros(32, 32, 3, 3, dtype=torch.bfloat16), None, (1, 1), (1, 1), 1),
    ],
)
def test_what_it_cannot_do_is_left_to_torch(other: Convolve) -> None:
    assert not NcnnBackend().supports(other)


def sample(channels: int = 16, rows: int = 9) -> Tensor:
    return torch.randn(1, channels, rows, 11, generator=torch.Generator().manual_seed(1))


def test_it_is_a_backend() -> None:
    assert isinstance(NcnnBackend(), Backend) and NcnnBackend.name == "ncnn"


def test_without_ncnn_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ncnn", None)
    with refuses(MissingPackage, "ncnn", "pip install 'vaekit[cpu]'"):
        NcnnBackend()


def test_memory_is_that_of_transformed_kernels_and_slabs() -> None:
    one, backend = convolution(16, 24), NcnnBackend()
    assert backend.prepared_bytes(one) == 24 * 16 * 36 * 4  # 6 x 6 numbers for each 3 x 3
    copies = 16 * 10 * 14 + 24 * 8 * 12
    assert backend.workspace_bytes(one, (1, 16, 10, 14), (1, 24, 8, 12)) == 4 * (6 * 16 * 36 + copies)
    # One row takes as many tiles as four.
    one_row = backend.workspace_bytes(one, (1, 16, 3, 15), (1, 24, 1, 13))
    assert one_row == 4 * (4 * 16 * 36 + 16 * 3 * 15 + 24 * 13)


def test_it_does_not_change_its_input_or_the_weights() -> None:
    one, x = convolution(16, 16, relu=True), sample()
    before = x.clone(), one.weight.clone()
    NcnnBackend().prepare(one, 1)(x)
    assert torch.equal(x, before[0]) and torch.equal(one.weight, before[1])


def test_two_convolutions_at_a_time_do_not_mix() -> None:
    backend, x = NcnnBackend(), sample()
    first, second = convolution(16, 16), convolution(16, 40, bias=False)
    run_first, run_second = backend.prepare(first, 1), backend.prepare(second, 2)
    for _ in range(2):
        torch.testing.assert_close(run_first(x), first.run((0, 0), [x]), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(run_second(x), second.run((0, 0), [x]), atol=1e-4, rtol=1e-4)


def test_results_live_on_after_the_backend_rests() -> None:
    backend = NcnnBackend()
    run, x = backend.prepare(convolution(16, 16), 1), sample()
    made = run(x)
    copy = made.clone()
    backend.release_buffers()
    again = run(-x)
    backend.release_buffers()
    assert torch.equal(made, copy) and not torch.equal(again, copy)


def test_each_thread_takes_memory_from_pools_of_its_own() -> None:
    shared = pools(ncnn)
    assert pools(ncnn) is shared
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append((shared.slabs, shared.buffers)))
    thread.start()
    thread.join()
    ((slabs, buffers),) = found
    assert slabs is not shared.slabs and buffers is not shared.buffers
    assert all(any(pool is each for each in shared.every) for pool in (slabs, buffers, shared.slabs, shared.buffers))


def test_rest_clears_the_pools_of_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    cleared: list[int] = []

    class Pool:
        def __init__(self, number: int) -> None:
            self.number = number

        def clear(self) -> None:
            cleared.append(self.number)

    backend = NcnnBackend()
    monkeypatch.setattr(backend._pools, "every", [Pool(1), Pool(2)])
    backend.release_buffers()
    assert cleared == [1, 2]


def test_other_pools_are_not_among_those_of_the_process() -> None:
    others: list[Any] = []
    mine = Pools(ncnn, others)
    assert others == [mine.slabs, mine.buffers]
    assert not any(pool is each for each in pools(ncnn).every for pool in others)


class Failing:
    """Passes everything on to ncnn, but for one step that fails."""

    def __init__(self, step: str) -> None:

        self.ncnn, self.step = ncnn, step

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ncnn, name)

    def Net(self) -> Any:  # noqa: N802
        net, fails = self.ncnn.Net(), self.step

        class Net:
            opt = net.opt

            def load_param_mem(self, text: str) -> int:
                return int(net.load_param_mem(text))

            def load_model(self, reader: Any) -> int:
                return -1 if fails == "load" else int(net.load_model(reader))

            def create_extractor(self) -> Any:
                extractor = net.create_extractor()

                class Extractor:
                    def __getattr__(self, name: str) -> Any:
                        return getattr(extractor, name)

                    def extract(self, name: str) -> tuple[int, Any]:
                        return -100, None

                return Extractor() if fails == "run" else extractor

        return Net()


def test_memory_that_runs_out_in_ncnn_is_an_error() -> None:

    with pytest.raises(MemoryError):
        Winograd(Failing("load"), pools(ncnn), convolution(16, 16), 1)
    ready = Winograd(Failing("run"), pools(ncnn), convolution(16, 16), 1)
    with pytest.raises(MemoryError):
        ready(sample())
    fine = Winograd(Failing("nothing"), pools(ncnn), convolution(16, 16), 1)
    torch.testing.assert_close(fine(sample()), convolution(16, 16).run((0, 0), [sample()]), atol=1e-4, rtol=1e-4)


def test_weights_that_are_not_contiguous_are_read_in_order() -> None:
    plain = convolution(16, 16)
    weight = plain.weight.contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    other = Convolve(weight, plain.bias, (1, 1), (1, 1), 1)
    x = sample()
    torch.testing.assert_close(NcnnBackend().prepare(other, 1)(x), plain.run((0, 0), [x]), atol=1e-4, rtol=1e-4)


def test_the_reader_is_made_once() -> None:

    assert reader_class(ncnn) is reader_class(ncnn)
