"""Import optional packages, with an error that explains how to install a missing one."""

import importlib
from types import ModuleType

from vaekit.errors import MissingPackage


def require(package: str, purpose: str, extra: str) -> ModuleType:
    """Import an optional package.

    Args:
        package: the name to import.
        purpose: why it is needed; completes the sentence "It is needed to ...".
        extra: the vaekit extra that installs it.

    Raises:
        MissingPackage: the package is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(package)
    except Exception as error:  # broken packages raise those of any kind
        name = error.name if isinstance(error, ImportError) else None
        missing = name is not None and name.split(".")[0] == package.split(".")[0]
        found = f"The package {package} is not installed." if missing else f"{package} cannot be imported: {error}."
        raise MissingPackage(found, f"It is needed to {purpose}.", f"Run: pip install 'vaekit[{extra}]'") from error
