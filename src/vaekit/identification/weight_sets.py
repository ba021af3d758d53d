"""Several sets of weights of one VAE in a file: the plain ones, and averages over training steps (EMA, SWA).

Sets are found behind other prefixes of the same names (`ema.encoder.conv_in.weight`), under LDM's names without dots
(`model_ema.encoderconv_inweight`), and in other dictionaries of a torch checkpoint.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

from torch import Tensor

from vaekit.errors import BadPlan, NotFound, printable
from vaekit.formats.tensor_file import Span, TensorFile, examined
from vaekit.formats.wrapper_names import AVERAGED_WORDS, averaging, unwrapped

EMA, PLAIN = "ema", "plain"
CHOICES = (EMA, PLAIN)
KINDS = {True: EMA, False: PLAIN}
WORDS = {EMA: "averaged", PLAIN: "plain"}
LEAST_OF_AVERAGES = 0.5
"""The minimum share of the VAE's tensors in a set of averages: frozen tensors and buffers have none."""
LEAST_OF_OTHERS = 0.9
"""The same for another set of plain weights; a second encoder has about half of the tensors."""
MOST_SETS = 64
"""The maximum number of prefixes that are examined."""
COUNTER = "n_averaged"
"""The counter beside the weights in `torch.optim.swa_utils.AveragedModel`."""


@dataclass(frozen=True)
class WeightSet:
    """Other weights of the same VAE."""

    name: str
    averaged: bool
    source: TensorFile
    prefix: str
    """The prefix of its names in the source."""
    names: Mapping[str, str]
    """The key of the VAE's tensor -> the key in the source."""


@dataclass(frozen=True)
class OtherWeights:
    """The description of a set that was not taken."""

    name: str
    kind: str
    """"ema" for averages of any kind, or "plain"."""
    tensors: int
    """The number of the VAE's tensors that it has."""

    def __str__(self) -> str:
        return f"{WORDS[self.kind]} weights ({self.name})"


@dataclass(frozen=True)
class Selection:
    """Which weights of a file were taken."""

    taken: str
    """The name of the set: of a dictionary, a prefix, or both; "top level" if there is none."""
    kind: str
    """"ema" or "plain"."""
    others: tuple[OtherWeights, ...]
    """The other sets in the file."""
    tensors: int
    """The number of the VAE's tensors that the set has; the others are those of the plain weights."""
    of: int
    """The number of the VAE's tensors."""
    text: str = field(init=False)
    """All of this as a phrase."""

    def __post_init__(self) -> None:
        some = "" if self.tensors == self.of else f": {self.tensors:,} of {self.of:,} tensors, the others plain"
        text = f"took the {WORDS[self.kind]} weights ({self.taken}{some})"
        other = next((other for other in self.others if other.kind != self.kind), None)
        beside = f"; the file also holds {' and '.join(map(str, self.others))}" if self.others else ""
        option = f", which --weights {other.kind} takes" if other else ""
        object.__setattr__(self, "text", text + beside + option)

    def __str__(self) -> str:
        return self.text


def check_choice(choice: str | None) -> None:
    """Check the name of a kind of weights.

    Raises:
        BadPlan: there is no such kind.
    """
    if choice is not None and choice not in CHOICES:
        raise BadPlan(
            f"There are no {printable(choice)!r} weights.",
            f"Expected one of {', '.join(CHOICES)}.",
            "Omit it for the file's default.",
        )


def set_name(file: TensorFile, prefix: str) -> str:
    """The name of the tensors behind a prefix of a file."""
    return printable(".".join(filter(None, (file.dictionary, prefix.rstrip("."))))) or "top level"


def holds_averages(file: TensorFile, prefix: str) -> bool:
    """Whether the weights behind a prefix are averages."""
    stated = averaging(prefix)
    counter = prefix.removesuffix("module.") + COUNTER
    return (file.averaged if stated is None else stated) or (prefix.endswith("module.") and counter in file.specs)


def other_sets(file: TensorFile, prefix: str, keys: Collection[str]) -> list[WeightSet]:
    """The other sets of weights of a VAE, averages first, then those with the most tensors.

    Args:
        file: of the VAE.
        prefix: of its keys.
        keys: of its tensors.
    """
    sets: list[WeightSet] = []
    for source in (file, *file.alternatives):
        found = sorted(sets_in(source, file, prefix, keys), key=lambda each: (not each.averaged, -len(each.names)))
        seen = set(keys) if source is file else set()
        for each in found:
            if not seen.issuperset(each.names.values()):
                sets.append(each)
                seen.update(each.names.values())
    return sorted(sets, key=lambda each: (not each.averaged, -len(each.names)))


def sets_in(source: TensorFile, file: TensorFile, prefix: str, keys: Collection[str]) -> Iterator[WeightSet]:
    """The sets of weights in one source, in any order; some may consist of the tensors of others."""
    for inside, named in namings(source, prefix, keys):
        names = {key: name for key in keys if (name := named(key)) is not None and fits(source, name, file, key)}
        averaged = holds_averages(source, inside)
        least = LEAST_OF_AVERAGES if averaged else LEAST_OF_OTHERS
        if names and len(names) >= least * len(keys):
            yield WeightSet(set_name(source, inside), averaged, source, inside, names)


def fits(source: TensorFile, name: str, file: TensorFile, key: str) -> bool:
    """Whether a tensor can take the place of another one."""
    spec = source.specs.get(name)
    return spec is not None and spec.shape == file.specs[key].shape


Naming = Callable[[str], str | None]
"""The name of a VAE's tensor in another set; None if it has none."""


def namings(source: TensorFile, prefix: str, keys: Collection[str]) -> Iterator[tuple[str, Naming]]:
    """The prefixes behind which a source may have other weights of the VAE, and the names behind each."""
    bare = sorted((key.removeprefix(prefix) for key in keys), key=len)
    probes = dict.fromkeys((bare[-1], bare[0], bare[len(bare) // 2]))
    roots = [".".join(prefix.split(".")[i:]) for i in range(prefix.count(".") + 1)]
    without_dots = {squeezed(root + probe): root for probe in probes for root in roots}
    short = {name: unwrapped(name) for name in examined(source.specs)}
    originals = {alias: name for name, alias in short.items()}
    squeezed_names: dict[tuple[str, str], str] = {}
    found: dict[tuple[str, ...], tuple[str, Naming]] = {}
    for name, alias in short.items():
        head, last = name[: name.rfind(".") + 1], name.rpartition(".")[2]
        squeezed_names[head, squeezed(last)] = name
        for probe in probes:
            if name.endswith(probe) and is_path(inside := name.removesuffix(probe)):
                found.setdefault(("dotted", inside), (inside, dotted(inside, prefix)))
            if alias.endswith(probe) and is_path(inside := alias.removesuffix(probe)):
                found.setdefault(("unwrapped", inside), (inside, dotted(inside, prefix, originals)))
        if (root := without_dots.get(squeezed(last))) is not None:
            found.setdefault(("squeezed", head, root), (head, dotless(head, root, prefix, squeezed_names)))
    marked = {without_average(alias): name for name, alias in short.items() if averaging(parent(alias))}
    if marked:
        found["marked",] = ", ".join(marks_in(marked.values())), lambda key: marked.get(unwrapped(key))
    return islice(found.values(), MOST_SETS)


def parent(name: str) -> str:
    """The path of the module that a tensor belongs to."""
    return name.rpartition(".")[0]


def without_average(name: str) -> str:
    """A name without the words for averages in its path.

    >>> without_average("encoder_ema.conv_in.weight"), without_average("ema.decoder.bias")
    ('encoder.conv_in.weight', 'decoder.bias')
    """
    parts = (
        "_".join(word for word in part.split("_") if word.lower() not in AVERAGED_WORDS) for part in name.split(".")
    )
    return ".".join(filter(None, parts))


def marks_in(names: Iterable[str]) -> list[str]:
    """The first parts of names that state averages: "encoder_ema", "decoder_ema"."""
    parts = dict.fromkeys(part for name in names for part in name.split(".")[:-1] if averaging(part))
    return list(islice(parts, 4))


def is_path(prefix: str) -> bool:
    """Whether a prefix consists of whole names."""
    return prefix == "" or prefix.endswith(".")


def dotted(inside: str, prefix: str, names: Mapping[str, str] | None = None) -> Naming:
    """The same names behind another prefix."""

    def named(key: str) -> str | None:
        name = inside + key.removeprefix(prefix)
        return name if names is None else names.get(name)

    return named


def dotless(head: str, root: str, prefix: str, names: Mapping[tuple[str, str], str]) -> Naming:
    """Names without dots, as LDM's `LitEma` registers its buffers; or with underscores in their place."""
    return lambda key: names.get((head, squeezed(root + key.removeprefix(prefix))))


def squeezed(name: str) -> str:
    """A name without wrappers, dots and underscores."""
    return unwrapped(name).replace(".", "").replace("_", "")


def belongs_to(key: str, others: WeightSet) -> bool:
    """Whether a key is that of another set, or of its counters beside it (`ema.decay`)."""
    is_counter = key == others.prefix.removesuffix("module.") + COUNTER or key.startswith(others.prefix or key + ".")
    return key in others.names.values() or (others.averaged and is_counter)


def choose(
    file: TensorFile, prefix: str, count: int, others: list[WeightSet], choice: str | None
) -> tuple[WeightSet | None, Selection | None]:
    """The set to take instead of the default one, and the description of the selection.

    Both are None for the default and only set, if it is plain.

    Args:
        file: of the VAE.
        prefix: of its keys.
        count: the number of its tensors.
        others: the result of `other_sets`.
        choice: "ema", "plain", or None for the default.

    Raises:
        NotFound: the file holds no such weights.
    """
    default = OtherWeights(set_name(file, prefix), KINDS[holds_averages(file, prefix)], count)
    described = {id(each): OtherWeights(each.name, KINDS[each.averaged], len(each.names)) for each in others}
    wanted = choice or default.kind
    if wanted == default.kind:
        if not others and default.kind == PLAIN:
            return None, None
        return None, Selection(default.name, default.kind, tuple(described.values()), count, count)
    taken = next((each for each in others if KINDS[each.averaged] == wanted), None)
    if taken is None:
        present = " and ".join(map(str, (default, *described.values())))
        raise NotFound(
            f"{file.path} holds no {WORDS[wanted]} weights of its VAE, only {present}.",
            f"--weights {choice} requires them.",
            "Omit --weights, or give another checkpoint of the training.",
        )
    rest = tuple(described[id(each)] for each in others if each is not taken)
    return taken, Selection(taken.name, wanted, (default, *rest), len(taken.names), count)


def overlaid(file: TensorFile, taken: WeightSet) -> TensorFile:
    """The file with the values of another set of weights under the names of the default one."""

    def read(names: Iterable[str]) -> dict[str, Tensor]:
        requested = list(names)
        inside = taken.source.read([taken.names[name] for name in requested if name in taken.names])
        rest = file.read([name for name in requested if name not in taken.names])
        return {name: inside[taken.names[name]] if name in taken.names else rest[name] for name in requested}

    def span(name: str) -> Span | None:
        return taken.source.span(taken.names[name]) if name in taken.names else file.span(name)

    specs = {**file.specs, **{key: taken.source.specs[name] for key, name in taken.names.items()}}
    return replace(file, specs=specs, read=read, span=span)
