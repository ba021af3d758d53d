"""Rewrite nearest-2x upsampling followed by a 3x3 convolution as four exact 2x2 convolutions of the small map.

Of the nine values under a 3x3 kernel on a nearest-2x map, at most four are different: weights of equal values are added
beforehand. This takes 16 products instead of 36, without the large map. In fp32 results are equal up to rounding. On a
CPU Winograd's algorithm on the large map is faster, so this is for GPUs.

A copy of the network that shares all weights has `EnlargedConv` in place of such convolutions. It still gets the large
map, and reads every other row and column; a compiler eliminates the large map (inductor of torch 2.13 computes neither
that map nor the joined output of the four convolutions, only the values that are read). Without compilation both are
computed, so this is useful in a compiled network only.
"""

import copy
from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.runtime.streaming.tracing import Call, Ref, Trace, replaced


class EnlargedConv(nn.Module):
    """A 3x3 convolution with padding 1 of a map (b, c, 2h, 2w), the nearest-2x upsampling of (b, c, h, w).

    Args:
        conv: the convolution; its weights are read at each call.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, enlarged: Tensor) -> Tensor:
        # A copy: with a view, the compiler would compute the large map.
        small = enlarged[:, :, ::2, ::2].clone(memory_format=torch.channels_last)
        # Position r, s of the output depends on rows r - 1 and r, columns s - 1 and s of the small map.
        bias = None if self.conv.bias is None else self.conv.bias.repeat(4)
        output = F.conv2d(small, phases(self.conv.weight), bias, padding=1).unflatten(1, (2, 2, -1))
        row, column = (torch.arange(2 * side, device=small.device) for side in small.shape[2:])
        row = row[:, None]
        # An indexed read, which the compiler fuses into the reader: (2h, 2w, b, c).
        large = output[:, row % 2, column % 2, :, (row + 1) // 2, (column + 1) // 2]
        return large.permute(2, 3, 0, 1)


def phases(weight: Tensor) -> Tensor:
    """3x3 kernels (out, in, 3, 3) -> 2x2 kernels (4 * out, in, 2, 2), for the four phases of an upsampled map.

    In order of (row, column): even and even, even and odd, odd and even, odd and odd.
    """
    # An even row reads the small row above once and its own twice; an odd row its own twice and the one below once.
    reads = weight.new_tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], dtype=torch.float32)
    summed = torch.einsum("yar,xbs,oirs->yxoiab", reads, reads, weight.float())
    return summed.flatten(0, 2).to(weight.dtype)


def with_enlarged_convs(network: nn.Module, trace: Trace, names: Mapping[int, str]) -> nn.Module:
    """A copy that shares all weights, with `EnlargedConv` where applicable; the same network if it is nowhere.

    Args:
        network: an encoder or decoder.
        trace: its operations.
        names: the names of layers, by the ids of their weights.
    """
    layers = enlarged_convs(network, trace, names)
    if not layers:
        return network
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    copied = copy.deepcopy(network, dict(shared))
    for name in layers:
        parent, _, last = name.rpartition(".")
        conv = copied.get_submodule(name)
        assert isinstance(conv, nn.Conv2d)
        setattr(copied.get_submodule(parent), last, EnlargedConv(conv))
    return copied


def enlarged_convs(network: nn.Module, trace: Trace, names: Mapping[int, str]) -> list[str]:
    """The names of the 3x3 convolutions whose input is upsampled by nearest-2x and not used by anything else."""
    uses: Counter[int] = Counter([trace.output])
    weights: Counter[int] = Counter()
    for call in trace.calls:
        replaced((call.args, call.kwargs), lambda ref: uses.update([ref.index]), Ref)
        replaced((call.args, call.kwargs), lambda weight: weights.update([id(weight)]), Tensor)
    layers = []
    for call in trace.calls:
        if call.function is F.conv2d and isinstance(source := call.args[0] if call.args else None, Ref):
            weight = call.args[1] if len(call.args) > 1 else None
            name = names.get(id(weight), "")
            if (
                name
                and weights[id(weight)] == 1
                and uses[source.index] == 1
                and repeats_twice(trace.calls[source.index])
                and takes_enlarged(network.get_submodule(name))
            ):
                layers.append(name)
    return layers


def repeats_twice(call: Call) -> bool:
    """Whether a call is nearest-2x upsampling."""
    arguments = dict(zip(("input", "size", "scale_factor", "mode"), call.args, strict=False)) | call.kwargs
    return (
        call.function is F.interpolate
        and arguments.get("size") is None
        and arguments.get("scale_factor") in (2, (2, 2), [2, 2])
        and arguments.get("mode", "nearest") in ("nearest", "nearest-exact")
    )


def takes_enlarged(layer: nn.Module) -> bool:
    """Whether a layer is a convolution that `EnlargedConv` can replace."""
    return (
        type(layer) is nn.Conv2d
        and layer.kernel_size == (3, 3)
        and layer.stride == layer.dilation == (1, 1)
        and layer.padding == (1, 1)
        and layer.padding_mode == "zeros"
        and layer.groups == 1
    )
