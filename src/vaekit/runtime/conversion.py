"""Convert a VAE to a device, and its halves to dtypes."""

import copy

import torch
from torch import Tensor, nn

from vaekit.errors import BadPlan
from vaekit.runtime.numerics import HALF
from vaekit.vae import VAE


def converted(vae: VAE, device: torch.device, encode_dtype: torch.dtype, decode_dtype: torch.dtype) -> VAE:
    """The VAE with its weights on a device and its halves in these dtypes, heads in fp32; the same object if nothing
    changes."""
    dtypes = {"encoder": encode_dtype, "decoder": decode_dtype}

    def wanted(name: str, tensor: Tensor) -> torch.dtype:
        return dtypes.get(name.split(".")[0], torch.float32) if tensor.is_floating_point() else tensor.dtype

    tensors = [*vae.named_parameters(), *vae.named_buffers()]
    if all(each.device == device and each.dtype == wanted(name, each) for name, each in tensors) and not vae.training:
        return vae
    # The converted weights are passed to deepcopy as already copied, so that no weight is duplicated.
    memo: dict[int, Tensor] = {}
    for name, weight in vae.named_parameters():
        check_range(name, weight, wanted(name, weight))
        memo[id(weight)] = nn.Parameter(weight.detach().to(device, wanted(name, weight)), requires_grad=False)
    for name, buffer in vae.named_buffers():
        memo[id(buffer)] = buffer.to(device, wanted(name, buffer))
    return copy.deepcopy(vae, memo).eval()


def check_range(name: str, weight: Tensor, dtype: torch.dtype) -> None:
    """Check that a dtype can represent a weight.

    Raises:
        BadPlan: a value of the weight is out of range.
    """
    largest = weight.detach().abs().max().item() if dtype in HALF and weight.dtype not in HALF else 0.0
    if torch.finfo(torch.float32).max > largest > torch.finfo(dtype).max:
        raise BadPlan(
            f"The values of {name} reach {largest:.3g}.",
            f"{str(dtype).removeprefix('torch.')} represents values up to {torch.finfo(dtype).max:.3g}.",
            "Use bf16 or fp32 (--dtype).",
        )


def in_double(vae: VAE, device: torch.device) -> VAE:
    """A copy of a VAE in double precision on a device, heads included: for small nets, whose results then do not depend
    on the size of a batch."""
    return copy.deepcopy(vae).to(device, torch.float64).requires_grad_(False).eval()
