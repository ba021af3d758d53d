"""Explain folders that are not one VAE, and name the file inside that is meant.

Folders of training runs, pipelines, downloads and exported models hold several files, or the VAE further below.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from vaekit.errors import NotFound, counted, printable, shorten
from vaekit.formats.magic_numbers import ORIGINAL
from vaekit.formats.paths import DIFFUSERS_SETTINGS, WEIGHTS_ENDINGS
from vaekit.reading import read_json
from vaekit.run_folder import CHECKPOINTS, RECIPE

MOST_ENTRIES = 5_000
"""How many entries are looked at; a folder may be anything, such as the root of a disk."""
DEEPEST = 4
MOST_JSON = 2**20
EXPECTED = "Expected a diffusers folder, one weights file, or the encoder and the decoder of one VAE."
TRAINING_STATE = re.compile(
    r"(optim|scheduler|lr_sched|scaler|random_states|rng_state|training_args|trainer_state|discriminator|disc\b|lpips|"
    r"(zero_)?pp_rank|.*_optim_states|.*optimizer).*",
    re.IGNORECASE,
)
"""Names of files that training programs write beside the weights."""
VAE_NAME = re.compile(r"(^|[^a-z])(vae|vqvae|vqgan|movq|autoencoder\w*|first_stage\w*|ae)([^a-z]|$)", re.IGNORECASE)
LATEST = ("last", "latest", "final")
"""The names, without extensions, of the latest of several checkpoints."""
CHOSEN = (*LATEST, "best")
"""The names of checkpoints that training programs single out."""
STEP = re.compile(r"\d+")
Explanation = tuple[str, str]
"""The kind of a folder, a phrase; and the remedy, a sentence."""


@dataclass(frozen=True)
class Folder:
    """A folder and its content, up to some depth."""

    path: Path

    @cached_property
    def entries(self) -> list[Path]:
        """Files and folders below it, relative to it, the upper ones first."""
        return list(islice(self._below(), MOST_ENTRIES))

    def _below(self) -> Iterator[Path]:
        level = [self.path]
        for _ in range(DEEPEST):
            upper, level = level, []
            for folder in upper:
                for entry in contents(folder):
                    yield entry.relative_to(self.path)
                    if entry.is_dir() and not entry.is_symlink():
                        level.append(entry)

    def has(self, *names: str) -> bool:
        """Whether all of these are in it."""
        return all((self.path / name).exists() for name in names)

    def ending(self, *endings: str) -> list[Path]:
        """The entries below it with one of these extensions."""
        return [entry for entry in self.entries if entry.suffix.lower() in endings]

    @cached_property
    def weights(self) -> list[Path]:
        """The weights files below it, without the state of a training."""
        files = (entry for entry in self.ending(*WEIGHTS_ENDINGS) if (self.path / entry).is_file())
        return [file for file in files if not is_training_state(file)]

    @property
    def meant(self) -> Path | None:
        """The weights that are probably meant: those of a VAE by their path, then the latest, then the uppermost."""
        return max(self.weights, key=likelihood, default=None)


def likelihood(file: Path) -> tuple[bool, bool, int, int, str]:
    """How likely a weights file is the VAE of its folder; for comparison."""
    steps = [int(number[:15]) for number in STEP.findall(file.as_posix())]
    return is_vae(file), file.stem.lower() in LATEST, max(steps, default=-1), -len(file.parts), file.suffix


def is_vae(file: Path) -> bool:
    """Whether a weights file is a VAE by the names in its path."""
    return VAE_NAME.search(file.as_posix()) is not None


def contents(folder: Path) -> list[Path]:
    """The entries of a folder, sorted; none if it cannot be read."""
    try:
        return sorted(islice(folder.iterdir(), MOST_ENTRIES))
    except OSError:
        return []


def is_training_state(file: Path) -> bool:
    """Whether a file holds the state of an optimizer or the like, by its name."""
    return TRAINING_STATE.fullmatch(file.stem) is not None


def not_one_vae(path: Path, weights: Sequence[Path]) -> NotFound:
    """The error for a folder whose weights files are not those of one VAE.

    Args:
        path: the folder, as the user gave it.
        weights: the weights files in the folder where the VAE would be.
    """
    folder = Folder(path)
    found = next(filter(None, (explain(folder) for explain in KINDS)), None)
    if found is not None:
        return NotFound(f"The folder {path} is {found[0]}.", EXPECTED, found[1])
    listing = (
        f"{counted(len(weights), 'weights file')} ({shorten((file.name for file in weights), 8)})" if weights else ""
    )
    meant = folder.meant if len(folder.weights) == 1 or (folder.meant and is_vae(folder.meant)) else None
    return NotFound(f"The folder {path} holds {listing or 'no weights file'}.", EXPECTED, give(folder.path, meant))


def give(folder: Path, inside: Path | None) -> str:
    """The advice to give a file of a folder instead of the folder."""
    if inside is None:
        return "Give the path of one file, or the folder that holds it."
    file = folder / inside
    whole = file.parent if file.parent != folder and (file.parent / DIFFUSERS_SETTINGS).is_file() else file
    return f"Give the path of one VAE; {printable(str(whole), 300)} is probably meant."


def own_run(folder: Folder) -> Explanation | None:
    """A run folder of vaekit without its result."""
    if not folder.has(RECIPE, CHECKPOINTS):
        return None
    return "the run folder of a training that has not finished", "Continue it with the command that started it."


def pipeline(folder: Folder) -> Explanation | None:
    """A diffusers pipeline without a VAE in its place."""
    if not folder.has("model_index.json"):
        return None
    parts = ", ".join(printable(name) for name in named_parts(folder.path / "model_index.json")) or "no parts"
    others = list(filter(is_vae, folder.weights))
    if others:
        return f"a diffusers pipeline ({parts}) without a folder vae", give(folder.path, others[0])
    advice = "Download the folder `vae` of its repository, too, or give the VAE's own file."
    return f"a diffusers pipeline ({parts}) without the weights of its VAE", advice


def named_parts(index: Path) -> list[str]:
    """The parts that a pipeline's index lists."""
    try:
        listed = read_json(index, MOST_JSON)
    except (OSError, ValueError):
        return []
    return [name for name in listed if not name.startswith("_")][:12] if isinstance(listed, dict) else []


def training(folder: Folder) -> Explanation | None:
    """A folder of a training program: checkpoints, with optimizers beside the weights."""
    state = [entry for entry in folder.entries if is_training_state(entry)]
    numbered = [entry for entry in folder.entries if re.match(r"(checkpoint|epoch|step|iter)\w*[-_=]?\d", entry.name)]
    chosen = [file for file in folder.weights if file.stem.lower() in CHOSEN] if len(folder.weights) > 1 else []
    if not (state or numbered or chosen) or not folder.weights:
        return None
    signs = shorten((entry.as_posix() for entry in dict.fromkeys((*state, *numbered, *chosen))), 4)
    others = [file.as_posix() for file in folder.weights if file != folder.meant]
    beside = f" It also holds {shorten(others, 8)}." if others else ""
    return f"a training folder ({signs})", f"{give(folder.path, folder.meant)}{beside}"


def hub_cache(folder: Folder) -> Explanation | None:
    """A repository in Hugging Face's cache, above its snapshots."""
    if not folder.has("snapshots", "blobs"):
        return None
    snapshots = [entry for entry in contents(folder.path / "snapshots") if entry.is_dir()]
    latest = max(snapshots, key=lambda entry: entry.stat().st_mtime, default=None)
    advice = f"Give a snapshot in it: {latest}." if latest else "Download the files again: it has no snapshot."
    return "a repository in Hugging Face's cache", advice


def exported(folder: Folder) -> Explanation | None:
    """A model of another program."""
    marks = (
        ("a TensorFlow SavedModel", folder.has("saved_model.pb")),
        ("a Core ML model", folder.has("Manifest.json", "Data") or bool(folder.ending(".mlmodel", ".mlmodelc"))),
        ("a folder of ONNX models", bool(folder.ending(".onnx"))),
        ("a folder of torch.export programs", bool(folder.ending(".pt2"))),
        (
            "a folder of OpenVINO models",
            any((folder.path / f).with_suffix(".bin").exists() for f in folder.ending(".xml")),
        ),
        ("a folder of ncnn models", bool(folder.ending(".param"))),
        ("a folder of TensorRT engines", bool(folder.ending(".engine", ".trt", ".plan"))),
        ("a folder of flax weights", bool(folder.ending(".msgpack"))),
        ("a folder of Keras or TensorFlow weights", bool(folder.ending(".h5", ".keras", ".tflite"))),
    )
    torch_weights = [file for file in folder.weights if file.suffix != ".bin"]
    name = next((name for name, present in marks if present and not torch_weights), None)
    return None if name is None else (name, ORIGINAL)


KINDS: tuple[Callable[[Folder], Explanation | None], ...] = (own_run, hub_cache, exported, pipeline, training)
"""Kinds of folders; the first that fits counts."""
