"""Check the config.json beside weights: impossible numbers are refused, contradictions are described.

The tensors and the file's metadata take precedence over it. What neither determines is read from it, so an entry that
no network can have is an error rather than a reason to assume something else.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from vaekit.errors import BadCheckpoint, WrongTensors, counted, printable
from vaekit.families import Config, Family
from vaekit.families.normalization import normalization_of_settings
from vaekit.families.padding import PADDINGS
from vaekit.normalization import LatentNormalization

EXTREME = 1e30
"""Factors beyond this, or below its inverse, and shifts beyond it leave no float32 values of the latents."""
NOT_COMPARED = frozenset(
    {
        *("scaling_factor", "shift_factor", "latents_mean", "latents_std", "batch_norm_eps"),
        *("sample_size", "_class_name", "vocoder", "encoder_channels", "encoder_c_mults"),
    }
)
"""Entries of diffusers' configs that do not describe the tensors; `normalization_flaws` checks the first five."""
LONGEST_VALUE = 60
"""Characters of a value in a message."""


def check_settings(path: Path, family: Family, config: Config, settings: Mapping[str, Any]) -> None:
    """Refuse a config.json with entries that no VAE of this family can have.

    Args:
        path: of the config.json.
        family: of the VAE.
        config: of the VAE.
        settings: the entries; empty if there is no config.json.

    Raises:
        BadCheckpoint: an entry is impossible; all of them are named.
    """
    flaws = [*normalization_flaws(family, config, settings), *impossible(family, config, settings)]
    if flaws:
        raise BadCheckpoint(
            f"{path} states {'; '.join(flaws)}.",
            "Expected the config.json of the weights beside it, as diffusers writes it.",
            "Correct or download the config.json again; or give the path of the weights file instead of the folder: "
            "then the config.json is not read.",
        )


def normalization_flaws(family: Family, config: Config, settings: Mapping[str, Any]) -> Iterator[str]:
    """Entries of the normalization that are not usable numbers, as phrases; null is "unknown"."""
    yield from _flaw(settings, "scaling_factor", is_factor, "a positive number, as large as a scale can be")
    yield from _flaw(settings, "shift_factor", is_shift, "a finite number")
    yield from _flaw(settings, "batch_norm_eps", is_epsilon, "a number between 0 and 1")
    if family.normalization_from_settings is not normalization_of_settings:
        return
    channels = config.geometry.latent_channels
    lists = ("latents_mean", is_shift, "finite"), ("latents_std", is_factor, "positive")
    for name, is_usable, kind in lists:
        value = settings.get(name)
        if value is not None and not (isinstance(value, list) and all(map(is_usable, value))):
            yield f"{name} {shown(value)} instead of a list of {kind} numbers"
        elif value is not None and len(value) not in (1, channels):
            yield f"{name} of {counted(len(value), 'value')} for {counted(channels, 'latent channel')}"
    present = [name for name, _, _ in lists if settings.get(name) is not None]
    if len(present) == 1:
        yield f"{present[0]} without {next(name for name, _, _ in lists if name not in present)}"


def _flaw(settings: Mapping[str, Any], name: str, is_usable: Callable[[object], bool], expected: str) -> Iterator[str]:
    value = settings.get(name)
    if value is not None and not is_usable(value):
        yield f"{name} {shown(value)} instead of {expected}"


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a number of ordinary size, which NaN is not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= EXTREME


def is_shift(value: object) -> TypeGuard[float]:
    """Whether latents can be shifted by a value."""
    return is_number(value)


def is_factor(value: object) -> TypeGuard[float]:
    """Whether latents can be multiplied by a value, or divided by it."""
    return is_number(value) and value >= 1 / EXTREME


def is_epsilon(value: object) -> bool:
    """Whether a value can be the epsilon of a batch norm."""
    return is_number(value) and 0 < value < 1


def impossible(family: Family, config: Config, settings: Mapping[str, Any]) -> Iterator[str]:
    """Entries that no network can have, as phrases: counts and widths that are not positive integers, and paddings that
    do not exist."""
    for name, used in described(family, config, None).items():
        stated = settings.get(name)
        if stated is not None and is_count(used) and not is_count(stated):
            several = isinstance(used, list | tuple)
            yield f"{name} {shown(stated)} instead of {'positive integers' if several else 'a positive integer'}"
    padding = settings.get("padding_mode")
    if family.paddings and padding is not None and padding not in PADDINGS:
        yield f"padding_mode {shown(padding)} instead of {' or '.join(PADDINGS)}"


def is_count(value: object) -> bool:
    """Whether a value is a positive integer, or a list of them."""
    values = value if isinstance(value, list | tuple) else [value]
    return bool(values) and all(type(each) is int and each > 0 for each in values)


def contradictions(
    family: Family,
    config: Config,
    metadata_normalization: LatentNormalization | None,
    settings: Mapping[str, Any],
) -> str:
    """A phrase about the entries of a config.json that differ from the tensors or the metadata, which are used;
    empty if none does.

    Args:
        family: of the VAE.
        config: of the VAE.
        metadata_normalization: the normalization in the metadata of the file; None if it has none.
        settings: the entries of a checked config.json; empty if there is none.
    """
    differing = [
        f"{name} {shown(stated)} instead of {shown(used)}"
        for name, used in described(family, config, metadata_normalization).items()
        if (stated := settings.get(name)) is not None and differs(stated, used)
    ]
    own = family.normalization_from_settings(settings) if settings else None
    channels = config.geometry.latent_channels
    if own and metadata_normalization and not metadata_normalization.is_close(own, channels=channels):
        differing.append(f"{own} instead of {metadata_normalization}")
    return f"config.json disagrees with the weights, which are followed: {'; '.join(differing)}" if differing else ""


def described(family: Family, config: Config, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The entries with which a config.json describes a network; empty if diffusers has no class for it."""
    for each in dict.fromkeys((normalization, None)):
        try:
            entries = family.diffusers(config, each)
        except WrongTensors:
            continue
        return {name: value for name, value in entries.items() if name not in NOT_COMPARED and value is not None}
    return {}


def differs(stated: object, used: object) -> bool:
    """Whether an entry contradicts the one that is used.

    Names, such as those of blocks, have several spellings, and one may stand for all; nested lists have values for
    layers that do not exist, too.
    """
    if isinstance(used, list | tuple) and any(isinstance(each, list | tuple) for each in used):
        return False
    if isinstance(stated, list | tuple) and isinstance(used, list | tuple):
        return len(stated) != len(used) or any(map(differs, stated, used))
    if isinstance(stated, str) and isinstance(used[0] if isinstance(used, list) and used else used, str):
        return False
    return stated != used


def shown(value: object) -> str:
    """A value of a config.json for a message."""
    try:
        return printable(json.dumps(value), LONGEST_VALUE)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        return "of extreme size"
