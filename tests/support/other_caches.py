"""Files of cached latents as other programs write and read them, with numpy and safetensors alone."""

import base64
import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from made_cache import ORIGIN, key
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from vaekit.checkpoints.latent_files import LatentOrigin
from vaekit.latent_cache.description import CacheDescription, write_description
from vaekit.latent_cache.foreign.audit import Audit, audit_files
from vaekit.latent_cache.item_list import ListedItem, write_items
from vaekit.latent_cache.records import CachedItem
from vaekit.latent_cache.shard_files import ShardLatents, write_shard
from vaekit.normalization import LatentNormalization

SIZE = (480, 640)
"""(height, width) of the images."""


def latents(seed: int = 0, channels: int = 4, std: float = 7.0, size: tuple[int, int] = (12, 16)) -> Tensor:
    return std * torch.randn(channels, *size, generator=torch.Generator().manual_seed(seed))


def kohya_file(
    folder: Path,
    stem: str = "cat",
    family: str = "sdxl",
    values: Tensor | None = None,
    sizes_in_keys: bool = False,
    size: tuple[int, int] = SIZE,
    flipped: Tensor | None = None,
    **others: Any,
) -> Path:
    """A file as sd-scripts writes it."""
    values = latents() if values is None else values
    suffix = f"_{values.shape[-2]}x{values.shape[-1]}" if sizes_in_keys else ""
    arrays = {
        f"latents{suffix}": values.float().numpy(),
        f"original_size{suffix}": np.array((size[1], size[0])),
        f"crop_ltrb{suffix}": np.array((0, 0, 128.0, 96)),
    }
    if flipped is not None:
        arrays[f"latents_flipped{suffix}"] = flipped.float().numpy()
    path = folder / (f"{stem}_{size[1]:04d}x{size[0]:04d}_{family}.npz" if family else f"{stem}.npz")
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(path, **(arrays | others))
    return path


def read_as_kohya(image: Path, size: tuple[int, int], family: str, latent_size: tuple[int, int] | None = None) -> Any:
    """What the loader of sd-scripts gets for an image: latents, original size, crop, flipped latents."""
    suffix = "" if latent_size is None else f"_{latent_size[0]}x{latent_size[1]}"
    npz = np.load(image.with_name(f"{image.stem}_{size[1]:04d}x{size[0]:04d}_{family}.npz"))
    flipped = npz.get(f"latents_flipped{suffix}")
    names = ("latents", "original_size", "crop_ltrb")
    return (*(npz[f"{name}{suffix}"] for name in names), flipped)


def musubi_file(
    folder: Path,
    stem: str = "cat",
    architecture: tuple[str, str] = ("zi", "z_image"),
    values: Tensor | None = None,
    size: tuple[int, int] = SIZE,
    name: str | None = None,
) -> Path:
    """A file as musubi-tuner writes it."""
    values = latents(channels=16) if values is None else values
    frames = values.shape[1] if values.dim() == 4 else 1
    height, width = values.shape[-2:]
    dtype = str(values.dtype).split(".")[-1]
    metadata = {"architecture": architecture[1], "width": str(size[1]), "height": str(size[0])}
    path = folder / f"{stem}_{size[1]:04d}x{size[0]:04d}_{architecture[0]}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name or f"latents_{frames}x{height}x{width}_{dtype}": values.contiguous()}
    save_file(tensors, path, metadata=metadata | {"format_version": "1.0.1"})
    return path


def read_as_musubi(folder: Path, architecture: str) -> dict[str, tuple[tuple[int, int], dict[str, Tensor]]]:
    """What the loader of musubi-tuner gets from a folder: the original (width, height) and tensors of each item."""
    found = {}
    for file in folder.glob(f"*_{architecture}.safetensors"):
        tokens = file.name.split("_")
        width, height = map(int, tokens[-2].split("x"))
        contents = {}
        for name, tensor in load_file(file).items():
            dtype = str(tensor.dtype).split(".")[-1]
            assert name.endswith(f"_{dtype}")
            contents[name.removesuffix(f"_{dtype}").rsplit("_", 1)[0]] = tensor
        found["_".join(tokens[:-2])] = ((width, height), contents)
    return found


def ai_toolkit_path(image: Path, facts: dict[str, Any]) -> Path:
    """Where ai-toolkit looks for the latents of an image."""
    digest = hashlib.md5(json.dumps(facts, sort_keys=True).encode("utf-8")).digest()
    text = base64.urlsafe_b64encode(digest).decode("ascii").replace("=", "")
    return image.parent / "_latent_cache" / f"{image.stem}_{text}.safetensors"


def ai_toolkit_facts(filename: str, version: str = "sdxl", flip: bool = False) -> dict[str, Any]:
    """The facts of an image of 640x480 in the bucket of 128x96."""
    facts = {"filename": filename, "scale_to_width": 128, "scale_to_height": 96, "crop_x": 0, "crop_y": 0}
    facts |= {"crop_width": 128, "crop_height": 96, "latent_space_version": version, "latent_version": 1}
    return facts | ({"flip_x": True} if flip else {})


def ai_toolkit_file(
    folder: Path, filename: str = "cat.png", values: Tensor | None = None, version: str = "sdxl", flip: bool = False
) -> Path:
    """A file as ai-toolkit writes it."""
    facts = ai_toolkit_facts(filename, version, flip)
    path = ai_toolkit_path(folder / filename, facts)
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}
    software = json.dumps({"name": "ai-toolkit", "version": "1"})
    values = latents(std=1.0) if values is None else values
    save_file({"latent": values}, path, metadata=metadata | {"software": software, "format": "pt"})
    return path


def comfyui_file(folder: Path, name: str = "cat", values: Tensor | None = None, old: bool = False) -> Path:
    """A file as the node SaveLatent writes it."""
    tensors = {"latent_tensor": (latents() if values is None else values)[None].contiguous()}
    if not old:
        tensors["latent_format_version_0"] = torch.tensor([])
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / f"{name}.latent", metadata={"prompt": "{}"})
    return folder / f"{name}.latent"


def read_as_comfyui(path: Path) -> Tensor:
    """What the node LoadLatent gets."""
    tensors = load_file(path)
    multiplier = 1.0 if "latent_format_version_0" in tensors else 1.0 / 0.18215
    return tensors["latent_tensor"].float() * multiplier


def read_as_streaming(folder: Path) -> list[dict[str, Any]]:
    """The samples of a folder of MDS shards, as MosaicML's reader gets them."""
    samples = []
    for shard in json.loads((folder / "index.json").read_text())["shards"]:
        assert (shard["version"], shard["format"], shard["compression"], shard["zip_data"]) == (2, "mds", None, None)
        data = (folder / shard["raw_data"]["basename"]).read_bytes()
        assert len(data) == shard["raw_data"]["bytes"]
        count = int(np.frombuffer(data[:4], np.uint32)[0])
        offsets = np.frombuffer(data[4 : 4 + 4 * (count + 1)], np.uint32)
        assert count == shard["samples"]
        assert json.loads(data[4 + 4 * (count + 1) : int(offsets[0])])["column_names"] == shard["column_names"]
        for begin, end in itertools.pairwise(offsets):
            samples.append(mds_sample(data[begin:end], shard))
    return samples


def mds_sample(data: bytes, shard: dict[str, Any]) -> dict[str, Any]:
    at, sizes = 0, []
    for size in shard["column_sizes"]:
        if not size:
            size = int(np.frombuffer(data[at : at + 4], np.uint32)[0])
            at += 4
        sizes.append(size)
    sample = {}
    for name, encoding, size in zip(shard["column_names"], shard["column_encodings"], sizes, strict=True):
        value = data[at : at + size]
        decoders = {"str": lambda v: v.decode("utf-8"), "int32": lambda v: int(np.frombuffer(v, np.int32)[0])}
        sample[name] = decoders.get(encoding, bytes)(value)
        at += size
    assert at == len(data)
    return sample


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def small_cache(
    folder: Path,
    names: tuple[str, ...] = ("a/cat.png", "a/dog.png"),
    origin: LatentOrigin = ORIGIN,
    flips: bool = False,
    std: float = 2.0,
    size: tuple[int, int] = (12, 16),
) -> ShardLatents:
    """A cache of vaekit with one shard of images of 640x480, encoded at a fifth of the size."""
    description = CacheDescription(origin, "fp32", "gaussian", "images", {}, flips)
    write_description(folder, description)
    factor = origin.geometry.factors[-1]
    bucket = (size[0] * factor, size[1] * factor)
    items = [CachedItem(key(name), name, SIZE, bucket, None, "pet", f"A {name}.") for name in names]
    generator = torch.Generator().manual_seed(0)
    shape = (len(names), origin.geometry.latent_channels, *size)
    mean, variance, mirrored = (std * torch.randn(shape, generator=generator) for _ in range(3))
    shard = ShardLatents(mean, variance / std - 3, ShardLatents(mirrored, variance / std - 3) if flips else None)
    write_shard(folder, "000", description, items, shard)
    write_items(folder, [ListedItem(each.name, each.key, each.label, each.caption) for each in items])
    return shard


def audited(folder: Path, given: LatentNormalization | None = None) -> Audit:
    """An audit that reads sizes of images with Pillow."""
    return audit_files(folder, size_of, given)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.height, image.width
