"""Quantize the weights of small VAEs in the forms that published files have."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from vaekit.formats.dequantization import hadamard

Tensors = dict[str, Tensor]
E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2


def read_file(path: Path) -> tuple[Tensors, dict[str, str]]:
    """The tensors and the metadata of a safetensors file."""
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key).clone() for key in file.keys()}, file.metadata() or {}  # noqa: SIM118 (not a mapping)


def each_layer(tensors: Mapping[str, Tensor], quantize: Callable[[str, Tensor], Tensors]) -> Tensors:
    """All tensors, with the weights of convolutions and linear layers replaced by quantized ones."""
    result: Tensors = {}
    for key, tensor in tensors.items():
        if key.endswith(".weight") and tensor.dim() > 1:
            result |= quantize(key.removesuffix(".weight"), tensor.float())
        else:
            result[key] = tensor
    return result


def per_row(factors: Tensor, like: Tensor) -> Tensor:
    return factors.view(-1, *[1] * (like.dim() - 1))


def text(**settings: object) -> Tensor:
    """A layer's format, as ComfyUI stores it."""
    return torch.tensor(list(json.dumps(settings).encode()), dtype=torch.uint8)


def scaled_by_tensor(name: str, weight: Tensor) -> Tensors:
    """ComfyUI's first form, without the marker of the file."""
    scale = weight.abs().max() / 448
    return {
        f"{name}.weight": (weight / scale).to(E4M3),
        f"{name}.scale_weight": scale.reshape(()),
        f"{name}.scale_input": torch.ones(()),
    }


def scaled_by_row(name: str, weight: Tensor) -> Tensors:
    """The form of compressed-tensors, in the other fp8."""
    scale = weight.flatten(1).abs().amax(1) / 57344
    return {
        f"{name}.weight": (weight / per_row(scale, weight)).to(E5M2),
        f"{name}.weight_scale": scale[:, None].bfloat16().float(),
        f"{name}.input_scale": torch.ones(1),
    }


def scaled_by_block(name: str, weight: Tensor) -> Tensors:
    """DeepSeek's form, with blocks of 4 rows and 4 columns of the matrix (out, all others)."""
    matrix = weight.flatten(1)
    rows, columns = (4 if size % 4 == 0 else size for size in matrix.shape)
    blocks = matrix.unflatten(0, (-1, rows)).unflatten(2, (-1, columns))
    scale = blocks.abs().amax((1, 3)) / 448
    rounded = (blocks / scale[:, None, :, None]).to(E4M3)
    return {
        f"{name}.weight": rounded.reshape(weight.shape),
        f"{name}.weight_scale_inv": scale,
    }


def rotated(name: str, weight: Tensor) -> Tensors:
    """ComfyUI's int8, with input channels rotated where their number allows it."""
    group = next((size for size in (16, 4) if weight.shape[1] % size == 0), 0)
    turned = weight
    if group:
        turned = (weight.movedim(1, -1).unflatten(-1, (-1, group)) @ hadamard(group).T).flatten(-2).movedim(-1, 1)
    scale = turned.flatten(1).abs().amax(1) / 127
    settings = {"convrot": True, "convrot_groupsize": group} if group else {}
    return {
        f"{name}.weight": (turned / per_row(scale, weight)).round().to(torch.int8).contiguous(),
        f"{name}.weight_scale": per_row(scale, weight),
        f"{name}.comfy_quant": text(format="int8_tensorwise", **settings),
    }


SCALED: dict[str, tuple[Callable[[str, Tensor], Tensors], float]] = {
    "by tensor": (scaled_by_tensor, 0.035),
    "by row": (scaled_by_row, 0.07),
    "by block": (scaled_by_block, 0.035),
    "rotated": (rotated, 0.015),
}
"""Each form, with an upper bound of its rounding error relative to the weights."""


def bitsandbytes(name: str, weight: Tensor) -> Tensors:
    packed = torch.zeros((weight.numel() + 1) // 2, 1, dtype=torch.uint8)
    return {
        f"{name}.weight": packed,
        f"{name}.weight.absmax": torch.zeros(weight.numel() // 64 + 1),
        f"{name}.weight.quant_map": torch.zeros(16),
        f"{name}.weight.quant_state.bitsandbytes__nf4": text(quant_type="nf4"),
    }


def gptq(name: str, weight: Tensor) -> Tensors:
    rows, columns = weight.flatten(1).shape
    return {
        f"{name}.qweight": torch.zeros(-(-columns // 8), rows, dtype=torch.int32),
        f"{name}.qzeros": torch.zeros(1, -(-rows // 8), dtype=torch.int32),
        f"{name}.scales": torch.zeros(1, rows).half(),
        f"{name}.g_idx": torch.zeros(columns, dtype=torch.int32),
    }


def awq(name: str, weight: Tensor) -> Tensors:
    return {key: tensor for key, tensor in gptq(name, weight).items() if not key.endswith("g_idx")}


def svdquant(name: str, weight: Tensor) -> Tensors:
    rows, columns = weight.flatten(1).shape
    return {
        f"{name}.qweight": torch.zeros(rows, -(-columns // 2), dtype=torch.int8),
        f"{name}.wscales": torch.zeros(1, rows).half(),
        f"{name}.smooth_factor": torch.zeros(columns).half(),
        f"{name}.proj_down": torch.zeros(columns, 4).half(),
        f"{name}.proj_up": torch.zeros(rows, 4).half(),
    }


def nvfp4(name: str, weight: Tensor) -> Tensors:
    rows, columns = weight.flatten(1).shape
    return {
        f"{name}.weight": torch.zeros(rows, -(-columns // 2), dtype=torch.uint8),
        f"{name}.weight_scale": torch.zeros(rows, -(-columns // 16)).to(E4M3),
        f"{name}.weight_scale_2": torch.zeros(()),
        f"{name}.comfy_quant": text(format="nvfp4"),
    }


def mxfp8(name: str, weight: Tensor) -> Tensors:
    rows, columns = weight.flatten(1).shape
    return {
        f"{name}.weight": weight.to(E4M3),
        f"{name}.weight_scale": torch.zeros(rows, -(-columns // 32), dtype=torch.uint8),
    }


def quanto(name: str, weight: Tensor) -> Tensors:
    return {f"{name}.weight._data": weight.to(torch.int8), f"{name}.weight._scale": torch.ones(len(weight), 1)}


def later_format(name: str, weight: Tensor) -> Tensors:
    """A format of ComfyUI that does not exist yet."""
    return {f"{name}.weight": weight.to(E4M3), f"{name}.comfy_quant": text(format="trellis3")}


PACKED: dict[str, Callable[[str, Tensor], Tensors]] = {
    "bitsandbytes nf4": bitsandbytes,
    "GPTQ": gptq,
    "AWQ": awq,
    "SVDQuant (nunchaku)": svdquant,
    "NVFP4": nvfp4,
    "MXFP8": mxfp8,
    "optimum-quanto": quanto,
    "trellis3": later_format,
}
"""Quantizations that are recognized, by the name that a refusal has to give."""
