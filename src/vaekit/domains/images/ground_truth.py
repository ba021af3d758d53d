"""Masks of defects among the files of a data set: which files are masks, of which images, and how they are read.

Data sets of inspection have a folder of good images to train on, test images in a folder for each kind of defect, and
masks of the defects, for some or all of them:

    MVTec AD, BTAD     test/scratch/000.png        ground_truth/scratch/000_mask.png
    MVTec LOCO         test/scratch/000.png        ground_truth/scratch/000/000.png, 001.png, ...
    MVTec AD 2         test_public/bad/000.png     test_public/ground_truth/bad/000_mask.png
    VisA               Images/Anomaly/000.JPG      Masks/Anomaly/000.png
    DAGM               Test/0580.PNG               Test/Label/0580_label.PNG
    Kolektor           test/10301.png              test/10301_GT.png
    magnetic tiles     MT_Crack/Imgs/1.jpg         MT_Crack/Imgs/1.png

Names decide, except in the last layout, which could also hold an image in two formats: there the content does.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vaekit.datasets.dataset import Dataset, Splits
from vaekit.datasets.listing import files_below, suffix_of
from vaekit.datasets.single_files import Folder
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.images.decode import decoded_file
from vaekit.domains.images.read import IMAGE_ENDINGS
from vaekit.errors import BadItem, VaekitError, counted

MASK_FOLDERS = frozenset(("ground_truth", "groundtruth", "gt", "mask", "masks", "label", "labels"))
"""Names of folders of masks, in lower case, where their files pair up with images."""
MASK_ENDINGS = ("_mask", "-mask", "_gt", "_label")
"""Endings of the names of masks, before the suffix, in lower case."""
LOSSLESS = frozenset((".png", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".pbm"))
"""Suffixes of masks that have the name of their image."""
HALF = 128
"""Half of the full intensity of 8 bits."""
SOFT = 16
"""Values of antialiased masks are within this of black or white, but for a small share of their pixels."""
MOST_SOFT = 0.05
PROBED = 3
"""Pairs of equal names in a folder whose content is looked at."""

Masks = dict[str, list[str]]
"""Name of an image -> names of its masks: paths relative to the folder of the data set, with slashes."""


def find_masks(names: Sequence[str], root: Path) -> tuple[Masks, list[str]]:
    """The masks among the image files of a folder, by image; and the names of all other files, in order.

    Masks without an image are in neither.

    Args:
        names: paths of all images and masks relative to the folder, with slashes.
        root: the folder, to look at the content of files where names do not decide.
    """
    apart, images = masks_in_folders(names)
    beside, images = masks_beside(images)
    alike, images = twins(images, root)
    return {**apart, **beside, **alike}, images


def masks_in_folders(names: Sequence[str]) -> tuple[Masks, list[str]]:
    """Masks in folders of their own, by image; and all other files.

    A mask pairs up with the image of the same name in the folder of the same kind, where both are below the folder that
    contains the one of masks. Where none of the files of such a folder has an image, they are no masks.
    """
    folders = {name.rpartition("/")[0] for name in names}
    places = {folder: place for folder in folders if (place := place_of_masks(folder)) is not None}
    if not places:
        return {}, list(names)
    images: dict[str, list[PurePosixPath]] = defaultdict(list)
    for name in names:
        if name.rpartition("/")[0] not in places:
            images[PurePosixPath(name).stem.lower()].append(PurePosixPath(name))
    found: Masks = defaultdict(list)
    paired = set()
    for name in names:
        folder = name.rpartition("/")[0]
        image = image_of_mask(PurePosixPath(name), places[folder], images) if folder in places else None
        if image is not None:
            found[image].append(name)
            paired.add(top_of_masks(folder, places[folder]))
    masks = {folder for folder, place in places.items() if top_of_masks(folder, place) in paired}
    return dict(found), [name for name in names if name.rpartition("/")[0] not in masks]


def top_of_masks(folder: str, place: int) -> tuple[str, ...]:
    """The outermost folder of masks that contains a folder."""
    return PurePosixPath(folder).parts[: place + 1]


def place_of_masks(folder: str) -> int | None:
    """The number of folders above the folder of masks that a folder is in, or is itself; None if there is none."""
    return next((i for i, each in enumerate(PurePosixPath(folder).parts) if each.lower() in MASK_FOLDERS), None)


def image_of_mask(mask: PurePosixPath, place: int, images: Mapping[str, Sequence[PurePosixPath]]) -> str | None:
    """The image of a mask in a folder of masks; None if there is none, or several.

    Args:
        mask: its path.
        place: the number of folders above the folder of masks.
        images: by stem in lower case.
    """
    above, kind = mask.parts[:place], mask.parts[place + 1 : -1]
    names = [(bare_stem(mask), kind)]
    if kind:  # a folder for each image, with several masks
        names.append((kind[-1].lower(), kind[:-1]))
    for stem, folders in names:
        pairs = [
            image
            for image in images.get(stem, ())
            if image.parts[: len(above)] == above and ends_with(image.parts[len(above) : -1], folders)
        ]
        tested = [image for image in pairs if not image.parts[len(above)].lower().startswith(("train", "val"))]
        if len(tested or pairs) == 1:
            return (tested or pairs)[0].as_posix()
    return None


def ends_with(parts: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether a path ends with these folders."""
    return not wanted or tuple(parts[-len(wanted) :]) == tuple(wanted)


def bare_stem(path: PurePosixPath) -> str:
    """The name of a file without suffix and ending of a mask, in lower case.

    >>> bare_stem(PurePosixPath("scratch/000_mask.png"))
    '000'
    """
    stem = path.stem.lower()
    return next((stem.removesuffix(ending) for ending in MASK_ENDINGS if stem.endswith(ending)), stem)


def masks_beside(names: Sequence[str]) -> tuple[Masks, list[str]]:
    """Masks whose names are those of an image in the same folder and an ending; and all other files."""
    possible = [name for name in names if without_suffix(name).lower().endswith(MASK_ENDINGS)]
    if not possible:
        return {}, list(names)
    images = {without_suffix(name).lower(): name for name in names}
    found: Masks = defaultdict(list)
    for name in possible:
        path = PurePosixPath(name.lower())
        image = images.get((path.parent / bare_stem(path)).as_posix())
        if image is not None:
            found[image].append(name)
    masks = {mask for those in found.values() for mask in those}
    return dict(found), [name for name in names if name not in masks]


def without_suffix(name: str) -> str:
    """A path without the suffix of the file."""
    return name.rpartition(".")[0] or name


def twins(names: Sequence[str], root: Path) -> tuple[Masks, list[str]]:
    """Lossless masks beside images of the same name and another suffix, where the first ones of a folder look like
    masks; and all other files."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[without_suffix(name)].append(name)
    pairs: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for stem, files in groups.items():
        masks = [name for name in files if suffix_of(name) in LOSSLESS]
        if len(files) == 2 and len(masks) == 1:
            image = next(name for name in files if name not in masks)
            pairs[stem.rpartition("/")[0]].append((image, masks[0]))
    found = {
        image: [mask]
        for those in pairs.values()
        if all(looks_like_mask(root / mask) for _, mask in those[:PROBED])
        for image, mask in those
    }
    found_masks = {mask for those in found.values() for mask in those}
    return found, [name for name in names if name not in found_masks]


def looks_like_mask(path: Path) -> bool:
    """Whether an image is gray, and almost all of it black or white; False if it cannot be read."""
    with suppress(VaekitError):
        values = gray_values(path)
        soft = (values >= SOFT) & (values < 256 - SOFT)
        return values.max() < SOFT or float(soft.mean()) <= MOST_SOFT
    return False


def read_mask(paths: Sequence[Path], size: tuple[int, int]) -> Bool[Tensor, "h w"]:
    """The defects of an image: the union of its masks, in rows and columns of a size.

    Masks with values of half the full intensity and more hold intensities, and defects are at least half as bright as
    white. In others, every value except 0 is a number of a defect. A mask of another size than its image is resized
    without interpolation.

    Raises:
        BadItem, NotFound: a mask cannot be read, or is not gray.
    """
    defects = torch.zeros(size, dtype=torch.bool)
    for path in paths:
        values = gray_values(path)
        mask = values >= HALF if values.max() >= HALF else values > 0
        if mask.shape != size:
            mask = np.asarray(Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST))
        defects |= torch.from_numpy(np.array(mask))
    return defects


def gray_values(path: Path) -> NDArray[np.uint8]:
    """The values of a gray image (h, w), or of a color image whose colors are gray.

    Raises:
        BadItem, NotFound: it cannot be read, or has colors.
    """
    pixels = decoded_file(path)
    values = np.asarray(pixels)
    if values.dtype != np.uint8:  # 16 bits: floats in [-1, 1]
        values = np.asarray(((values + 1) * 127.5).round(), np.uint8)
    values = values[..., None] if values.ndim == 2 else values[..., :3]
    if (values != values[..., :1]).any():
        raise BadItem(
            f"{path} is a mask in color.", "Expected gray: black where there is no defect.", "Convert it to gray."
        )
    return values[..., 0]


@dataclass(frozen=True)
class GroundTruth:
    """The masks of the images in a folder."""

    root: Path
    masks: Masks

    def defects(self, name: str, size: tuple[int, int]) -> Bool[Tensor, "h w"] | None:
        """The defects of an image of a size; None if it has no mask.

        Raises:
            BadItem, NotFound: a mask cannot be read.
        """
        masks = self.masks.get(name)
        return None if masks is None else read_mask([self.root / mask for mask in masks], size)


def ground_truth_of(dataset: Dataset) -> GroundTruth | None:
    """The masks in the folder of a data set; None if it is no folder of files, or has none."""
    if not isinstance(dataset, Folder):
        return None
    root = Path(dataset.root)
    masks, _ = find_masks([name for name, _ in files_below(root, IMAGE_ENDINGS, ignore)], root)
    return GroundTruth(root, masks) if masks else None


def ignore(_name: str, _why: str) -> None:
    """Skipped files were logged when the data set was opened."""


def without_masks(splits: Splits, log: SkipLog) -> Splits:
    """The same data without masks, where they are files of a folder."""
    parts = [part for part in (splits.train, splits.test) if isinstance(part, Folder)]
    names = [name for part in parts for name in part.names]
    if not parts or len({part.root for part in parts}) != 1:
        return splits
    kept = set(find_masks(names, Path(parts[0].root))[1])
    if len(kept) == len(names):
        return splits
    log.say(f"{counted(len(names) - len(kept), 'file')} are masks of other images, and not used as images.")
    train, *test = (replace(part, names=[name for name in part.names if name in kept]) for part in parts)
    return Splits(train, test[0] if test else splits.test)
