"""Files of musubi-tuner: a safetensors file for each image, all in one folder.

`<stem>_<W>x<H>_<architecture>.safetensors`, where W and H are those of the original image, with the key
`latents_<F>x<H>x<W>_<dtype>`, or without F for FLUX.2. The metadata holds the architecture and the size of the image.
NaN is replaced by 0 before a file is written.

Source: `dataset/cache_io.py`, `dataset/architectures.py`, `dataset/image_video_dataset.py` and `*_cache_latents.py` of
kohya-ss/musubi-tuner, commit 30c658c.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vaekit.errors import BadLatent
from vaekit.formats.tensor_file import dtype_name
from vaekit.geometry import size_text
from vaekit.latent_cache.foreign.mark import KEY, OriginMark, mark_from
from vaekit.latent_cache.foreign.names import Names, Source, inside, sized, source_in, without_ending
from vaekit.latent_cache.foreign.records import Stored, StoredLatents, Variant
from vaekit.latent_cache.foreign.tensors import Tensors, bad_file, lacking, latents_from, open_safe, write_safe

ENDING = ".safetensors"
NAME = re.compile(r"(?P<sized>.+_\d{4,7}x\d{4,7})_(?P<name>[a-z0-9]+)\.safetensors")
LATENTS = re.compile(r"latents_((?P<frames>\d+)x)?(?P<height>\d+)x(?P<width>\d+)_(?P<dtype>b?float\d+\w*)")
FORMAT_VERSION = "1.0.1"


@dataclass(frozen=True)
class Architecture(Variant):
    """The latents of one architecture."""

    full: str = ""
    """Its name in the metadata."""
    frames_in_key: bool = True
    """Whether the key starts with the number of frames."""


CONTROL = "its loader also requires latents of a control image"
VIDEO = "its loader also requires latents of clean frames"
QWEN, HUNYUAN = ("Qwen-Image", "Wan 2.1"), ("HunyuanVideo",)
VARIANTS = (
    Architecture("zi", ("FLUX.1",), Stored.RAW, 16, 8, full="z_image"),
    Architecture("qi", QWEN, Stored.NORMALIZED, 16, 8, frames=True, full="qwen_image"),
    Architecture("kr2", QWEN, Stored.NORMALIZED, 16, 8, frames=True, full="krea2"),
    Architecture("wan", ("Wan 2.1",), Stored.NORMALIZED, 16, 8, frames=True, full="wan"),
    Architecture("f2d", ("FLUX.2",), Stored.NORMALIZED, 128, 16, full="flux_2_dev", frames_in_key=False),
    Architecture("f2k4b", ("FLUX.2",), Stored.NORMALIZED, 128, 16, full="flux_2_klein_4b", frames_in_key=False),
    Architecture("f2k9b", ("FLUX.2",), Stored.NORMALIZED, 128, 16, full="flux_2_klein_9b", frames_in_key=False),
    Architecture("hv", HUNYUAN, Stored.RAW, 16, 8, frames=True, full="hunyuan_video"),
    Architecture(
        "hv15", ("HunyuanVideo 1.5 / HunyuanImage refiner",), Stored.RAW, 32, 16, frames=True, full="hunyuan_video_1_5"
    ),
    Architecture("k5", HUNYUAN, Stored.NORMALIZED, 16, 8, frames=True, full="kandinsky5"),
    Architecture("fp", HUNYUAN, Stored.NORMALIZED, 16, 8, frames=True, no_export=VIDEO, full="framepack"),
    Architecture("fk", ("FLUX.1",), Stored.NORMALIZED, 16, 8, no_export=CONTROL, full="flux_kontext"),
    Architecture("qie", QWEN, Stored.NORMALIZED, 16, 8, frames=True, no_export=CONTROL, full="qwen_image_edit"),
)
UNKNOWN = {"ho1": "pixels, not latents", "i4": "latents in another arrangement", "qil": "several layers of an image"}
"""Architectures whose files hold something else than the latents of an image."""


class Musubi:
    """Cached latents of musubi-tuner."""

    name = "musubi"
    title = "musubi-tuner"
    place = "in the cache_directory of its data set: give that as OUT, and make its text cache as usual"
    loses = "the variance, mirrored latents, labels and captions, the crop box, folders in names"
    keeps_flips = False
    variants: tuple[Variant, ...] = VARIANTS

    def claims(self, path: Path) -> bool:
        match = NAME.fullmatch(path.name)
        return match is not None and (match["name"] in UNKNOWN or architecture_named(match["name"]) is not None)

    def read(self, path: Path) -> Sequence[StoredLatents]:
        match = NAME.fullmatch(path.name)
        assert match is not None
        variant = architecture_named(match["name"])
        if variant is None:
            raise bad_file(path, f"caches of {match['name']} hold {UNKNOWN[match['name']]}, which vaekit does not read")
        file = open_safe(path)
        keys = [found for name in file.names if (found := LATENTS.fullmatch(name))]
        if not keys:
            raise lacking(path, "latents_<F>x<H>x<W>_<dtype>, which the loader requires", file.names)
        stem, named = sized(match["sized"])
        return [read_entry(path, file, key, variant, stem, named) for key in keys]

    def source(self, path: Path, name: str) -> Source:
        found = source_in([path.parent, path.parent.parent], name)
        match = NAME.fullmatch(path.name)
        texts = path.with_name(f"{name}_{match['name'] if match else ''}_te{ENDING}")
        with suppress(BadLatent):
            caption = open_safe(texts).metadata.get("caption1") if texts.is_file() else None
            return found if caption is None else Source(found.image, caption)
        return found

    @contextmanager
    def writer(self, folder: Path, mark: OriginMark) -> Iterator["MusubiWriter"]:
        yield MusubiWriter(folder, mark)


def architecture_named(name: str) -> Architecture | None:
    """The architecture that a file's name states."""
    return next((each for each in VARIANTS if each.name == name), None)


def read_entry(
    path: Path,
    file: Tensors,
    key: re.Match[str],
    variant: Architecture,
    stem: str,
    named: tuple[int, int] | None,
) -> StoredLatents:
    """The latents of one key.

    Raises:
        BadLatent: they are no latents.
    """
    latents = latents_from(path, key[0], file.read(key[0]))
    wrong = []
    frames = latents.shape[1] if latents.dim() > 3 else 1
    shape = (frames, *latents.shape[-2:])
    if (int(key["frames"] or 1), int(key["height"]), int(key["width"])) != shape:
        wrong.append(f"{key[0]} has the shape {list(latents.shape)}")
    stated = (file.metadata.get("width", ""), file.metadata.get("height", ""))
    if named is not None and all(each.isdecimal() for each in stated) and named != (int(stated[1]), int(stated[0])):
        wrong.append(f"the metadata states the size {'x'.join(stated)}, and the name {size_text(named)}")
    architecture = file.metadata.get("architecture", variant.full)
    if architecture != variant.full:
        wrong.append(f"the metadata states the architecture {architecture}, and the name {variant.full}")
    mark = mark_from(file.metadata.get(KEY, ""))
    return StoredLatents(stem, variant, latents, size=named, mark=mark, wrong_sizes=tuple(wrong))


class MusubiWriter:
    """Writes one safetensors file for each image, all into one folder."""

    def __init__(self, folder: Path, mark: OriginMark) -> None:
        self.folder, self.mark, self.names = folder, mark, Names()

    def add(self, item: StoredLatents) -> Path:
        assert isinstance(item.variant, Architecture)
        if item.size is None:
            raise BadLatent(f"The size of {item.name} is unknown.", "Expected the size of the image.", "")
        stem = PurePosixPath(without_ending(item.name)).name
        height, width = item.size
        path = inside(self.folder, f"{stem}_{width:04d}x{height:04d}_{item.variant.name}{ENDING}")
        self.names.take(self.folder / f"{stem}_{item.variant.name}_te{ENDING}", item.name)  # of its caption
        tall, wide = item.latents.shape[-2:]
        frames = f"{item.latents.shape[1] if item.variant.frames else 1}x" if item.variant.frames_in_key else ""
        latents = item.latents.float()
        metadata = {
            "architecture": item.variant.full,
            "width": str(width),
            "height": str(height),
            "format_version": FORMAT_VERSION,
            KEY: self.mark.as_text(),
        }
        write_safe(path, {f"latents_{frames}{tall}x{wide}_{dtype_name(latents.dtype)}": latents}, metadata)
        return path


MUSUBI = Musubi()
