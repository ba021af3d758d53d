"""Present files with quantized weights as if they held the weights themselves.

A quantized layer `X` has tensors beside `X.weight`: its scales, the scales of its inputs, a marker with its format.
They are hidden, and `X.weight` is read as float32 by applying the scales. Known forms:

- scaled fp8: `X.scale_weight` (ComfyUI until 2025, with a tensor `scaled_fp8` for the whole file), `X.weight_scale`
  (ComfyUI since, compressed-tensors, ModelOpt) or `X.weight_scale_inv` (DeepSeek, transformers). All three are factors.
- int8: `X.weight_scale`, also of rotated weights ("convrot").
- `X.comfy_quant`, JSON in a tensor of bytes, or the entry `_quantization_metadata` of the file's metadata, name the
  format of each layer.

Weights that are packed by other programs are given the name of their quantization, and cannot be read. Nothing is
refused here: a checkpoint may hold a plain VAE beside a quantized diffusion model.

Sources: `_load_quantized_module` and `convert_old_quants` in ComfyUI (comfy/ops.py, comfy/utils.py).
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vaekit.formats.dequantization import can_rotate, dequantized, scale_shape
from vaekit.formats.tensor_file import Span, TensorFile, TensorSpec, dtype_name
from vaekit.json import json_object

SCALES = ("weight_scale", "scale_weight", "weight_scale_inv")
"""The factors of a layer's weights."""
BESIDE_SCALES = ("input_scale", "scale_input", "output_scale", "scale_output", "comfy_quant")
"""Tensors of a quantized layer that do not change its weights: inputs stay in high precision here."""
MARKER, FORMAT = "scaled_fp8", "comfy_quant"
METADATA = "_quantization_metadata"
LONGEST_FORMAT = 4096
"""The maximum size of a layer's format in bytes."""
LONGEST_METADATA = 4 << 20
"""The maximum size of the formats of all layers in characters; those of 500 layers have 50,000."""
ROTATED_TOGETHER = 256
"""The size of rotated groups, if a file does not state it."""
CONVROT = "int8 convrot"
SHORT = {torch.float8_e4m3fn: "fp8", torch.float8_e5m2: "fp8"}
"""The usual names of dtypes that are quantized to."""


@dataclass(frozen=True)
class Packing:
    """A quantization that is recognized, but not undone."""

    name: str
    marks: tuple[str, ...]
    """The tensors of a layer that identify it, all of them."""
    others: tuple[str, ...] = ()
    """Other tensors of a layer that it may have."""
    stored: str = "weight"
    """The tensor that holds the packed weights."""


BITSANDBYTES = ("weight.absmax", "weight.quant_map", "weight.nested_absmax", "weight.nested_quant_map")
PACKINGS = (
    Packing("bitsandbytes nf4", ("weight.quant_state.bitsandbytes__nf4",), BITSANDBYTES),
    Packing("bitsandbytes fp4", ("weight.quant_state.bitsandbytes__fp4",), BITSANDBYTES),
    Packing("bitsandbytes 4-bit", ("weight.absmax",), BITSANDBYTES),
    Packing("bitsandbytes int8", ("SCB",), ("weight_format",)),
    Packing(
        "SVDQuant (nunchaku)",
        ("qweight", "wscales"),
        (
            *("smooth_factor", "smooth_factor_orig", "lora_down", "lora_up", "proj_down", "proj_up"),
            *("wtscale", "wcscales", "wzeros"),
        ),
        "qweight",
    ),
    Packing("GPTQ", ("qweight", "g_idx"), ("qzeros", "scales"), "qweight"),
    Packing("AWQ", ("qweight", "scales"), ("qzeros",), "qweight"),
    Packing("torchao", ("_weight_qdata",), ("_weight_scale", "_weight_zero_point"), "_weight_qdata"),
    Packing("torchao", ("weight_qdata",), (*SCALES, "weight_zero_point"), "weight_qdata"),
    Packing("optimum-quanto", ("weight._data",), ("weight._scale", "weight._shift", *BESIDE_SCALES), "weight._data"),
    Packing("HQQ", ("W_q",), ("meta",), "W_q"),
    Packing(
        "compressed-tensors",
        ("weight_packed",),
        (
            *SCALES,
            *BESIDE_SCALES,
            *("weight_shape", "weight_zero_point", "weight_g_idx", "weight_global_scale", "input_global_scale"),
        ),
        "weight_packed",
    ),
    Packing("int8 with zero points", ("weight_zero_point",), (*SCALES, *BESIDE_SCALES)),
    Packing("NVFP4", ("weight_scale_2",), (*SCALES, *BESIDE_SCALES, "pre_quant_scale")),
    Packing("AWQ (ModelOpt)", ("pre_quant_scale",), (*SCALES, *BESIDE_SCALES)),
    Packing("W4A8", ("weight_s_rel",), ("weight_s_channel", "weight_codebook", "comfy_quant")),
    Packing("AWQ W4A16", ("weight_zeros",), (*SCALES, *BESIDE_SCALES)),
    Packing("MLX", ("scales", "biases")),
    Packing("SDNQ", ("scale", "zero_point"), ("svd_up", "svd_down")),
)
"""From the most specific to the least; the first that fits is taken."""
SUFFIXES = frozenset(SCALES + BESIDE_SCALES).union(
    *({*packing.marks, *packing.others, packing.stored} for packing in PACKINGS)
) - {"weight"}
MOST_PARTS = 3
"""The maximum number of dotted components of a suffix."""


@dataclass(frozen=True)
class QuantizedLayer:
    """The tensors of a quantized weight."""

    stored: str
    """The name of the tensor that holds its values."""
    scale: str
    """The name of its scales; empty if they cannot be applied."""
    dtype: torch.dtype
    """The dtype of the values, as which their bytes are read."""
    block: int | None
    group: int
    spec: TensorSpec
    """The description of the weight after reading."""


def without_quantization(file: TensorFile) -> TensorFile:
    """Present the quantized layers of a file as plain weights; the same file if it has none."""
    layers = layer_tensors(file.specs)
    markers = {key for key in file.specs if is_marker(key)}
    formats = stated_formats(file, layers)
    weights: dict[str, QuantizedLayer] = {}
    companions: dict[str, tuple[str, ...]] = {}
    for name, tensors in layers.items():
        layer = packed_layer(file, name, tensors) or scaled_layer(file, name, tensors, formats.get(name, {}))
        if layer is not None:
            key = f"{name}.weight"
            weights[key] = layer
            companions[key] = tuple(sorted({*tensors.values(), layer.stored} - {key}))
    if not weights and not markers:
        return file
    hidden = markers.union(*companions.values())

    def read(names: Iterable[str]) -> dict[str, Tensor]:
        wanted = list(names)
        plain = file.read([name for name in wanted if name not in weights])
        return {name: restored(file, weights[name]) if name in weights else plain[name] for name in wanted}

    def span(name: str) -> Span | None:
        return None if name in weights else file.span(name)

    plain = {key: spec for key, spec in file.specs.items() if key not in hidden}
    specs = plain | {key: layer.spec for key, layer in weights.items()}
    return replace(file, specs=specs, read=read, span=span, companions={**file.companions, **companions})


def is_marker(name: str) -> bool:
    """Whether this is the name of the tensor that marks a file, or the part of it with this prefix, as scaled fp8."""
    return name.rpartition(".")[2] == MARKER


def restored(file: TensorFile, layer: QuantizedLayer) -> Tensor:
    """Read a quantized weight, in float32."""
    read = file.read([layer.stored, layer.scale])
    return dequantized(read[layer.stored].view(layer.dtype), read[layer.scale], layer.block, layer.group)


def layer_tensors(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """The tensors beside weights that quantizations add: layer -> suffix -> name."""
    layers: dict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        parts = name.split(".")
        for count in range(min(MOST_PARTS, len(parts) - 1), 0, -1):
            suffix = ".".join(parts[-count:])
            if suffix in SUFFIXES:
                layers[".".join(parts[:-count])][suffix] = name
                break
    return layers


def stated_formats(file: TensorFile, layers: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, Any]]:
    """The formats that a file states for its layers, by their names."""
    stated = json_object(file.metadata.get(METADATA, "")[:LONGEST_METADATA]).get("layers")
    entries = stated.items() if isinstance(stated, dict) else ()
    formats = {name: entry for name, entry in entries if isinstance(entry, dict)}
    blobs = {name: tensors[FORMAT] for name, tensors in layers.items() if FORMAT in tensors}
    short = [key for key in blobs.values() if is_short_text(file.specs[key])]
    read = file.read(short) if short else {}
    return formats | {name: json_object(bytes(read[key].tolist())) for name, key in blobs.items() if key in read}


def is_short_text(spec: TensorSpec) -> bool:
    """Whether a tensor can be the JSON text of a layer's format."""
    return spec.dtype == torch.uint8 and spec.readable and len(spec.shape) == 1 and spec.shape[0] <= LONGEST_FORMAT


def packed_layer(file: TensorFile, name: str, tensors: Mapping[str, str]) -> QuantizedLayer | None:
    """A layer of a quantization that is recognized, but not undone; None if it is of no such quantization."""
    for packing in PACKINGS:
        stored = f"{name}.{packing.stored}"
        spec = file.specs.get(stored)
        if spec is None or not all(mark in tensors for mark in packing.marks):
            continue
        if spec.dtype.itemsize == 1 or not spec.dtype.is_floating_point or not spec.readable:
            return unreadable(stored, spec, packing.name)
    return None


def scaled_layer(
    file: TensorFile, name: str, tensors: Mapping[str, str], settings: Mapping[str, Any]
) -> QuantizedLayer | None:
    """A layer with scales, which are applied if their shape determines how; None for a layer without any."""
    stored = f"{name}.weight"
    spec = file.specs.get(stored)
    scale = next((tensors[suffix] for suffix in SCALES if suffix in tensors), "")
    stated = text_of(settings.get("format"))
    if spec is None or not (scale or stated):
        return None
    dtype = stored_dtype(spec, stated)
    if dtype is None or not scale:
        return unreadable(stored, spec, stated or f"{spec.stored_as} with scales")
    rotated = setting(settings, "convrot") is True
    group = whole_number(setting(settings, "convrot_groupsize"), ROTATED_TOGETHER) if rotated else 0
    block = whole_number(setting(settings, "block_size") or setting(settings, "group_size"), 0) or None
    factors = file.specs[scale]
    kind = CONVROT if rotated else f"scaled {SHORT.get(dtype, str(dtype).removeprefix('torch.'))}"
    if not factors.readable or not factors.dtype.is_floating_point or factors.dtype.itemsize == 1:
        return unreadable(stored, spec, "MXFP8")  # one exponent for every 32 values, in an order of its own
    if not scale_shape(spec.shape, factors.shape, block):
        return unreadable(stored, spec, f"{kind} with scales of shape {list(factors.shape)} for {list(spec.shape)}")
    if rotated and not can_rotate(spec.shape, group):
        return unreadable(stored, spec, f"{kind} with groups of {group} in {list(spec.shape)}")
    described = TensorSpec(spec.shape, torch.float32, dtype_name(dtype), quantization=kind)
    return QuantizedLayer(stored, scale, dtype, block, group, described)


def stored_dtype(spec: TensorSpec, stated: str) -> torch.dtype | None:
    """The dtype of a layer's stored values; None if they are packed, or of an unknown format."""
    if not spec.readable:
        return None
    if stated.startswith("int8_"):
        return torch.int8 if spec.dtype == torch.int8 else None
    if stated.startswith("float8_"):
        prefix = next((name for name in ("float8_e4m3fn", "float8_e5m2") if stated.startswith(name)), "")
        dtype = vars(torch).get(prefix)
        # Some files store the bytes of fp8 values as unsigned integers.
        return dtype if isinstance(dtype, torch.dtype) and spec.dtype in (dtype, torch.uint8) else None
    if stated:
        return None
    return spec.dtype if spec.dtype.is_floating_point or spec.dtype == torch.int8 else None


def unreadable(stored: str, spec: TensorSpec, name: str) -> QuantizedLayer:
    """A layer whose weights cannot be read; its shape is that of the packed values."""
    described = TensorSpec(spec.shape, torch.uint8, name, readable=False, quantization=name)
    return QuantizedLayer(stored, "", spec.dtype, None, 0, described)


def setting(settings: Mapping[str, Any], name: str) -> Any:
    """A setting of a layer's format, at the top level or under "params"."""
    inner = settings.get("params")
    return settings.get(name, inner.get(name) if isinstance(inner, dict) else None)


def whole_number(value: object, default: int) -> int:
    """A setting that is a whole number; the default if there is none."""
    return value if type(value) is int and 0 <= value < 1 << 31 else default


def text_of(value: object) -> str:
    """A setting that is a short text; empty if there is none."""
    return value if isinstance(value, str) and len(value) <= 100 and value.isprintable() else ""


def metadata_without(metadata: Mapping[str, str], layers: Iterable[str]) -> dict[str, str]:
    """The metadata of a file without the formats of these layers."""
    stated = json_object(metadata.get(METADATA, ""))
    inside = stated.get("layers")
    gone = set(layers)
    if not isinstance(inside, dict) or not gone & inside.keys():
        return dict(metadata)
    kept = {name: entry for name, entry in inside.items() if name not in gone}
    if not kept:
        return {key: text for key, text in metadata.items() if key != METADATA}
    return {**metadata, METADATA: json.dumps({**stated, "layers": kept})}
