"""Recognize a VAE by the class that its config.json names, where its tensors do not identify it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vaekit.catalog.tables import family_facts
from vaekit.errors import NotFound, NotRunnable, UnknownVAE, VaekitError, WrongTensors, printable
from vaekit.identification.key_signatures import UnsupportedFamily, listed_families, refusal, unsupported_families
from vaekit.identification.locate import read_settings

CLASS = "_class_name"


def class_in(settings: Mapping[str, Any]) -> str:
    """The name of the class in a config.json; empty if it names none."""
    name = settings.get(CLASS)
    return name if isinstance(name, str) else ""


def unsupported_class(settings: Mapping[str, Any]) -> UnsupportedFamily | None:
    """The VAE of the class that a config.json names, if vaekit recognizes but cannot run it."""
    name = class_in(settings)
    return next((known for known in unsupported_families() if name in known.classes), None)


def described_by(settings: Mapping[str, Any]) -> str:
    """The VAE that a config.json describes, a phrase; empty if it names no class that vaekit knows."""
    name = class_in(settings)
    families = [f"{facts['family']!r}" for facts in family_facts() if name in facts.get("classes", ())]
    if families:
        return f"{name}, which is the family {' or '.join(families)}"
    known = next((known for known in listed_families() if name in known.classes), None)
    return "" if known is None else f"{name}, the class of {known.name}"


@contextmanager
def naming_the_class(path: Path) -> Iterator[None]:
    """Add the class in the config.json of a folder to errors for unknown or missing tensors.

    Raises:
        NotRunnable: config.json names the class of a VAE that vaekit recognizes but cannot run.
        NotFound, UnknownVAE, WrongTensors: the original error; the first two with the class.
    """
    try:
        yield
    except NotRunnable:
        raise
    except (NotFound, UnknownVAE, WrongTensors) as error:
        settings = settings_beside(path)
        known, name = unsupported_class(settings), class_in(settings)
        if known is not None and not isinstance(error, NotFound):
            raise refusal(f"The VAE in {path}, a {name} by its config.json,", known, known.models_of(name)) from error
        if isinstance(error, WrongTensors):
            raise
        raise with_class(error, settings) from error


def settings_beside(path: Path) -> Mapping[str, Any]:
    """The settings of the VAE in a folder, or in its subfolder `vae`; empty for anything else, readable or not."""
    try:
        folders = (path / "vae", path) if path.is_dir() else ()
        return next((settings for folder in folders if (settings := read_settings(folder / "config.json"))), {})
    except (OSError, ValueError, VaekitError):
        return {}


def with_class(error: VaekitError, settings: Mapping[str, Any]) -> VaekitError:
    """The error with the class in config.json at the end of its description."""
    name = printable(class_in(settings))[:80]
    if not name:
        return error
    named = f"Its config.json names {described_by(settings) or f'the class {name}, which vaekit does not know'}."
    return type(error)(f"{error.found} {named}", error.expected, error.remedy)
