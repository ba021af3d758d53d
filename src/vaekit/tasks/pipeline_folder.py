"""Read the folder of a diffusers pipeline and check it before anything is loaded.

`model_index.json` names the class of the pipeline, and for each component a library and a class. Only classes of
diffusers and transformers are accepted, since others are Python code in the folder, and only weights in safetensors
files, since pickles can run code.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaekit.errors import BadCheckpoint, NotFound, printable, reason_of, shorten
from vaekit.reading import read_text

INDEX = "model_index.json"
MODEL_CONFIG = "config.json"
"""The file that a component with weights has; schedulers, tokenizers and processors have others."""
SAFE = ".safetensors"
UNSAFE = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
OTHER = (".msgpack", ".h5", ".onnx", ".gguf")
ENCODER, TOKENIZER = "text_encoder", "tokenizer"
"""The starts of the names of components for text: "text_encoder_2" belongs to "tokenizer_2"."""
LIBRARIES = ("diffusers", "transformers")
FEWEST_PARTS = 3
"""Of the name of a weights file with a variant: model.fp16.safetensors."""


@dataclass(frozen=True)
class PipelineFolder:
    """A diffusers pipeline on disk."""

    path: Path
    pipeline_class: str
    components: Mapping[str, tuple[str, str]]
    """Library and class of each component that is present."""
    absent: tuple[str, ...]
    """Components that the pipeline can have and this one has not."""

    def weights(self, component: str) -> list[Path]:
        """The safetensors files of a component, without those of another variant than the pipeline's."""
        files = _files(self.path / component, (SAFE,))
        plain = [file for file in files if variant_of(file) is None]
        return plain or [file for file in files if variant_of(file) == self.variant]

    @property
    def variant(self) -> str | None:
        """The variant of the weights, such as "fp16", if some component has only files of one; else None."""
        for component in self.components:
            variants = {variant_of(file) for file in _files(self.path / component, (SAFE,))}
            if variants and None not in variants:
                return sorted(str(variant) for variant in variants)[0]
        return None


def is_pipeline(folder: Path) -> bool:
    """Whether this is the folder of a diffusers pipeline."""
    try:
        return (folder / INDEX).is_file()
    except OSError:  # a folder that may not be read
        return False


def read_pipeline(folder: Path) -> PipelineFolder:
    """Read which components a pipeline has.

    Raises:
        NotFound: there is no such folder.
        BadCheckpoint: it is no folder of a pipeline, or its index is damaged.
    """
    if not folder.exists():
        raise NotFound(f"{folder} does not exist.", "Expected the folder of a diffusers pipeline.", "Check the path.")
    if not is_pipeline(folder):
        raise BadCheckpoint(
            f"{folder} is not the folder of a diffusers pipeline: it has no {INDEX}.",
            "Expected a folder that `save_pretrained` of a pipeline wrote, or that was downloaded as a whole.",
            "A single file is converted by diffusers: `StableDiffusionPipeline.from_single_file(...)`.",
        )
    try:
        index = json.loads(read_text(folder / INDEX))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(folder, reason_of(error)) from error
    if not isinstance(index, dict):
        raise _damaged(folder, "it holds no object")
    components: dict[str, tuple[str, str]] = {}
    absent: list[str] = []
    for name, value in index.items():
        if name.startswith("_") or not (isinstance(value, list) and len(value) == 2):
            continue
        if not name.isidentifier():
            raise _damaged(folder, f"{printable(repr(name))} is no name of a component")
        if value == [None, None]:
            absent.append(name)
        elif all(isinstance(part, str) for part in value):
            components[name] = (value[0], value[1])
        else:
            raise _damaged(folder, f"the class of {name!r} is {printable(str(value))}")
    name = index.get("_class_name")
    if isinstance(name, list):
        raise BadCheckpoint(
            f"The class of the pipeline in {folder} is code in its folder: {printable(str(name))}.",
            "Only classes of diffusers are run: others can do anything to this computer.",
            "Read that code, and if you trust it run the pipeline with diffusers itself.",
        )
    if not isinstance(name, str):
        raise _damaged(folder, "it names no class of a pipeline")
    return PipelineFolder(folder, name, components, tuple(absent))


def check_files(pipeline: PipelineFolder, without: Sequence[str] = ()) -> None:
    """Check that every component is there, with its weights in safetensors files.

    Args:
        pipeline: the folder.
        without: components that are not loaded.

    Raises:
        BadCheckpoint: a component is missing, or its weights are, or they are pickles or in a format of other programs.
    """
    for name, (library, class_name) in pipeline.components.items():
        if name in without:
            continue
        folder = pipeline.path / name
        if not folder.is_dir():
            raise BadCheckpoint(
                f"The component {name!r} of the pipeline in {pipeline.path} is missing.",
                f"Expected the folder {folder}, with a {printable(class_name)} of {printable(library)}.",
                "Download the whole pipeline, or copy that folder from another copy.",
            )
        if (folder / MODEL_CONFIG).is_file() and not _files(folder, (SAFE,)):
            raise _without_safe_weights(folder, name)


def check_text(pipeline: PipelineFolder) -> None:
    """Check that prompts can be encoded: there is a text encoder, and a tokenizer for each.

    Raises:
        BadCheckpoint: there is none, or one without the other.
    """
    names = [*pipeline.components, *pipeline.absent]
    encoders = [name for name in names if name.startswith(ENCODER)]
    for encoder in encoders:
        tokenizer = encoder.replace(ENCODER, TOKENIZER)
        if tokenizer in names and (encoder in pipeline.absent) != (tokenizer in pipeline.absent):
            absent, present = sorted((encoder, tokenizer), key=lambda name: name not in pipeline.absent)
            raise BadCheckpoint(
                f"The pipeline in {pipeline.path} has the component {present!r}, but not {absent!r}.",
                "Expected both: the tokenizer splits a prompt into tokens, which the text encoder encodes.",
                "Download the whole pipeline.",
            )
    if encoders and all(encoder in pipeline.absent for encoder in encoders):
        raise BadCheckpoint(
            f"The pipeline in {pipeline.path} has no text encoder: null in {INDEX} for {shorten(encoders)}.",
            "Expected at least one: otherwise it cannot read the prompt.",
            "Download the whole pipeline.",
        )


def variant_of(file: Path) -> str | None:
    """The variant in the name of a weights file: "fp16" of `model.fp16.safetensors`; shards have none of their own.

    >>> variant_of(Path("model.fp16-00001-of-00002.safetensors"))
    'fp16'
    """
    parts = file.name.split(".")
    return parts[1].split("-")[0] or None if len(parts) >= FEWEST_PARTS else None


def _without_safe_weights(folder: Path, name: str) -> BadCheckpoint:
    unsafe, other = (_files(folder, endings) for endings in (UNSAFE, OTHER))
    if unsafe:
        return BadCheckpoint(
            f"The weights of {name!r} are pickles: {shorten(file.name for file in unsafe)}.",
            "Expected safetensors files: pickles can run any code when they are loaded.",
            f"Download the {SAFE} files of the pipeline. If you trust its source, `save_pretrained(..., "
            "safe_serialization=True)` of diffusers converts it.",
        )
    found = f"only {shorten(file.name for file in other)}" if other else "none"
    return BadCheckpoint(
        f"The weights of {name!r} are missing: {folder} has {found}.",
        f"Expected {SAFE} files.",
        "Download the whole pipeline.",
    )


def _files(folder: Path, endings: Sequence[str]) -> list[Path]:
    try:
        return sorted(file for file in folder.iterdir() if file.name.endswith(tuple(endings)))
    except OSError:
        return []


def _damaged(folder: Path, reason: str) -> BadCheckpoint:
    return BadCheckpoint(
        f"{folder / INDEX} is damaged: {reason}.",
        "Expected the index of a diffusers pipeline.",
        "Download the pipeline again.",
    )
