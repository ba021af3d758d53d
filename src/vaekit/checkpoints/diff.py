"""Compare two VAE files tensor by tensor, under native names, whatever their layouts, formats and dtypes."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from vaekit.formats.safetensors_writer import Piece
from vaekit.formats.tensor_file import dtype_name
from vaekit.identification.identify import Identified, identify
from vaekit.identification.items import items_of, schema_differences
from vaekit.identification.resolve import resolve
from vaekit.identification.weights import StoredWeights, weights_in
from vaekit.library.names import locate_vae

EQUAL, CLOSE, DIFFERENT, MISSING = "equal", "close", "different", "missing"
NOT_STATED = "not stated"
"""For a domain."""
CLOSE_RELATIVE = 2**-8
"""Relative to a value: one unit in the last place of bfloat16. Rounding to half precision changes values by less."""
CLOSE_ABSOLUTE = 2**-24
"""Added to it, for values below the normal range of float16 (whose subnormal numbers are that far apart)."""


@dataclass(frozen=True)
class TensorDifference:
    """One tensor of both files."""

    name: str
    """Its native name."""
    status: str
    """"equal", "close" (within the rounding of half precision), "different", or "missing" in one of the files."""
    note: str
    """Which file lacks it, or its two shapes or dtypes where they differ."""
    largest: float | None = None
    """Maximum of |a - b|; None where the tensors cannot be compared, inf where one is not finite."""
    relative: float | None = None
    """Root mean square of a - b over that of a; None for a tensor of zeros."""


@dataclass(frozen=True)
class FileDifference:
    """Two VAE files."""

    families: tuple[str, str]
    layouts: tuple[str, str]
    config: tuple[str, ...]
    """Fields of the config that differ: "latent_channels: 4 and 16"."""
    normalizations: tuple[str, str]
    same_normalization: bool | None
    """None where one of them is unknown."""
    tensors: tuple[TensorDifference, ...]
    domains: tuple[str, str] = ("images", "images")
    """The kinds of data that they take; "not stated" where that is unknown."""
    schema: tuple[str, ...] = ()
    """Entries of the schemas of their items that differ: "columns[0].name: 'age' and 'years'"; empty if a file states
    none, or if the domains differ."""
    notes: tuple[str, str] = ("", "")
    """Which of several sets of weights was compared; empty for a file that holds one."""
    counts: dict[str, int] = field(init=False)
    """Tensors by status."""

    def __post_init__(self) -> None:
        counted = Counter(tensor.status for tensor in self.tensors)
        object.__setattr__(self, "counts", {name: counted[name] for name in (EQUAL, CLOSE, DIFFERENT, MISSING)})

    @property
    def same(self) -> bool:
        """Whether both hold the same VAE: all tensors equal or close, and nothing else differs."""
        return not (
            self.counts[DIFFERENT]
            or self.counts[MISSING]
            or self.config
            or self.same_normalization is False
            or self.families[0] != self.families[1]
            or self.domains[0] != self.domains[1]
            or self.schema
        )

    def largest(self, count: int) -> list[TensorDifference]:
        """The tensors that differ most, by relative difference, after those that are missing."""
        changed = [tensor for tensor in self.tensors if tensor.status in (DIFFERENT, MISSING, CLOSE)]
        return sorted(changed, key=sort_key)[:count]


def sort_key(tensor: TensorDifference) -> tuple[bool, float]:
    """Missing tensors first, then by size of the difference."""
    size = tensor.relative if tensor.relative is not None else tensor.largest
    return tensor.status != MISSING, -(size if size is not None else math.inf)


def diff_files(
    one: str | Path,
    other: str | Path,
    models: Sequence[Path] | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    weights: tuple[str | None, str | None] = (None, None),
) -> FileDifference:
    """Compare two VAE files. Needs memory for two tensors at a time.

    Args:
        one, other: names of known VAEs, weights files, folders, or whole checkpoints with a VAE inside.
        models: where names are looked up; see `vaekit.load`.
        progress: called with the number of tensors that were compared and of all.
        weights: "ema" or "plain" for each, where its file holds both; see `vaekit.load`.

    Raises:
        NotFound, AmbiguousName, BadCheckpoint, UnknownVAE, WrongTensors: a VAE cannot be identified.
    """
    with locate_vae(one, models) as first, locate_vae(other, models) as second:
        pairs = zip((first, second), weights, strict=True)
        a, b = (resolve(identify(path, kind), measure=False) for path, kind in pairs)
        contents = weights_in(a), weights_in(b)
        items = [items_of(each.parts[0].file.metadata, each.config.geometry.axes) for each in (a, b)]
        return FileDifference(
            families=(a.family.name, b.family.name),
            layouts=(layout_of(a), layout_of(b)),
            config=config_differences(a, b),
            normalizations=(str(a.normalization or "unknown"), str(b.normalization or "unknown")),
            same_normalization=same_normalization(a, b),
            domains=(items[0].domain or NOT_STATED, items[1].domain or NOT_STATED),
            schema=schema_differences(*items),
            notes=(a.note, b.note),
            tensors=tuple(compared(*contents, progress)),
        )


def layout_of(identified: Identified) -> str:
    """The naming schemes of a file's parts."""
    return " and ".join(dict.fromkeys(part.layout.name for part in identified.parts))


def config_differences(a: Identified, b: Identified) -> tuple[str, ...]:
    """The fields of two configs of one family that differ, with both values."""
    if a.family is not b.family:
        return ()
    values, others = asdict(a.config), asdict(b.config)
    return tuple(f"{name}: {values[name]} and {others[name]}" for name in values if values[name] != others[name])


def same_normalization(a: Identified, b: Identified) -> bool | None:
    """Whether both have the same latent normalization; None where that is unknown."""
    if a.normalization is None or b.normalization is None:
        return None
    return a.normalization.is_close(b.normalization, channels=a.config.geometry.latent_channels)


def compared(a: StoredWeights, b: StoredWeights, progress: Callable[[int, int], None]) -> Sequence[TensorDifference]:
    """All tensors of both, in the order of the first file."""
    names = list(dict.fromkeys((*a.tensors, *b.tensors)))
    results = []
    for done, name in enumerate(names, start=1):
        results.append(difference(name, a.tensors.get(name), b.tensors.get(name)))
        progress(done, len(names))
    return results


def difference(name: str, a: Piece | None, b: Piece | None) -> TensorDifference:
    """Compare one tensor; None is one that a file lacks."""
    if a is None or b is None:
        return TensorDifference(name, MISSING, f"only in the {'second' if a is None else 'first'} file")
    if a.shape != b.shape:
        return TensorDifference(name, DIFFERENT, f"shapes {list(a.shape)} and {list(b.shape)}")
    x, y = (piece.tensor().double() for piece in (a, b))
    note = "" if a.dtype == b.dtype else f"{dtype_name(a.dtype)} and {dtype_name(b.dtype)}"
    change = (x - y).abs()
    change[x == y] = 0  # equal infinities
    change[x.isnan() & y.isnan()] = 0
    change = change.nan_to_num(nan=math.inf, posinf=math.inf)
    largest = change.max().item() if change.numel() else 0.0
    scale = x.square().mean().sqrt().item() if x.numel() else 0.0
    relative = change.square().mean().sqrt().item() / scale if 0 < scale < math.inf else None
    status = EQUAL if largest == 0 else CLOSE if is_rounding(x, y, change) else DIFFERENT
    return TensorDifference(name, status, note, largest, relative if largest else 0.0)


def is_rounding(x: Tensor, y: Tensor, change: Tensor) -> bool:
    """Whether each value differs by no more than rounding to half precision."""
    allowed = CLOSE_RELATIVE * torch.maximum(x.abs(), y.abs()) + CLOSE_ABSOLUTE
    return bool(((change <= allowed) & change.isfinite()).all())
