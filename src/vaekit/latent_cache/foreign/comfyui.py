"""ComfyUI's `.latent` files: safetensors with a batch of latents in `latent_tensor`.

An empty tensor `latent_format_version_0` marks latents as VAEs of ComfyUI output them, which are raw except for FLUX.2;
files without it are older and hold SD1's latents times 0.18215.

Source: `SaveLatent` and `LoadLatent` in `nodes.py`, and `comfy/latent_formats.py` of comfyanonymous/ComfyUI.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from vaekit.latent_cache.foreign.mark import KEY, OriginMark, mark_from
from vaekit.latent_cache.foreign.names import Names, Source, flat, inside, source_in, without_ending
from vaekit.latent_cache.foreign.records import Stored, StoredLatents, Variant
from vaekit.latent_cache.foreign.tensors import bad_file, lacking, latents_from, open_safe, write_safe

ENDING = ".latent"
TENSOR, VERSION = "latent_tensor", "latent_format_version_0"
OLD_SCALE = 0.18215
"""LoadLatent divides latents of old files by it, whatever made them."""
BATCH_AXES = range(4, 6)
RAW = Variant("raw", (), Stored.RAW)
FLUX2 = Variant("flux2", ("FLUX.2", "FLUX.2 small decoder"), Stored.NORMALIZED, 128, 16)
OLD = Variant("old", ("SD1 / SD2",), Stored.RAW, 4, 8, no_export="new files hold raw latents")


class ComfyUI:
    """Latents that nodes of ComfyUI save and load."""

    name = "comfyui"
    title = "ComfyUI"
    place = "in its input folder, for the node LoadLatent: give that as OUT"
    loses = "the variance, mirrored latents, labels and captions, sizes and the crop box, folders in names"
    keeps_flips = False
    variants: tuple[Variant, ...] = (RAW, FLUX2, OLD)

    def claims(self, path: Path) -> bool:
        return path.suffix.lower() == ENDING

    def read(self, path: Path) -> Sequence[StoredLatents]:
        file = open_safe(path)
        if TENSOR not in file.names:
            raise lacking(path, f"{TENSOR}, which the loader requires", file.names)
        batch = file.read(TENSOR)
        if batch.dim() not in BATCH_AXES or not len(batch):
            raise bad_file(
                path, f"its {TENSOR} has shape {list(batch.shape)}", "Expected (b, channels, height, width)."
            )
        old = VERSION not in file.names
        variant = OLD if old else FLUX2 if batch.shape[1] == FLUX2.channels and batch.dim() == min(BATCH_AXES) else RAW
        stem = path.stem
        names = [stem] if len(batch) == 1 else [f"{stem}-{number}" for number in range(1, len(batch) + 1)]
        mark = mark_from(file.metadata.get(KEY, ""))
        all_latents = [latents_from(path, TENSOR, each) / (OLD_SCALE if old else 1) for each in batch]
        return [StoredLatents(name, variant, each, mark=mark) for name, each in zip(names, all_latents, strict=True)]

    def source(self, path: Path, name: str) -> Source:
        return source_in([path.parent], name)

    @contextmanager
    def writer(self, folder: Path, mark: OriginMark) -> Iterator["ComfyUIWriter"]:
        yield ComfyUIWriter(folder, mark)


class ComfyUIWriter:
    """Writes one file for each item, all into one folder."""

    def __init__(self, folder: Path, mark: OriginMark) -> None:
        self.folder, self.mark, self.names = folder, mark, Names()

    def add(self, item: StoredLatents) -> Path:
        stem = flat(without_ending(item.name))
        path = self.names.take(inside(self.folder, f"{stem}{ENDING}"), item.name)
        tensors = {TENSOR: item.latents[None], VERSION: torch.tensor([])}
        write_safe(path, tensors, {KEY: self.mark.as_text()})
        return path


COMFYUI = ComfyUI()
