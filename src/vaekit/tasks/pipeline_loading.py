"""Load a diffusers pipeline from a folder. Nothing is downloaded, and no code in the folder is run."""

import logging
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

from vaekit.errors import (
    BadCheckpoint,
    MissingPackage,
    OutOfMemory,
    VaekitError,
    WrongTensors,
    counted,
    did_you_mean,
    printable,
    shorten,
)
from vaekit.formats.open import open_tensors
from vaekit.optional import require
from vaekit.tasks.pipeline_folder import LIBRARIES, PipelineFolder, check_files

VAE_COMPONENT = "vae"
PURPOSE, EXTRA = "run a diffusers pipeline", "diffusers"
NEW = "newly initialized"
MISSING = re.compile(r"^(\S+) *\| *MISSING", re.MULTILINE)
"""What transformers remarks about weights that are not in a file, and its list of them."""
LONGEST_REASON = 300
"""Characters of the message of another library."""


def load_pipeline(folder: PipelineFolder, dtype: torch.dtype, device: torch.device) -> Any:
    """The pipeline without its VAE, which is None.

    Raises:
        MissingPackage: diffusers, transformers or what a component needs is not installed.
        BadCheckpoint: a component is missing or damaged, its weights are pickles, or its class is unknown.
        WrongTensors: weights of a model are missing.
        OutOfMemory: the weights do not fit.
    """
    diffusers = require("diffusers", PURPOSE, EXTRA)
    check_files(folder, without=(VAE_COMPONENT,))
    with translated(f"The pipeline in {folder.path} cannot be loaded"), quiet() as remarks:
        pipeline_class = class_of_pipeline(folder, diffusers)
        for name in folder.components:
            if name != VAE_COMPONENT:
                check_class(folder, name, diffusers)
                for file in folder.weights(name):
                    open_tensors(file)  # refuses damaged headers
        pipeline = pipeline_class.from_pretrained(
            str(folder.path),
            vae=None,
            variant=folder.variant,
            use_safetensors=True,
            local_files_only=True,
            **in_dtype(dtype),
        )
        for name in folder.components:
            check_weights(folder, name, getattr(pipeline, name, None), diffusers)
        check_initialized(remarks)
        return pipeline.to(device)


def in_dtype(dtype: torch.dtype) -> dict[str, Any]:
    """The argument for the dtype of a pipeline, which diffusers has renamed. `from_pretrained` takes any keyword and
    ignores unknown ones, so its signature does not tell which name it reads."""
    from diffusers.pipelines import pipeline_utils

    return {"dtype" if hasattr(pipeline_utils, "_resolve_dtype") else "torch_dtype": dtype}


def class_of_pipeline(folder: PipelineFolder, diffusers: ModuleType) -> Any:
    """The class of a pipeline.

    Raises:
        BadCheckpoint: this version of diffusers has none of this name.
    """
    found = _attribute(diffusers, folder.pipeline_class)
    if not (isinstance(found, type) and issubclass(found, diffusers.DiffusionPipeline)):
        raise BadCheckpoint(
            f"diffusers {diffusers.__version__} has no pipeline {printable(folder.pipeline_class)}, which "
            f"{folder.path} needs.",
            "Expected a class of diffusers.",
            "Install a newer version: pip install -U diffusers",
        )
    return found


def check_class(folder: PipelineFolder, name: str, diffusers: ModuleType) -> None:
    """Check that the class of a component is one of diffusers or transformers.

    Raises:
        BadCheckpoint: it is unknown, or code in the folder.
        MissingPackage: transformers is not installed.
    """
    library, class_name = folder.components[name]
    own = getattr(diffusers.pipelines, library, None)
    modules = {"diffusers": diffusers, **({} if own is None else {library: own})}
    if library == "transformers":
        modules["transformers"] = require("transformers", PURPOSE, EXTRA)
    if library not in modules:
        raise BadCheckpoint(
            f"The component {name!r} of the pipeline in {folder.path} is of the library {printable(repr(library))}.",
            f"Expected {' or '.join(LIBRARIES)}: other libraries, or code in the folder, are not run.",
            "Run the pipeline with diffusers itself, if you trust its source.",
        )
    if _attribute(modules[library], class_name) is None and _renamed(class_name, library) is None:
        module = modules[library]
        kind = [known for known in dir(module) if "scheduler" in name and known.endswith("Scheduler")]
        raise BadCheckpoint(
            f"{library} {getattr(module, '__version__', '')} has no class {printable(class_name)}, which the component "
            f"{name!r} of the pipeline in {folder.path} needs.",
            f"Expected a class of {library}. {did_you_mean(class_name, kind)}".rstrip(),
            f"Install a newer version: pip install -U {library}",
        )


def check_weights(folder: PipelineFolder, name: str, component: Any, diffusers: ModuleType) -> None:
    """Check that the files of a model of diffusers held all its weights: missing ones would be random numbers.

    Raises:
        WrongTensors: some are missing.
        BadCheckpoint: a file is damaged.
    """
    if not isinstance(component, diffusers.ModelMixin) or getattr(component, "hf_quantizer", None) is not None:
        return
    stored = {key for file in folder.weights(name) for key in open_tensors(file).specs}
    missing = sorted(component.state_dict().keys() - stored)
    if missing:
        raise WrongTensors(
            f"{counted(len(missing), 'tensor')} of the component {name!r} are not in {folder.path / name}: "
            f"{shorten(missing)}.",
            f"Expected all tensors of {type(component).__name__}.",
            "Download the component again, with all its files.",
        )


@contextmanager
def translated(failure: str, error_type: type[VaekitError] = BadCheckpoint, remedy: str = "") -> Iterator[None]:
    """Turn exceptions of diffusers, transformers and torch into errors for users.

    Args:
        failure: the beginning of the message, without a period.
        error_type: of exceptions without a meaning of their own.
        remedy: of those.
    """
    try:
        yield
    except VaekitError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(
            f"{failure}: the memory is not sufficient.",
            "",
            "Run it in half precision (--dtype bf16), in a smaller size (--size), or on another device.",
        ) from error
    except ImportError as error:
        raise MissingPackage(
            f"{failure}: {reason(error)}.",
            "A component needs a package that is not installed.",
            "Install that package.",
        ) from error
    except Exception as error:  # other libraries raise anything on damaged files and unsuitable components
        raise error_type(f"{failure}: {reason(error)}.", "", remedy) from error


def reason(error: Exception) -> str:
    """The start of a message on one line, without a period, with the class of errors that are no sentences."""
    text = " ".join(str(error).split())
    named = type(error).__name__ if not isinstance(error, ValueError | OSError | ImportError) else ""
    whole = printable(": ".join(part for part in (named, text) if part) or type(error).__name__, LONGEST_REASON)
    return whole.removesuffix(".")


@contextmanager
def quiet() -> Iterator[list[str]]:
    """Do without the progress bars and remarks of diffusers and transformers, and yield the list of these remarks."""
    modules = [require(name, PURPOSE, EXTRA) for name in LIBRARIES]
    bars = [module.utils.logging for module in modules if module.utils.logging.is_progress_bar_enabled()]
    remarks: list[str] = []
    collector = Collector(remarks)
    logs = [logging.getLogger(name) for name in LIBRARIES]
    before = [(log.handlers, log.propagate) for log in logs]
    for log in logs:
        log.handlers, log.propagate = [collector], False
    for bar in bars:
        bar.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield remarks
    finally:
        for log, (handlers, propagate) in zip(logs, before, strict=True):
            log.handlers, log.propagate = handlers, propagate
        for bar in bars:
            bar.enable_progress_bar()


class Collector(logging.Handler):
    """Collects the texts of records.

    Args:
        texts: to which they are added.
    """

    def __init__(self, texts: list[str]) -> None:
        super().__init__()
        self.texts = texts

    def emit(self, record: logging.LogRecord) -> None:
        """Add a text."""
        self.texts.append(record.getMessage())


def check_initialized(remarks: Iterable[str]) -> None:
    """Check that transformers did not fill missing weights with random numbers, which it remarks only.

    Raises:
        WrongTensors: it did.
    """
    for remark in remarks:
        if NEW not in remark:
            continue
        names = MISSING.findall(remark) or [reason(ValueError(remark))]
        raise WrongTensors(
            f"Tensors of a text encoder are not in its file: {shorten(names)}.",
            "Expected all tensors of the network.",
            "Download the component again, with all its files.",
        )


def _attribute(module: ModuleType, name: str) -> Any:
    """A public attribute, or None; importing it may fail for want of a package."""
    if not name.isidentifier() or name.startswith("_"):
        return None
    with translated(f"{module.__name__}.{name} cannot be imported"):
        return getattr(module, name, None)


def _renamed(name: str, library: str) -> object:
    """The present class of transformers for a name of earlier versions, as diffusers translates it; None if unknown."""
    from diffusers.pipelines import pipeline_loading_utils

    rename = getattr(pipeline_loading_utils, "_maybe_remap_transformers_class", None)
    return rename(name) if library == "transformers" and rename is not None else None
