"""Write weights as shards, as huggingface_hub and diffusers do."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor


def write_shards(
    folder: Path,
    tensors: Mapping[str, Tensor],
    stem: str = "diffusion_pytorch_model",
    ending: str = ".safetensors",
    variant: str = "",
    count: int = 2,
    index: bool = True,
    metadata: Mapping[str, str] | None = None,
) -> tuple[Path, list[Path]]:
    """Split tensors into shards, in the order of their names.

    Returns:
        The path of the index, which exists only if it is wanted, and those of the shards.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(tensors)
    size = -(-len(names) // count)
    dotted = f".{variant}" if variant else ""
    weight_map, paths = {}, []
    for i in range(count):
        path = folder / f"{stem}{dotted}-{i + 1:05d}-of-{count:05d}{ending}"
        part = {name: tensors[name].contiguous().clone() for name in names[i * size : (i + 1) * size]}
        if ending == ".safetensors":
            save_file(part, path, dict(metadata) if metadata else None)
        else:
            torch.save(part, path)
        weight_map |= dict.fromkeys(part, path.name)
        paths.append(path)
    place = folder / f"{stem}{ending}.index{dotted}.json"
    if index:
        place.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return place, paths
