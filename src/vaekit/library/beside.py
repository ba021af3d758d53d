"""Where files about a VAE are kept: beside its weights.

model.safetensors          model.safetensors.<name>
a folder                   <name> in it
a VAE inside the package, or a folder that cannot be written
                           elsewhere in a models folder
"""

from collections.abc import Sequence
from pathlib import Path

from vaekit.catalog.entries import entry_named
from vaekit.library.names import locate_vae


def beside(vae: str, name: str, models: Sequence[Path] | None = None) -> Path | None:
    """The path of a file about the VAE with this name or path; None for a VAE inside the package.

    Raises:
        NotFound, AmbiguousName: there is no such VAE.
    """
    entry = entry_named(vae)
    if entry is not None and entry.packaged:
        return None
    with locate_vae(vae, models) as path:
        return path / name if path.is_dir() else path.with_name(f"{path.name}.{name}")
