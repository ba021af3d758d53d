"""What every test may ask for."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The data folder shared by all checkouts: `$VAEKIT_DATA`, else `../shared/data` beside the repository."""
    folder = Path(os.environ.get("VAEKIT_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}; set VAEKIT_DATA to its folder")
    return folder
