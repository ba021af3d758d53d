"""Files of kohya's sd-scripts: an npz file beside each image, with latents in fp32.

`<stem>_<W>x<H>_<family>.npz`, where W and H are those of the image before it is resized, or `<stem>.npz` in old
versions. SD1 and SDXL have the keys `latents`, `original_size` (w, h), `crop_ltrb` and `latents_flipped`; newer
families add `_<h>x<w>`, the size of the latents, and keep several sizes in one file.

Source: `library/strategy_base.py` and `strategy_*.py` of kohya-ss/sd-scripts, commit 48d368f.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.errors import BadLatent
from vaekit.geometry import size_text
from vaekit.latent_cache.foreign.mark import KEY, OriginMark, mark_from
from vaekit.latent_cache.foreign.names import Names, Source, inside, sized, source_in, without_ending
from vaekit.latent_cache.foreign.records import Stored, StoredLatents, Variant
from vaekit.latent_cache.foreign.tensors import bad_file, lacking, latents_from, read_arrays, write_arrays

ENDING = ".npz"
ARRAYS = re.compile(rf"(latents|original_size|crop_ltrb|latents_flipped)(_\d+x\d+)?|{KEY}")
LATENTS = re.compile(r"latents(?P<suffix>_(?P<height>\d+)x(?P<width>\d+))?")
EVERYTHING = re.compile(".*")
FLAT_AXES = 3


@dataclass(frozen=True)
class KohyaVariant(Variant):
    """The latents of one family of models."""

    sizes_in_keys: bool = False
    """Whether keys end with the size of the latents."""

    @property
    def ending(self) -> str:
        """Of file names."""
        return f"_{self.name}{ENDING}" if self.name != OLD else ENDING


OLD = "old"
SD1, SDXL, FLUX = ("SD1 / SD2",), ("SDXL", "Playground 2.5"), ("FLUX.1",)
WAN = ("Wan 2.1", "Qwen-Image")
VARIANTS = (
    KohyaVariant("sd", SD1, Stored.RAW, 4, 8),
    KohyaVariant("sdxl", SDXL, Stored.RAW, 4, 8),
    KohyaVariant("flux", FLUX, Stored.NORMALIZED, 16, 8, sizes_in_keys=True),
    KohyaVariant("sd3", ("SD3 / SD3.5",), Stored.RAW, 16, 8, sizes_in_keys=True),
    KohyaVariant("lumina", FLUX, Stored.NORMALIZED, 16, 8, sizes_in_keys=True),
    KohyaVariant("hi", ("HunyuanImage 2.1",), Stored.RAW, 64, 32, sizes_in_keys=True),
    KohyaVariant("anima", WAN, Stored.NORMALIZED, 16, 8, sizes_in_keys=True),
    KohyaVariant(
        OLD, SD1 + SDXL, Stored.RAW, 4, 8, no_export="new files have the family in their name: use sd or sdxl"
    ),
)
TEXTS = re.compile(r".*_(te|te_outputs|te1_outputs|te2_outputs|\w+_te)\.npz", re.IGNORECASE)
"""Names of files with the outputs of text encoders."""


class Kohya:
    """Cached latents of kohya's sd-scripts."""

    name = "kohya"
    title = "kohya sd-scripts"
    place = "beside the images: give the folder of the images as OUT"
    loses = "the variance, labels and captions (it reads captions beside the images), the crop box"
    keeps_flips = True
    variants: tuple[Variant, ...] = VARIANTS

    def claims(self, path: Path) -> bool:
        return path.name.lower().endswith(ENDING) and not TEXTS.fullmatch(path.name)

    def read(self, path: Path) -> Sequence[StoredLatents]:
        variant = variant_of(path)
        arrays = read_arrays(path, ARRAYS)
        keys = [match for name in arrays if (match := LATENTS.fullmatch(name))]
        usable = [key for key in keys if bool(key["suffix"]) == variant.sizes_in_keys]
        if not usable:
            wanted = "latents_<h>x<w>" if variant.sizes_in_keys else "latents"
            raise lacking(path, f"{wanted}, which the loader of {variant.name} requires", list(arrays))
        mark = mark_in(arrays)
        return [read_entry(path, variant, arrays, key, mark) for key in usable]

    def source(self, path: Path, name: str) -> Source:
        return source_in([path.parent], name)

    @contextmanager
    def writer(self, folder: Path, mark: OriginMark) -> Iterator["KohyaWriter"]:
        yield KohyaWriter(folder, mark)


def variant_of(path: Path) -> KohyaVariant:
    """The family that a file's name states."""
    return next(each for each in VARIANTS if path.name.lower().endswith(each.ending))


def read_entry(
    path: Path, variant: KohyaVariant, arrays: dict[str, NDArray[Any]], key: re.Match[str], mark: OriginMark | None
) -> StoredLatents:
    """The latents of one size.

    Raises:
        BadLatent: arrays are missing or have invalid shapes.
    """
    suffix = key["suffix"] or ""
    latents = latents_from(path, key[0], arrays[key[0]])
    mirrored = arrays.get(f"latents_flipped{suffix}")
    flipped = None if mirrored is None else latents_from(path, f"latents_flipped{suffix}", mirrored)
    size = numbers_in(path, arrays, f"original_size{suffix}", 2)
    numbers_in(path, arrays, f"crop_ltrb{suffix}", 4)  # computed from the sizes, no box in the image
    stem, named = sized(path.name[: -len(variant.ending)])
    original = (round(size[1]), round(size[0]))
    wrong = []
    if key["height"] and (int(key["height"]), int(key["width"])) != tuple(latents.shape[-2:]):
        wrong.append(f"{key[0]} has the size {size_text(tuple(latents.shape[-2:]))}")
    if named is not None and named != original:
        wrong.append(f"original_size is {size_text(original)}, and the name states {size_text(named)}")
    if min(original) < 1:
        wrong.append(f"original_size is {size_text(original)}")
    if latents.dim() > FLAT_AXES and latents.shape[1] == 1:  # of video VAEs
        latents, flipped = latents[:, 0], None if flipped is None or flipped.dim() == FLAT_AXES else flipped[:, 0]
    return StoredLatents(stem, variant, latents, flipped, original, mark=mark, wrong_sizes=tuple(wrong))


def numbers_in(path: Path, arrays: dict[str, NDArray[Any]], name: str, count: int) -> list[float]:
    """The values of a small array that the loader requires.

    Raises:
        BadLatent: it is missing, or something else.
    """
    array = arrays.get(name)
    if array is None:
        raise lacking(path, f"{name}, which the loader requires", list(arrays))
    if array.dtype.kind not in "iuf" or array.shape != (count,) or not np.isfinite(array).all():
        raise bad_file(path, f"its {name} has shape {list(array.shape)} and dtype {array.dtype}")
    return [float(each) for each in array.tolist()]


def mark_in(arrays: dict[str, NDArray[Any]]) -> OriginMark | None:
    """What vaekit noted in the file."""
    array = arrays.get(KEY)
    return None if array is None or array.dtype != np.uint8 else mark_from(array.tobytes().decode("utf-8", "replace"))


class KohyaWriter:
    """Writes one npz file for each image, into subfolders as in the names of items."""

    def __init__(self, folder: Path, mark: OriginMark) -> None:
        self.folder, self.mark, self.names = folder, mark, Names()

    def add(self, item: StoredLatents) -> Path:
        assert isinstance(item.variant, KohyaVariant)
        if item.size is None or item.encoded is None:
            raise BadLatent(f"The size of {item.name} is unknown.", "Expected the size of the image.", "")
        height, width = item.size
        stem = inside(self.folder, without_ending(item.name))
        path = stem.with_name(f"{stem.name}_{width:04d}x{height:04d}{item.variant.ending}")
        self.names.take(path, item.name)
        old = stem.with_name(f"{stem.name}{ENDING}")
        if not item.variant.sizes_in_keys and old.exists():
            raise BadLatent(f"{old} exists.", "sd-scripts reads this old file instead of a new one.", "Remove it.")
        tall, wide = item.latents.shape[-2:]
        suffix = f"_{tall}x{wide}" if item.variant.sizes_in_keys else ""
        arrays = other_sizes(path, self.mark) if item.variant.sizes_in_keys else {}
        arrays[f"latents{suffix}"] = item.latents.float().numpy()
        arrays[f"original_size{suffix}"] = np.array([width, height])
        arrays[f"crop_ltrb{suffix}"] = np.array(crop_conditioning(item.encoded, item.size))
        if item.flipped is not None:
            arrays[f"latents_flipped{suffix}"] = item.flipped.float().numpy()
        else:
            arrays.pop(f"latents_flipped{suffix}", None)
        arrays[KEY] = np.frombuffer(self.mark.as_text().encode(), np.uint8)
        write_arrays(path, arrays)
        return path


def other_sizes(path: Path, mark: OriginMark) -> dict[str, NDArray[Any]]:
    """What an existing file holds, as the program keeps several sizes in one.

    Nothing of a damaged file, or of one that vaekit wrote with another VAE.
    """
    with suppress(BadLatent):
        arrays = read_arrays(path, EVERYTHING) if path.exists() else {}
        known = mark_in(arrays)
        return arrays if known is None or known.fingerprint == mark.fingerprint else {}
    return {}


def crop_conditioning(encoded: tuple[int, int], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """What sd-scripts stores as `crop_ltrb` and gives to SDXL as a condition.

    It is no box in the image: the image, scaled to fit inside the encoded size, is centered in it.

    Args:
        encoded: (height, width) that was encoded.
        size: (height, width) of the image.

    Returns:
        Left, top, right, bottom.
    """
    scale = min(encoded[0] / size[0], encoded[1] / size[1])
    height, width = size[0] * scale, size[1] * scale
    left, top = (encoded[1] - width) // 2, (encoded[0] - height) // 2
    return left, top, left + width, top + height


KOHYA = Kohya()
