"""Corrections of colors on disk: one JSON file for each VAE, beside its weights.

    model.safetensors          model.safetensors.correction.json
    a folder                   correction.json in it
    a VAE inside the package, or a folder that cannot be written
                               corrections/<fingerprint>.json in a models folder

A file names the VAE that it was fitted for by the fingerprint of its weights, and is refused for any other.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vaekit.atomic import atomic_file
from vaekit.domains.images.correction import Correction
from vaekit.errors import BadCorrection, CannotWrite, NotFound, counted, printable, reason_of, remedy_for
from vaekit.identification.fingerprint import fingerprint
from vaekit.library.beside import beside
from vaekit.library.folders import folder_for_new, models_folders
from vaekit.reading import Unreadable, read_bytes
from vaekit.vae import VAE

VERSION = 2
"""Version 1, of the first edition, has "pictures" in the place of "images"."""
KEY = "vaekit.correction"
BESIDE = "correction.json"
"""The name beside the weights."""
LARGEST = 64 * 1024
"""Bytes; such a file has about one thousand."""
STRONGEST = 8.0
"""What a number of a matrix may be at most: three stops of exposure. No VAE that is of use needs more."""
FINGERPRINT = re.compile("[0-9a-f]{64}")
REFIT = "Make it again: `vaekit compare IMAGES --vae V --fit-correction`."


@dataclass(frozen=True)
class SavedCorrection:
    """A correction, the VAE that it belongs to, and what it was fitted on."""

    correction: Correction
    kind: str
    """The name of the form: `3x3 matrix`."""
    vae: str
    """The fingerprint of the weights."""
    images: int
    seed: int
    before: float
    """dE2000 of held-out images without it, the mean over them."""
    after: float
    """The same with it."""
    gained: tuple[float, float, float]
    """Before minus after: the mean, and the ends of its 95 % interval (Student's t)."""
    p: float
    """Of the paired sign-flip test."""
    made_with: Mapping[str, str] = field(default_factory=dict)
    """Versions of libraries."""

    @property
    def about(self) -> str:
        """For messages, whenever it is applied."""
        return (
            f"colors corrected: {printable(self.kind, 40)}, fitted on {counted(self.images, 'image')}, dE2000 "
            f"{self.before:.2f} -> {self.after:.2f} on held-out ones"
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values, as they are written."""
        gained = dict(zip(("mean", "low", "high"), self.gained, strict=True))
        return {
            KEY: VERSION,
            "vae": self.vae,
            "light": "linear, of the sRGB primaries, in [0, 1]: corrected = matrix y + offset",
            "kind": self.kind,
            "matrix": [list(row) for row in self.correction.matrix],
            "offset": list(self.correction.offset),
            "fitted": {"images": self.images, "seed": self.seed},
            "held_out_delta_e": {"before": self.before, "after": self.after, "gained": gained, "p": self.p},
            "versions": dict(self.made_with),
        }


def read_correction(path: Path) -> SavedCorrection:
    """Read a file, strictly.

    Raises:
        NotFound: there is no such file.
        BadCorrection: it is damaged, too large, or something else; or its numbers cannot be those of a correction.
    """
    try:
        octets = read_bytes(path, LARGEST)
        return _parsed(json.loads(octets.decode("utf-8"), parse_constant=_no_number))
    except OSError as error:
        if not isinstance(error, Unreadable):
            remedy = remedy_for(error)
            raise NotFound(f"Could not read {printable(str(path))}: {reason_of(error)}.", "", remedy) from error
        raise _no_correction(path, str(error)) from error
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        reason = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise _no_correction(path, reason) from error


def _no_correction(path: Path, reason: str) -> BadCorrection:
    return BadCorrection(
        f"{printable(str(path))} is no correction of colors: {printable(reason)}.",
        f"Expected what vaekit writes, version {VERSION}.",
        REFIT,
    )


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is not a number")


def _parsed(values: Any) -> SavedCorrection:
    """Parse the record from JSON values.

    Raises:
        ValueError, TypeError, KeyError, OverflowError: the values are not a correction.
    """
    values = _object(values)
    version = _whole(values[KEY])
    if version not in (1, VERSION):
        raise ValueError(f"version {values[KEY]}")
    fitted, held_out = _object(values["fitted"]), _object(values["held_out_delta_e"])
    gained = _object(held_out["gained"])
    rows = _list(values["matrix"], 3)
    matrix = tuple(_three(row, STRONGEST) for row in rows)
    if any(matrix[i][i] <= 0 for i in range(3)):
        raise ValueError("its matrix turns a color into its opposite")
    if not isinstance(values["vae"], str) or not FINGERPRINT.fullmatch(values["vae"]):
        raise ValueError("its fingerprint is none")
    versions = {
        printable(str(key), 40): printable(str(value), 40) for key, value in _object(values["versions"]).items()
    }
    return SavedCorrection(
        Correction(matrix, _three(values["offset"], 1.0)),
        printable(str(values["kind"]), 40),
        values["vae"],
        _whole(fitted["images" if version == VERSION else "pictures"]),
        _whole(fitted["seed"]),
        _number(held_out["before"]),
        _number(held_out["after"]),
        (_number(gained["mean"]), _number(gained["low"]), _number(gained["high"])),
        _number(held_out["p"]),
        versions,
    )


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("an object was expected")
    return value


def _list(value: Any, length: int) -> list[Any]:
    if not isinstance(value, list) or len(value) != length:
        raise TypeError(f"a list of {length} was expected")
    return value


def _three(value: Any, most: float) -> tuple[float, float, float]:
    red, green, blue = (_number(each, most) for each in _list(value, 3))
    return red, green, blue


def _number(value: Any, most: float = 1e6) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a number was expected")
    number = float(value)
    if not math.isfinite(number) or abs(number) > most:
        raise ValueError(f"a number is {number:g}, and may be {most:g} at most")
    return number


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("a whole number was expected")
    return value


def in_models_folder(folder: Path, vae: str) -> Path:
    """Where it lies if it cannot lie beside the VAE."""
    return folder / "corrections" / f"{vae[:16]}.json"


def save_correction(saved: SavedCorrection, name: str, models: Sequence[Path] | None = None) -> Path:
    """Write the correction of the VAE that is called so, over an older one; say where.

    Raises:
        CannotWrite: neither beside it nor in a models folder.
    """
    place = beside(name, BESIDE, models)
    if place is not None:
        try:
            return _written(saved, place)
        except CannotWrite:
            if place.exists():  # an older one, which would be found first
                raise
    return _written(saved, in_models_folder(folder_for_new(models_folders(models)), saved.vae))


def _written(saved: SavedCorrection, path: Path) -> Path:
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(saved.as_json(), indent=2, allow_nan=False) + "\n", "utf-8")
    return path


def find_correction(name: str, vae: VAE, models: Sequence[Path] | None = None) -> SavedCorrection | None:
    """The correction of a VAE, called so on the command line; None where there is none. Hashes the weights.

    Raises:
        BadCorrection: there is a file that is none, or that was fitted for another VAE.
    """
    mine = fingerprint(vae)
    own = beside(name, BESIDE, models)
    others = [in_models_folder(folder, mine) for folder in models_folders(models)]
    for path in (*((own,) if own is not None else ()), *others):
        if path.is_file():
            correction = read_correction(path)
            if correction.vae != mine:
                raise BadCorrection(
                    f"{printable(str(path))} corrects the colors of the VAE {correction.vae[:10]}.",
                    f"This one is {mine[:10]}; nothing was corrected.",
                    f"Remove the file, or replace it: `vaekit compare IMAGES --vae {printable(name)} "
                    "--fit-correction`.",
                )
            return correction
    return None


def correction_of(name: str, vae: VAE, models: Sequence[Path] | None = None) -> SavedCorrection:
    """The same, for one that must be there.

    Raises:
        NotFound: there is none.
        BadCorrection: see `find_correction`.
    """
    correction = find_correction(name, vae, models)
    if correction is None:
        raise NotFound(
            f"There is no correction of colors for {printable(name)}.",
            "One is fitted to a VAE once, from images, and lies beside it.",
            f"Make it: `vaekit compare IMAGES --vae {printable(name)} --fit-correction`; or leave out --correct.",
        )
    return correction
