"""Where files about a VAE are kept."""

from pathlib import Path

from refusals import refuses

from vaekit.errors import NotFound
from vaekit.library.beside import beside


def test_beside_a_file_and_in_a_folder(tmp_path: Path) -> None:
    file, folder = tmp_path / "models" / "v.safetensors", tmp_path / "run"
    for place in (file.parent, folder):
        place.mkdir()
    file.write_bytes(b"")
    assert beside(str(file), "notes.json") == file.with_name("v.safetensors.notes.json")
    assert beside("v", "notes.json", [file.parent]) == file.with_name("v.safetensors.notes.json")
    assert beside(str(folder), "notes.json") == folder / "notes.json"


def test_not_inside_the_package(tmp_path: Path) -> None:
    assert beside("builtin", "notes.json", [tmp_path]) is None


def test_an_unknown_vae_is_refused(tmp_path: Path) -> None:
    with refuses(NotFound, "absent"):
        beside("absent", "notes.json", [tmp_path])
