"""Items that are read by ranges of positions and written in consecutive blocks, as they need not fit into memory."""

from collections.abc import Callable

import torch
from torch import Tensor

from vaekit.geometry import Geometry
from vaekit.runtime.item_sizes import pad_end

ReadItem = Callable[[int, int], Tensor]
"""Start and end of a range of positions -> these positions of an item, (c, end - start)."""
WriteItem = Callable[[Tensor], None]
"""Takes the next positions of an item, (c, positions) in fp32."""


class PaddedItem:
    """An item that is read by ranges and padded at its end, as the network's input.

    Args:
        read: reads a range of the item.
        length: the number of positions of the item.
        geometry: of the VAE.
        device, dtype: of the network.
    """

    def __init__(
        self, read: ReadItem, length: int, geometry: Geometry, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._read, self._length, self._geometry = read, length, geometry
        self._device, self._dtype = device, dtype

    def __call__(self, start: int, end: int) -> Tensor:
        """Positions of the padded item, (1, c, end - start).

        Raises:
            ValueError: the reader returns another shape.
        """
        first, last = min(start, self._length - 1), min(end, self._length)
        block = self._read(first, last)
        expected = (self._geometry.channels, last - first)
        if tuple(block.shape) != expected:
            raise ValueError(f"the reader returned the shape {tuple(block.shape)} and not {expected}")
        exact = block[None].to(self._device, torch.float32)
        padded = pad_end(exact, (end - first,), self._geometry.padding)
        return padded[:, :, start - first :].to(self._dtype, copy=True)  # the reader may reuse its memory


class CroppedBlocks:
    """Takes the rows of a decoder's output, and passes on the items up to a length.

    Args:
        write: takes the positions of the item.
        length: the number of positions after which further ones are dropped.
        mode: parameters -> the mode of the likelihood.
        device: of the blocks.
    """

    def __init__(self, write: WriteItem, length: int, mode: Callable[[Tensor], Tensor], device: torch.device) -> None:
        self._write, self._left, self._mode, self._device = write, length, mode, device

    def __call__(self, rows: Tensor) -> None:
        block = self._mode(rows)[0, :, : self._left]
        if block.shape[1]:
            self._left -= block.shape[1]
            self._write(block.to(self._device, torch.float32))
