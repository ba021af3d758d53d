"""The engine runs a VAE according to a plan. It pads, batches and casts items with any number of axes.

Any size works: items are padded at the end of each axis to the VAE's multiple, mostly by repeating the edge, and
results are cropped. VAEs with a fixed size accept only items of that size; items without axes, such as rows of a table,
are not padded. Networks of images stream along the rows where that saves memory, those of audio along time; others run
whole. Items that are defined in chunks (`vaekit.chunks`) run chunk by chunk. Results are reproducible; on a GPU up to
rounding, because recurring sizes are compiled (`compiled.py`).
"""

import functools
import math
import threading
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

from vaekit.chunks import Run, crossfaded, moments_of, parameters_of
from vaekit.distributions import Likelihood, Posterior
from vaekit.distributions.base import map_tensors
from vaekit.errors import BadPlan
from vaekit.runtime.backends import Backend, TorchBackend
from vaekit.runtime.conversion import converted
from vaekit.runtime.export import export
from vaekit.runtime.item_sizes import check_items, check_positions, cropped, pad_end, repeat_edge
from vaekit.runtime.item_streams import CroppedBlocks, PaddedItem, ReadItem, WriteItem
from vaekit.runtime.plan import AUTO, NCNN, Explanation, Plan, all_planned
from vaekit.runtime.runner import Runner
from vaekit.runtime.streaming.arena import Arena
from vaekit.runtime.streaming.tracing import LINES, PLANES, longer
from vaekit.shapes import AnyLatents, Items
from vaekit.vae import VAE, at_item_size, half_missing, wrong_latents

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
SINGLE = 4
"""The size of an fp32 value in bytes."""
COPIES_OF_MOMENTS, COPIES_OF_LATENTS = 6, 3
"""Values of latents for each one of an item that is streamed: moments of the network and of the posterior, with copies
on the CPU; and latents that are padded and cast."""
COPIES_OF_CHUNKS = 6
"""Values of an item that is cut into chunks for each of its own, or of a chunk of an item that is streamed."""


def one_at_a_time(
    method: Callable[Concatenate["Engine", Arguments], Result],
) -> Callable[Concatenate["Engine", Arguments], Result]:
    """A method of an engine that waits until no other one runs: images are read, and their sizes checked, meanwhile."""

    @functools.wraps(method)
    def run(self: "Engine", /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with self._lock:
            return method(self, *args, **kwargs)

    return run


class Engine:
    """Run a VAE on items (b, c, *size): images (b, 3, h, w) in [-1, 1] for most, rows of a table (b, c), or tokens.

    The given VAE is not modified: for another device or dtype, the engine keeps a converted copy.

    Args:
        vae: a VAE with a geometry, which every loaded VAE has.
        plan: how to run it.
        make_arena: device and slack -> the arena (see `Arena`) for streamed runs.

    Raises:
        BadPlan: the plan's device is not available.
        TypeError: the VAE has no geometry.
    """

    def __init__(
        self,
        vae: VAE,
        plan: Plan = Plan(),  # noqa: B008 (a frozen value)
        make_arena: Callable[[torch.device, float], Arena] = Arena,
    ) -> None:
        self.vae = vae
        self.plan = plan
        self._lock = threading.RLock()
        self.geometry = vae.geometry
        self._device = plan.torch_device
        self._running = converted(vae, self._device, plan.torch_encode_dtype, plan.torch_decode_dtype)
        sides = (
            (self._running.encoder, self._encoder_input, plan.torch_encode_dtype),
            (self._running.decoder, self._decoder_input, plan.torch_decode_dtype),
        )
        streams = self.geometry.axes in (1, 2) and self.geometry.size is None
        sizes = PLANES if self.geometry.axes == 2 else longer(LINES, self.geometry.least_positions)
        self._encoder, self._decoder = (
            None
            if network is None
            else Runner(
                network,
                make_input if streams else None,
                chosen_backend(plan.backend, self._device, dtype),
                plan,
                make_arena,
                sizes,
            )
            for network, make_input, dtype in sides
        )

    def latent_size(self, *size: int) -> tuple[int, ...]:
        """Latent positions along each axis of an item of this size, padding included."""
        return self.geometry.latent_size(size)

    @one_at_a_time
    @torch.no_grad()
    def encode(self, x: Items) -> Posterior:
        """The posterior over raw latents (b, z, *latent_size), on the device of `x`.

        Raises:
            HalfMissing: the VAE has no encoder.
            BadItem: the items have another number of channels than the VAE takes, or not its fixed size.
            TooLittleMemory: it needs more memory than the plan allows.
            ValueError: `x` is not a batch of items with the number of axes that the VAE takes.
        """
        check_items(x, self.geometry)
        if self._encoder is None:
            raise half_missing("encoder", "decoder")
        item_size = tuple(x.shape[2:])
        runner, size, fixed = (
            self._encoder,
            self._at_once(self.geometry.latent_size(item_size)),
            self._fixed("encode", item_size),
        )
        posteriors = [
            self._running.to_posterior(moments_of(self._run(runner, size, fixed), self._padded(items), self.geometry))
            for items in runner.batches(x, size, fixed)
        ]
        return map_tensors(lambda tensors: torch.cat(tensors).to(x.device), *posteriors)

    @one_at_a_time
    @torch.no_grad()
    def decode(self, z: AnyLatents, size: tuple[int, ...] | None = None) -> Items:
        """Decode raw latents to items on the device of `z`: fp32 values, not clamped, or tokens.

        Args:
            z: raw latents (b, z, *latent_size).
            size: the size to crop to, such as (height, width) of an image; None for the whole padded item. For a
                decoder that upscales, it is the size before, and the result is `geometry.upscale` times as large.

        Raises:
            HalfMissing: the VAE has no decoder.
            LatentMismatch: the latents have another number of channels or axes, or another size than the fixed one.
            TooLittleMemory: it needs more memory than the plan allows.
            ValueError: these latents do not represent an item of this size.
        """
        size, fixed = self._checked(z, size)
        assert self._decoder is not None
        size = self.geometry.decoded_size(size)
        items = torch.empty((len(z), self.geometry.channels, *size), device=z.device)
        done, fixed = 0, items[1:].nbytes + fixed
        for latents in self._decoder.batches(z, self._at_once(self._least_size(z)), fixed):
            decoded = cropped(self._decoded(latents, fixed), size)
            if not decoded.is_floating_point() and not done:
                items = items.to(decoded.dtype)  # tokens, which fp32 might round
            items[done : done + len(latents)] = decoded
            done += len(latents)
        return items

    @one_at_a_time
    @torch.no_grad()
    def encode_stream(self, read: ReadItem, length: int) -> Posterior:
        """The posterior over raw latents (1, z, positions) of one item with one axis that need not fit into memory.

        It is that of `encode`: the network streams along the axis with all context. Networks that need whole values of
        high resolution, see `explain`, store them in a file, or are refused.

        Args:
            read: start and end of a range -> these positions, (c, end - start); called in order, from the start again
                for each pass over the item. Ranges overlap where chunks by definition do.
            length: the number of positions.

        Returns:
            The posterior, on the CPU.

        Raises:
            BadItem: items of this VAE have another number of axes.
            HalfMissing, TooLittleMemory: see `encode`.
            ValueError: the length is less than 1, or the reader returns another shape.
        """
        self.geometry.require_axes(1, "items with one axis, such as audio")
        if length < 1:
            raise ValueError(f"the item has {length} positions")
        if self._encoder is None:
            raise half_missing("encoder", "decoder")
        size = self._at_once(self.geometry.latent_size((length,)))
        if not self.geometry.chunk and self._encoder.runs_whole(size, self._fixed("encode", (length,))):
            return self.encode(read(0, length)[None])
        item = PaddedItem(read, length, self.geometry, self._device, self.plan.torch_encode_dtype)
        fixed = self._fixed("encode", (length,), streamed=True)
        if self.geometry.chunk:
            starts = range(0, length, self.geometry.chunk_step)
            chunks = (item(start, start + self.geometry.chunk) for start in starts)
            moments = torch.cat([self._encoder.run(chunk, size, fixed) for chunk in chunks], dim=2)
        else:
            moments = self._encoder.streamed_in(item, size, fixed)
        return map_tensors(lambda tensors: tensors[0].cpu(), self._running.to_posterior(moments))

    @one_at_a_time
    @torch.no_grad()
    def decode_stream(self, z: AnyLatents, write: WriteItem, length: int | None = None) -> None:
        """Decode raw latents (1, z, positions) of one item with one axis that need not fit into memory; the result is
        that of `decode`.

        Args:
            z: raw latents.
            write: takes consecutive blocks (c, positions) of the item, on the device of `z`: fp32 values, not clamped.
            length: the number of positions to crop to; None for the whole padded item.

        Raises:
            BadItem: items of this VAE have another number of axes.
            HalfMissing, LatentMismatch, TooLittleMemory, ValueError: see `decode`.
        """
        self.geometry.require_axes(1, "items with one axis, such as audio")
        (length,), fixed = self._checked(z, None if length is None else (length,))
        if len(z) != 1:
            raise ValueError(f"one item expected, not {len(z)}")
        assert self._decoder is not None
        size = self._least_size(z)
        if not self.geometry.chunk and self._decoder.runs_whole(size, fixed):
            write(self.decode(z, (length,))[0].float())
            return
        blocks = CroppedBlocks(write, length, lambda rows: self._running.to_likelihood(rows).mode, z.device)
        inputs = repeat_edge(z, size).to(self._device, self.plan.torch_decode_dtype)
        fixed = self._fixed("decode", (length,), streamed=True)
        if not self.geometry.chunk:
            self._decoder.streamed_out(inputs, blocks, size, fixed)
            return
        chunks: list[Tensor] = []  # the last two
        for latents in inputs.split(self.geometry.chunk_positions, dim=2):
            chunks = [*chunks[-1:], self._decoder.run(latents, self._at_once(size), fixed)]
            blocks(crossfaded(torch.cat(chunks), 1, self.geometry)[:, :, -self.geometry.chunk_step :])

    @one_at_a_time
    @torch.no_grad()
    def likelihood(self, z: AnyLatents, size: tuple[int, ...] | None = None) -> Likelihood:
        """p(x|z) over items of a size, for raw latents (b, z, *latent_size), on the engine's device.

        Args:
            z: raw latents.
            size: of the items, such as (height, width) of an image; None for the whole padded item.

        Raises:
            HalfMissing, LatentMismatch, TooLittleMemory, ValueError: see `decode`.
        """
        size, fixed = self._checked(z, size)
        assert self._decoder is not None
        batches = self._decoder.batches(z, self._at_once(self._least_size(z)), fixed)
        parameters = at_item_size(torch.cat([self._parameters(items, fixed) for items in batches]), self.geometry)
        return self._running.to_likelihood(cropped(parameters, size).float())

    @one_at_a_time
    def explain(self, *size: int, only: str | None = None, streamed: bool = False) -> tuple[Explanation, ...]:
        """How items of this size will be encoded and decoded, or `only` "encode" or "decode", and in how much memory;
        nothing is run.

        Args:
            size: of the item along its axes.
            only: one of the halves.
            streamed: whether the item is not in memory, see `encode_stream` and `decode_stream`.

        Raises:
            TooLittleMemory: it needs more memory than the plan allows; the message states how much is sufficient.
        """
        latent_size, halves = (
            self._at_once(self.geometry.latent_size(size)),
            (("encode", self._encoder), ("decode", self._decoder)),
        )
        return tuple(
            all_planned(
                partial(runner.explained, half, latent_size, size, *self._both_fixed(half, size, streamed))
                for half, runner in halves
                if runner is not None and only in (None, half)
            )
        )

    @one_at_a_time
    def items_at_once(self, half: str, size: tuple[int, ...]) -> int:
        """The number of items of a size that run in one batch: as many as the plan and the memory allow on a GPU, and
        one where items are streamed or run one by one.

        Args:
            half: "encode" or "decode".
            size: of the items along their axes.

        Raises:
            HalfMissing: the VAE does not have this half.
        """
        runner = self._encoder if half == "encode" else self._decoder
        if runner is None:
            raise half_missing("encoder", "decoder") if half == "encode" else half_missing("decoder", "encoder")
        return runner.items_at_once(self._at_once(self.geometry.latent_size(size)), self._fixed(half, size))

    @property
    def notes(self) -> tuple[str, ...]:
        """Deviations from the plan so far, as sentences."""
        runners = (("encoder", self._encoder), ("decoder", self._decoder))
        return tuple(note for half, runner in runners if runner is not None for note in runner.notes(half))

    def reconstruct(self, x: Items) -> Items:
        """Encode items to the posterior's mode and decode it: items of the same size in fp32, not clamped. Images of a
        decoder that upscales are averaged to that size.

        Raises:
            HalfMissing, BadItem, TooLittleMemory: see `encode` and `decode`; before anything is run.
        """
        check_items(x, self.geometry)
        size = tuple(x.shape[2:])
        self.explain(*size)
        return at_item_size(self.decode(self.encode(x).mode, size), self.geometry)

    def export(
        self, file_format: str, folder: str | Path, half: str | None = None, verify: bool = True
    ) -> dict[str, Path]:
        """Export the VAE as programs that run without vaekit: "onnx" or "torch.export", in fp32 regardless of the plan.

        `encoder.onnx` maps "pixels" (batch, c, f * rows, f * columns) in [-1, 1] to "moments", before any quantization;
        `decoder.onnx` maps raw "latents" (batch, z, rows, columns) to "pixels". See `vaekit.runtime.export` for details
        and errors.

        Returns:
            The file of each half.
        """
        in_fp32 = converted(self.vae, torch.device("cpu"), torch.float32, torch.float32)
        return export(in_fp32, file_format, folder, half, verify)

    def _both_fixed(self, half: str, size: tuple[int, ...], streamed: bool) -> tuple[int, int | None]:
        """The memory for one item outside the network in bytes, if it is in memory and, if it is to be, streamed; of
        an item in chunks that is streamed, the former only, as each chunk is in memory."""
        if self.geometry.chunk and streamed:
            return self._fixed(half, size, streamed=True), None
        return self._fixed(half, size), self._fixed(half, size, streamed=True) if streamed else None

    def _fixed(self, half: str, size: tuple[int, ...], streamed: bool = False) -> int:
        """The memory for one item outside the network, in bytes: the item in fp32, with copies that are padded or in
        another dtype, and its latents; of an item that is streamed, the latents with copies of them."""
        padded = self.geometry.padded_size(size)
        values = self.geometry.channels * math.prod(padded)
        latents = self.geometry.latent_channels * math.prod(self.geometry.latent_size(size)) * SINGLE
        if streamed:
            chunks = self.geometry.channels * self.geometry.chunk * COPIES_OF_CHUNKS * SINGLE
            return latents * (COPIES_OF_MOMENTS if half == "encode" else COPIES_OF_LATENTS) + chunks
        latents += values * COPIES_OF_CHUNKS * SINGLE if self.geometry.chunk else 0
        if half == "decode":  # the output of the network, and the cropped fp32 result
            return latents + values * self.geometry.upscale**2 * (self.plan.torch_decode_dtype.itemsize + SINGLE)
        copies = (padded != size) * SINGLE
        dtype = self.plan.torch_encode_dtype
        return latents + values * (SINGLE + copies + (dtype != torch.float32) * dtype.itemsize)

    def _checked(self, z: Tensor, size: tuple[int, ...] | None) -> tuple[tuple[int, ...], int]:
        """Check that latents are valid for this VAE.

        Returns:
            The size to crop to, and the memory for one item outside the network in bytes.
        """
        if z.dim() != 2 + self.geometry.axes:
            raise wrong_latents(z, self.geometry, self.vae.normalization, self.vae.origin)
        self.vae.check_latents(z)
        check_positions(z, self.geometry)
        if self._decoder is None:
            raise half_missing("decoder", "encoder")
        if size is None:
            size = self.geometry.size_of(z.shape[2:])
        largest = self.geometry.size_of(self._least_size(z))
        if len(size) != len(largest) or not all(0 < each <= most for each, most in zip(size, largest, strict=True)):
            raise ValueError(f"latents of shape {tuple(z.shape)} represent items of size {largest}, not {size}")
        return size, self._fixed("decode", largest)

    def _least_size(self, z: Tensor) -> tuple[int, ...]:
        """The size of latents after padding to the minimum that the decoder needs."""
        return tuple(max(self.geometry.least_positions, positions) for positions in z.shape[2:])

    def _padded(self, items: Tensor) -> Tensor:
        """Pad items to a size that the encoder takes, on its device and in its dtype; tokens are not changed."""
        if not self.geometry.axes and not items.is_floating_point():
            return items.to(self._device)
        exact = items.to(self._device, torch.float32)
        padded = pad_end(exact, self.geometry.padded_size(items.shape[2:]), self.geometry.padding)
        return padded.to(self.plan.torch_encode_dtype)

    def _decoded(self, items: Tensor, fixed: int) -> Tensor:
        """Decode latents that are not padded yet."""
        parameters = self._parameters(items, fixed)
        # Heads are in fp32. Those of images only clamp or take a channel; one of sequences is a network.
        return self._running.to_likelihood(parameters if self.geometry.axes else parameters.float()).mode

    def _parameters(self, items: Tensor, fixed: int) -> Tensor:
        """The decoder network's output for latents."""
        assert self._decoder is not None
        size = self._least_size(items)
        inputs = repeat_edge(items, size).to(self._device, self.plan.torch_decode_dtype)
        return parameters_of(self._run(self._decoder, self._at_once(size), fixed), inputs, self.geometry)

    def _run(self, runner: Runner, size: tuple[int, ...], fixed: int) -> Run:
        """Runs a network on items or chunks with latents of a size, the latter in batches."""
        if not self.geometry.chunk:
            return lambda items: runner.run(items, size, fixed)
        return lambda chunks: torch.cat([runner.run(each, size, fixed) for each in runner.batches(chunks, size, fixed)])

    def _at_once(self, latent_size: tuple[int, ...]) -> tuple[int, ...]:
        """The size of the latents that the networks take at once: those of an item, or of a chunk of it."""
        return (self.geometry.chunk_positions,) if self.geometry.chunk else latent_size

    def _encoder_input(self, rows: int, columns: int) -> Tensor:
        """A noise item with a latent of this size."""
        size = self.geometry.of_networks.size_of((rows, columns)[: self.geometry.axes])
        return noise((1, self.geometry.channels, *size)).to(self._device, self.plan.torch_encode_dtype)

    def _decoder_input(self, rows: int, columns: int) -> Tensor:
        """A noise latent of this size."""
        shape = (1, self.geometry.latent_channels, *(rows, columns)[: self.geometry.axes])
        return noise(shape).to(self._device, self.plan.torch_decode_dtype)


def noise(shape: tuple[int, ...]) -> Tensor:
    """Reproducible standard normal noise."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def chosen_backend(name: str, device: torch.device, dtype: torch.dtype) -> Backend:
    """The backend for convolutions: the requested one, or the fastest available.

    Raises:
        BadPlan: ncnn was requested, but does not support this device or dtype.
        MissingPackage: ncnn was requested, but is not installed.
    """
    fits = device.type == "cpu" and dtype == torch.float32
    if name == NCNN and not fits:
        raise BadPlan(
            f"The backend ncnn was requested for {str(dtype).removeprefix('torch.')} on {device}.",
            "It runs in fp32 on the CPU only.",
            "Omit the backend to choose one automatically.",
        )
    if name == NCNN or (name == AUTO and fits and find_spec("ncnn") is not None):
        from vaekit.runtime.ncnn_backend import NcnnBackend

        return NcnnBackend()
    return TorchBackend()
