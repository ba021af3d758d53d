"""Locate the tensors of a VAE in its files: the layout and the prefix."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from vaekit.catalog.entries import latent_spaces
from vaekit.errors import (
    BadCheckpoint,
    NotFound,
    UnknownVAE,
    WrongTensors,
    counted,
    printable,
    reason_of,
    shorten,
    system_errors,
)
from vaekit.families import LAYOUTS, PARTS, Layout, family_of
from vaekit.formats.open import TensorFile, TensorSpec, check_readable, open_weights
from vaekit.formats.quantization import without_quantization
from vaekit.formats.shard_sets import part_hint, weights_entries
from vaekit.identification.companions import companion_of, fused_only, redundant, unmerged
from vaekit.identification.diagnosis import channels_last, other_quantizer
from vaekit.identification.folder_contents import Folder, is_training_state, not_one_vae, training
from vaekit.identification.fused_tensors import present_parts, whole_key
from vaekit.identification.host_model import host_normalizations
from vaekit.identification.key_signatures import no_vae, not_runnable
from vaekit.identification.metadata import read_config, read_family
from vaekit.identification.mismatches import mismatch_count
from vaekit.identification.unwrap import UnwrappedFile, flattened, unwrap
from vaekit.identification.weight_sets import (
    Selection,
    WeightSet,
    belongs_to,
    check_choice,
    choose,
    holds_averages,
    other_sets,
    overlaid,
)
from vaekit.reading import exists, read_json

FEWEST_KEYS = 8
"""The minimum number of matching keys; fewer are a coincidence."""
VAE_FOLDERS = ("vae", "audio_vae", "music_dcae_f8c8")
"""The folders of VAEs in diffusers' pipelines, and in ACE-Step 1."""
ADAPTER_OF_VAE = "lora_vae_"
"""The start of the keys of a LoRA for a VAE, in kohya's layout, wherever the VAE is in the file."""


@dataclass(frozen=True)
class LocatedVAE:
    """The tensors of a VAE, or of one half, in one file."""

    file: TensorFile
    """The file with fused tensors split into parts; see `fused_tensors.py`."""
    layout: Layout
    prefix: str
    names: Mapping[str, str]
    """Native key -> key in the file, for the weights."""
    statistics: Mapping[str, str]
    """Native key -> key in the file, for tensors of the normalization, which belong to no network."""
    ignored: int
    """The number of tensors in the file that do not belong to the VAE."""
    selection: Selection | None = None
    """Which of several sets of weights they are; None if the file holds one, of plain weights."""
    chosen: str = ""
    """The name of the set, if it is not the file's default."""

    def spec(self, native: str) -> TensorSpec:
        return self.file.specs[self.names[native]]

    @property
    def beside(self) -> list[str]:
        """The keys of the tensors in the file that are not part of the VAE."""
        taken = {*self.names.values(), *self.statistics.values()}
        return [key for key in self.file.specs if key not in taken]

    def foreign(self, native: str) -> str:
        """The file's name for a native key, whether or not it is present."""
        levels = self.layout.native_levels(self.names)
        return self.prefix + (self.layout.from_native(native, levels) or native)


@system_errors()
def gather(path: Path) -> tuple[list[TensorFile], dict[str, Any]]:
    """The weights files of the VAE at `path`, and the settings of a diffusers `config.json`."""
    if not exists(path):
        raise NotFound(
            f"There is no file or folder {printable(str(path))}.",
            "",
            "Check the path, or give the name of a known VAE.",
        )
    if not path.is_dir():
        return [open_weights(path)], {}
    folder = vae_folder(path)
    settings = read_settings(folder / "config.json")
    weights = weights_entries(folder, [file.name for file in folder.iterdir() if file.is_file()])
    if settings:
        weights = sorted(weights, key=attrgetter("preference"))[:1]
    if not 1 <= len(weights) <= 2 or any(is_training_state(entry.path) for entry in weights):
        raise not_one_vae(path, [entry.path for entry in weights])
    return [open_weights(entry.path) for entry in weights], settings


def vae_folder(path: Path) -> Path:
    """The folder of the VAE in a folder: the first subfolder of `VAE_FOLDERS` in it, or the folder itself."""
    is_pipeline = (path / "model_index.json").is_file()
    inside = (path / name for name in VAE_FOLDERS)
    return next((each for each in inside if (is_pipeline and each.is_dir()) or (each / "config.json").is_file()), path)


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of a diffusers `config.json`; empty if there is none."""
    if not path.is_file():
        return {}
    try:
        settings = read_json(path)
    except (ValueError, OSError) as error:
        raise BadCheckpoint(
            f"{path} is not valid JSON: {reason_of(error)}.", "Expected a diffusers config.", "Download it again."
        ) from error
    return settings if isinstance(settings, dict) else {}


def locate(file: TensorFile, weights: str | None = None) -> LocatedVAE:
    """Find the VAE's tensors in a file: the layout and prefix that match the most keys.

    Ties between families are resolved in favor of the one whose network matches these tensors best. Of several sets of
    weights that match as many keys, plain ones are preferred; `nested_weights.py` chooses among dictionaries.

    Args:
        file: the file.
        weights: "ema" or "plain" for the averaged or the plain weights, where the file holds both.

    Raises:
        UnknownVAE: no layout matches enough keys.
        NotRunnable: it is a VAE that vaekit recognizes but cannot run.
        BadCheckpoint: its weights have a number format or a quantization that cannot be read.
        WrongTensors: the best layout leaves keys unmatched.
        NotFound: there are no such weights.
        BadPlan: `weights` is another word.
    """
    check_choice(weights)
    alternatives = tuple(map(without_quantization, file.alternatives))
    file = replace(without_quantization(file), alternatives=alternatives)
    if read_family(file.metadata) == PARTS.name:
        best, unexpected = locate_with_prefix(file, PARTS.layouts[0], "")
        if unexpected:
            raise unexpected_tensors_error(file, best.layout, unexpected)
        return selected(file, best, weights)[0]
    matches, named = best_matches(file)
    if not matches:
        raise no_vae_error(file)
    tied = [locate_with_prefix(present_parts(named.file, layout), layout, prefix) for layout, prefix in matches]
    best, unexpected = closest(tied)
    keys = [whole_key(name) for name in best.names.values()]
    best, others = selected(named.file, best, weights)
    named.check_distinct(keys, {name for other in others if other.averaged for name in other.names.values()})
    left = [key for key in unexpected if not any(belongs_to(key, other) for other in others)]
    elsewhere = [key for key in file.specs if key.startswith(ADAPTER_OF_VAE)]
    adapter = unmerged(file.path, dict.fromkeys([*left, *elsewhere]), best.prefix)
    refusal = not_runnable(file) if left or adapter else None
    if refusal is not None:
        raise refusal
    check_readable(best.file, (*best.names.values(), *best.statistics.values()))
    if left or adapter:
        raise (
            adapter
            or fused_only(file, left)
            or other_quantizer(file.path, left, best.prefix)
            or unexpected_tensors_error(file, best.layout, left)
        )
    return best


def best_matches(file: TensorFile) -> tuple[list[tuple[Layout, str]], UnwrappedFile]:
    """The layouts and prefixes that match the most keys of a file, and the file with the names that they match.

    Wrappers are removed from the names if more keys match then. Other dictionaries of a checkpoint are tried if the
    one that was taken holds no VAE: averages of LDM have names that match no layout.
    """
    best: tuple[list[tuple[Layout, str]], UnwrappedFile] = ([], UnwrappedFile(file, {}))
    sources = (file, *file.alternatives)
    for i, each in enumerate(sources):
        source = replace(each, alternatives=(*sources[:i], *sources[i + 1 :]))
        most = 0
        stripped = unwrap(source)
        whole = UnwrappedFile(source, stripped.originals if stripped else {})
        for named in filter(None, (whole, stripped)):
            counted = count_matches(named.file)
            rank = max(counted, default=(0, 0, False, 0))
            if rank[0] > most:
                best, most = (counted[rank], named), rank[0]
        if most:
            return best
    return best


def count_matches(file: TensorFile) -> dict[tuple[int, int, bool, int], list[tuple[Layout, str]]]:
    """The layouts and prefixes with enough matching keys, by rank: more keys, more of those beside the VAE, plain
    weights, a shorter prefix."""
    ranked: dict[tuple[int, int, bool, int], list[tuple[Layout, str]]] = defaultdict(list)
    for layout in LAYOUTS:
        names = present_parts(file, layout).specs
        beside = layout.counts_beside(names)
        for prefix, count in layout.prefixes(names).items():
            if count >= FEWEST_KEYS:
                rank = count, beside.get(prefix, 0), not holds_averages(file, prefix), -len(prefix)
                ranked[rank].append((layout, prefix))
    return ranked


def selected(file: TensorFile, located: LocatedVAE, weights: str | None) -> tuple[LocatedVAE, list[WeightSet]]:
    """The VAE with the chosen weights, and the other sets of them in the file.

    Args:
        file: of the VAE, with fused tensors whole.
        located: the VAE with the default weights.
        weights: "ema", "plain", or None for the default.

    Raises:
        NotFound: there are no such weights.
    """
    keys = dict.fromkeys(map(whole_key, located.names.values()))
    others = other_sets(file, located.prefix, keys)
    taken, selection = choose(file, located.prefix, len(keys), others, weights)
    if taken is not None:
        view = present_parts(overlaid(file, taken), located.layout)
        located = replace(located, file=view, chosen=taken.name)
    return replace(located, selection=selection), others


def locate_with_prefix(file: TensorFile, layout: Layout, prefix: str) -> tuple[LocatedVAE, list[str]]:
    """The VAE's tensors for one layout and prefix, and the keys with this prefix that the layout does not know."""
    inside = {key: key.removeprefix(prefix) for key in file.specs if key.startswith(prefix)}
    levels = layout.levels(inside.values())
    outside = family_of(layout.family).outside_nets
    host_keys = {name for stored in host_normalizations() for name in stored.names}
    names: dict[str, str] = {}
    statistics: dict[str, str] = {}
    unexpected = []
    for key, bare in inside.items():
        native = layout.to_native(bare, levels)
        held = statistics if native in outside else names
        if native is not None and native not in held:
            held[native] = key
        elif not (bare.startswith(layout.unused) or key in host_keys or is_companion(file, layout, key, bare)):
            unexpected.append(key)
    ignored = len(file.specs) - len(names) - len(statistics)
    beyond = redundant(file, unexpected)
    unknown = [key for key in unexpected if key not in beyond]
    return LocatedVAE(file, layout, prefix, names, statistics, ignored), unknown


def is_companion(file: TensorFile, layout: Layout, key: str, bare: str) -> bool:
    """Whether a tensor is a known companion of training. Files that vaekit writes have none."""
    return layout.family != PARTS.name and companion_of(bare, file.specs[key].shape) is not None


def closest(candidates: list[tuple[LocatedVAE, list[str]]]) -> tuple[LocatedVAE, list[str]]:
    """Of candidates that match the same keys, the one whose network has the fewest tensors that are
    missing, unexpected or misshapen; of several, the one of the family with the most known latent spaces."""
    return min(candidates, key=lambda each: disagreement(each[0])) if len(candidates) > 1 else candidates[0]


def disagreement(candidate: LocatedVAE) -> tuple[bool, int, int]:
    """Whether tensors that distinguish the candidate's family are missing, the number of tensors that do not match its
    network, and the negative number of its known latent spaces."""
    family = family_of(candidate.layout.family)
    fields = candidate.layout.implies | read_config(candidate.file.metadata)
    shapes = {key: candidate.spec(key).shape for key in candidate.names}
    known = sum(space.family == family.name for space in latent_spaces())
    return not family.claims(shapes), mismatch_count(family, shapes, fields), -known


def no_vae_error(file: TensorFile) -> UnknownVAE | WrongTensors:
    """The error for a file in which no family has enough keys; it names the content if it is recognized."""
    return (
        not_runnable(file)
        or flattened(file)
        or channels_last(file.path, {key: spec.shape for key, spec in file.specs.items()})
        or unmerged(file.path, [key for key in file.specs if ".base_layer." in key], "")
        or no_vae(file)
        or UnknownVAE(
            f"There is no VAE in {file.path}, but {counted(len(file.specs), 'tensor')} of no family that vaekit knows "
            f"({shorten(file.specs)}).{part_hint(file.path)}",
            "Expected the tensors of an autoencoder in any known layout.",
            "Give the VAE's own file, or a checkpoint that includes a VAE.",
        )
    )


def unexpected_tensors_error(file: TensorFile, layout: Layout, unexpected: list[str]) -> WrongTensors:
    return flattened(file) or WrongTensors(
        f"{file.path} looks like a {layout.family!r} autoencoder in the {layout.name} layout, with "
        f"{counted(len(unexpected), 'tensor')} that this architecture does not have: {shorten(unexpected)}.",
        "Expected the tensors of one autoencoder, beside known companions of training.",
        "If they are part of the VAE, it is of another type, which would give wrong images without them: please report "
        "their names. If they are not, save the file without them.",
    )


def check_one_vae(path: Path, parts: tuple[LocatedVAE, ...]) -> None:
    """Reject a folder whose files are two VAEs rather than two halves of one."""
    if len({part.layout.family for part in parts}) > 1 or (
        len(parts) == 2 and parts[0].names.keys() & parts[1].names.keys()
    ):
        if training(Folder(path)):
            raise not_one_vae(path, [part.file.path for part in parts])
        names = " and ".join(part.file.path.name for part in parts)
        families = " and ".join(f"{part.layout.family!r}" for part in parts)
        raise NotFound(
            f"The folder {path} holds two VAEs, {names} (of the families {families}).",
            "Expected one VAE, in one file or in an encoder and a decoder file.",
            "Give the path of one file.",
        )
