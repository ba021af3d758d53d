"""Explain paths that are neither a run of a diffusion recipe nor the folder of a diffusers pipeline."""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from vaekit.diffusion.files import is_diffusion
from vaekit.diffusion.recipe import TABLE
from vaekit.errors import BadCheckpoint, NotFound, VaekitError, counted, printable, shorten
from vaekit.formats.paths import DIFFUSERS_SETTINGS
from vaekit.identification.folder_contents import Folder
from vaekit.identification.inspect import inspect_path
from vaekit.latent_cache.description import DESCRIPTION
from vaekit.reading import exists, read_json
from vaekit.run_folder import DIFFUSION, RECIPE
from vaekit.run_folder import RESULT as VAE_FILE
from vaekit.tasks.pipeline_folder import INDEX, is_pipeline

EXPECTED = (
    f"Expected the folder of a finished run of a diffusion recipe (with {DIFFUSION}), or that of a diffusers pipeline "
    f"(with {INDEX})."
)
TRAIN = "Train a diffusion model (docs/diffusion.md)"
CHECK = "Check the path, or train a model: docs/diffusion.md."
VAE_CLASSES = ("Autoencoder", "VQModel", "ConsistencyDecoderVAE")
"""The starts of the names of diffusers' classes of VAEs."""
MOST_FILES = 5000
"""How many files of a folder are counted; it may be the root of a disk."""
Explanation = tuple[str, str]
"""What is at a path, a phrase; and the remedy, a sentence."""


def check_generator(path: Path) -> None:
    """Check that there may be a diffusion model at a path: a file of one, or a folder with one.

    Raises:
        NotFound: there is nothing, or a folder of something else.
        BadCheckpoint: it is a file of something else.
    """
    if not exists(path):
        raise NotFound(f"{path} does not exist.", EXPECTED, CHECK)
    if path.is_dir():
        if not exists(path / DIFFUSION):
            found, remedy = next(filter(None, (explain(path) for explain in FOLDERS)))
            raise NotFound(f"{path} is {found}.", EXPECTED, remedy)
    elif not is_diffusion(path):
        found, remedy = file_of_something(path)
        raise BadCheckpoint(found, EXPECTED, remedy)


def file_of_something(path: Path) -> Explanation:
    """What a file is, as a sentence, and the remedy."""
    whole = part(path)
    if whole is not None:
        return f"{path} is {whole[0]}.", whole[1]
    try:
        seen = inspect_path(path, hash=False, measure=False)
    except VaekitError as error:
        return f"{path} is not a diffusion model: {error.found}", CHECK
    if seen.prefix:
        remedy = (
            "A checkpoint of a whole model is converted by diffusers: `StableDiffusionPipeline.from_single_file(...)`, "
            "then `save_pretrained`."
        )
        return f"{path} is a checkpoint with a VAE of the family {seen.family} inside.", remedy
    return f"{path} is a VAE of the family {seen.family}, and no diffusion model.", on_latents(path)


def part(path: Path) -> Explanation | None:
    """A file or folder inside a run or a pipeline."""
    parent = path.absolute().parent
    for folder in (parent, parent.parent):
        if exists(folder / DIFFUSION) or is_pipeline(folder):
            kind = "pipeline" if is_pipeline(folder) else "run"
            return f"a part of the {kind} {folder}", f"Give the whole: --model {folder}"
    return None


def on_latents(vae: Path) -> str:
    """The advice to train a model on the latents of a VAE."""
    return f"{TRAIN}: vaekit train RECIPE --data DATA --vae {vae}"


def component(folder: Path) -> Explanation | None:
    """A component of a diffusers pipeline, such as its unet, without the rest."""
    name = settings_of(folder / DIFFUSERS_SETTINGS).get("_class_name")
    if not isinstance(name, str):
        return None
    if name.startswith(VAE_CLASSES):
        return f"a VAE of diffusers ({printable(name)}), and no diffusion model", on_latents(folder)
    return (
        f"one component of a diffusers pipeline, a {printable(name)}, without the others",
        "Download the whole pipeline, and give its folder.",
    )


def run(folder: Path) -> Explanation | None:
    """A run of another recipe, or one that is not finished."""
    if not exists(folder / RECIPE):
        return None
    recipe = settings_of(folder / RECIPE).get("recipe")
    if isinstance(recipe, Mapping) and TABLE in recipe:
        return "a run of a diffusion recipe that is not finished", "Continue it with the command that started it."
    if not exists(folder / VAE_FILE):
        return (
            "a run that trains a VAE, and is not finished",
            f"Continue it with the command that started it. {on_latents(folder)}",
        )
    return "a run that trained a VAE, and no diffusion model", on_latents(folder)


def cache(folder: Path) -> Explanation | None:
    """A cache of latents."""
    if not exists(folder / DESCRIPTION):
        return None
    return "a cache of latents", f"{TRAIN}: vaekit train RECIPE --data {folder}"


def with_models_inside(folder: Path) -> Explanation | None:
    """A folder with runs or pipelines further below, such as a repository in the cache of the Hub."""
    inside = [entry.parent for entry in Folder(folder).entries if entry.name in (DIFFUSION, INDEX)]
    if not inside:
        return None
    listing = shorten((str(each) for each in inside), 5)
    return f"no model, but models are inside it: {listing}", f"Give one of them: --model {folder / inside[0]}"


def other(folder: Path) -> Explanation:
    """Any other folder."""
    try:
        seen = inspect_path(folder, hash=False, measure=False)
        return f"a folder with a VAE of the family {seen.family}, and no diffusion model", on_latents(folder)
    except VaekitError:
        endings: Counter[str] = Counter()
        for _, _, names in islice(os.walk(folder), MOST_FILES):
            endings.update(Path(name).suffix.lower() or "without an ending" for name in names)
        count = sum(endings.values())
        listing = shorten((f"{number:,} {printable(each, 20)}" for each, number in endings.most_common()), 6)
        return (f"a folder with {counted(count, 'file')} ({listing})" if count else "an empty folder"), CHECK


FOLDERS: tuple[Callable[[Path], Explanation | None], ...] = (part, component, run, cache, with_models_inside, other)
"""Kinds of folders; the first that fits counts."""


def settings_of(path: Path) -> Mapping[str, Any]:
    """The object in a JSON file; empty if there is none."""
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
