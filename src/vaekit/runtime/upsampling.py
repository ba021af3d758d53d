"""Rewrite nearest-2x upsampling followed by a 3x3 convolution as four exact 2x2 convolutions of the small map.

Of the nine numbers that a 3x3 kernel sees of a map enlarged by repeating, four at the most are different: weights that
meet the same one are added up beforehand. That takes 16 products where there were 36, and no large map in between. In
fp32 results are the same to rounding. On a CPU Winograd's way on the large map is faster, so this is for GPUs.

Network surgery from outside: a copy of the network that shares all weights has `EnlargedConv` in the place of such
convolutions. It is given the large map still, and reads every other row and column of it; a compiler sees that the
large map need not be there (inductor of torch 2.13 makes none, and none of what the four convolutions make once it is
joined either, but what is read of that). Uncompiled both are made, so this pays in a compiled network only.
"""

import copy
from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.runtime.streaming.tracing import Call, Ref, Trace, replaced


class EnlargedConv(nn.Module):
    """A 3x3 convolution with padding 1 of a map (b, c, 2h, 2w) that is (b, c, h, w) enlarged by repeating.

    Args:
        conv: the convolution; its weights are used as they are at each call.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, enlarged: Tensor) -> Tensor:
        # A copy, for a view would have the compiler make the large map to look at it.
        small = enlarged[:, :, ::2, ::2].clone(memory_format=torch.channels_last)
        # Position r, s of what this makes was made of rows r - 1 and r, columns s - 1 and s of the small map.
        bias = None if self.conv.bias is None else self.conv.bias.repeat(4)
        made = F.conv2d(small, phases(self.conv.weight), bias, padding=1).unflatten(1, (2, 2, -1))
        row, column = (torch.arange(2 * side, device=small.device) for side in small.shape[2:])
        row = row[:, None]
        # Looked up, which a compiler does on the way to whatever reads it: (2h, 2w, b, c).
        large = made[:, row % 2, column % 2, :, (row + 1) // 2, (column + 1) // 2]
        return large.permute(2, 3, 0, 1)


def phases(weight: Tensor) -> Tensor:
    """3x3 kernels (out, in, 3, 3) -> 2x2 kernels (4 * out, in, 2, 2), for the four kinds of pixels of an enlarged map.

    The first is for even rows and even columns, then even and odd, odd and even, odd and odd.
    """
    # An even row sees the small row above once and its own twice; an odd one its own twice and the one below once.
    sees = weight.new_tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], dtype=torch.float32)
    summed = torch.einsum("yar,xbs,oirs->yxoiab", sees, sees, weight.float())
    return summed.flatten(0, 2).to(weight.dtype)


def with_enlarged_convs(network: nn.Module, trace: Trace, names: Mapping[int, str]) -> nn.Module:
    """A copy that shares all weights, with `EnlargedConv` where it fits; the network itself where it fits nowhere.

    Args:
        network: an encoder or decoder.
        trace: what it does.
        names: the names of layers, by the ids of their weights.
    """
    found = enlarged_convs(network, trace, names)
    if not found:
        return network
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    copied = copy.deepcopy(network, dict(shared))
    for name in found:
        parent, _, last = name.rpartition(".")
        conv = copied.get_submodule(name)
        assert isinstance(conv, nn.Conv2d)
        setattr(copied.get_submodule(parent), last, EnlargedConv(conv))
    return copied


def enlarged_convs(network: nn.Module, trace: Trace, names: Mapping[int, str]) -> list[str]:
    """The names of the 3x3 convolutions whose input is enlarged twofold by repeating, and used by nothing else."""
    uses: Counter[int] = Counter([trace.output])
    weights: Counter[int] = Counter()
    for call in trace.calls:
        replaced((call.args, call.kwargs), lambda ref: uses.update([ref.index]), Ref)
        replaced((call.args, call.kwargs), lambda weight: weights.update([id(weight)]), Tensor)
    found = []
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
                found.append(name)
    return found


def repeats_twice(call: Call) -> bool:
    """Whether a call makes each pixel four of the same."""
    given = dict(zip(("input", "size", "scale_factor", "mode"), call.args, strict=False)) | call.kwargs
    return (
        call.function is F.interpolate
        and given.get("size") is None
        and given.get("scale_factor") in (2, (2, 2), [2, 2])
        and given.get("mode", "nearest") in ("nearest", "nearest-exact")
    )


def takes_enlarged(layer: nn.Module) -> bool:
    """Whether a layer is a convolution that `EnlargedConv` can stand for."""
    return (
        type(layer) is nn.Conv2d
        and layer.kernel_size == (3, 3)
        and layer.stride == layer.dilation == (1, 1)
        and layer.padding == (1, 1)
        and layer.padding_mode == "zeros"
        and layer.groups == 1
    )
