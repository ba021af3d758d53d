"""What a name stands for in the models folders, and what is said when it stands for nothing or too much."""

from collections.abc import Callable
from pathlib import Path

import pytest
from refusals import refuses

from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.errors import AmbiguousName, NotFound
from vaekit.library.folders import scan_all
from vaekit.library.inspect import inspect
from vaekit.library.names import find_named, locate_vae, names_of
from vaekit.vae import VAE


def put(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(str(path).encode())


@pytest.mark.parametrize(
    "name",
    ["sub/My VAE v1.2.safetensors", "sub/My VAE v1.2", "My VAE v1.2.safetensors", "My VAE v1.2"],
)
def test_a_file_has_four_names(models: Path, name: str) -> None:
    put(models / "sub" / "My VAE v1.2.safetensors", models / "other.pt")
    assert find_named(name, [models]) == models / "sub" / "My VAE v1.2.safetensors"


def test_a_longer_name_wins(models: Path) -> None:
    put(models / "x.pt", models / "sub" / "x.pt", models / "sub" / "x.ckpt")
    assert find_named("x.pt", [models]) == models / "x.pt"
    assert find_named("x", [models]) == models / "x.pt"  # the whole path without its ending
    assert find_named("sub/x.pt", [models]) == models / "sub" / "x.pt"


def test_a_name_of_two_files_is_an_error_that_lists_them(models: Path) -> None:
    put(models / "a" / "x.pt", models / "b" / "x.safetensors")
    with pytest.raises(AmbiguousName) as told:
        find_named("x", [models])
    assert str(models / "a" / "x.pt") in str(told.value)
    assert str(models / "b" / "x.safetensors") in str(told.value)
    assert find_named("x.pt", [models]) == models / "a" / "x.pt"


def test_a_link_to_the_same_file_is_not_another(models: Path) -> None:
    put(models / "a" / "x.pt")
    (models / "b").mkdir()
    (models / "b" / "x.pt").symlink_to(models / "a" / "x.pt")
    assert find_named("x", [models]).name == "x.pt"


def test_the_vae_beside_a_checkpoint_has_its_name(models: Path) -> None:
    """A1111's custom: model.vae.pt belongs to model.safetensors."""
    put(models / "Stable-diffusion" / "model.safetensors", models / "Stable-diffusion" / "model.vae.pt")
    put(models / "VAE" / "other.pt")
    assert find_named("model", [models]).name == "model.vae.pt"
    assert find_named("model.vae", [models]).name == "model.vae.pt"
    assert find_named("model.safetensors", [models]).name == "model.safetensors"


def test_of_several_folders_the_first(models: Path, tmp_path: Path) -> None:
    put(models / "x.pt", tmp_path / "x.pt", tmp_path / "y.pt")
    assert find_named("x.pt", [tmp_path, models]) == tmp_path / "x.pt"
    assert find_named("y", [models, tmp_path]) == tmp_path / "y.pt"


def test_a_known_vae_is_found_by_its_content(models: Path, with_entry: Callable[..., None]) -> None:
    with_entry("known", b"the weights")
    (models / "whatever.bin").write_bytes(b"the weights")
    assert find_named("known", [models]) == models / "whatever.bin"


def test_a_known_vae_that_is_not_here(models: Path) -> None:
    with refuses(NotFound, "vaekit get sd-vae-ft-mse"):
        find_named("sd-vae-ft-mse", [models])


def test_a_name_of_nothing(models: Path) -> None:
    put(models / "my-lens.pt")
    with refuses(NotFound, "my-lens") as told:
        find_named("my_lens", [models])
    assert "builtin" in str(told.value)
    assert str(models) in str(told.value)


@pytest.mark.parametrize("name", ["", ".", "..", "../x.pt", "/x.pt", "a\0b", "x" * 5000])
def test_a_name_does_not_lead_out_of_the_folder(models: Path, name: str) -> None:
    put(models / "sub" / "y.pt", models / "x.pt")
    with pytest.raises(NotFound):
        find_named(name, [models / "sub"])


def test_every_file_gets_a_name_that_finds_it(models: Path, tmp_path: Path) -> None:
    put(models / "x.pt", models / "x.ckpt", models / "a" / "y.pt", models / "b" / "y.pt", models / "builtin.pt")
    put(models / "m.safetensors", models / "m.vae.pt", tmp_path / "z.pt", tmp_path / "x.pt")
    folders = [models, tmp_path]
    entries, _ = scan_all(folders)
    named = names_of(entries)
    assert named[models / "builtin.pt"] == "builtin.pt"
    assert named[tmp_path / "z.pt"] == "z"
    for path, name in named.items():
        with locate_vae(name, folders) as found:
            assert found == path


def test_names_work_in_python(models: Path, kl_vae: VAE, tmp_path: Path) -> None:
    save(kl_vae, models / "sub" / "mine.safetensors")
    assert load("mine").encoder is not None
    assert inspect("sub/mine").path == "sub/mine"
    with pytest.raises(NotFound):
        load("mine", models=[tmp_path])


def test_a_path_wins_over_a_name(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(models / "x.pt", tmp_path / "x.pt")
    monkeypatch.chdir(tmp_path)
    with locate_vae("x.pt") as found:
        assert found.absolute() == tmp_path / "x.pt"


def test_a_file_of_another_size_is_not_read(models: Path, with_entry: Callable[..., None]) -> None:
    with_entry("known", b"the weights", bytes=10**9)
    (models / "x.pt").write_bytes(b"the weights")
    with pytest.raises(NotFound):
        find_named("known", [models])
    with_entry("known", b"the weights", bytes=0)
    with pytest.raises(NotFound):
        find_named("known", [models])
    (models / "x.pt").rename(models / "vae.safetensors")
    assert find_named("known", [models]) == models / "vae.safetensors"


def test_a_link_to_a_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to("../../blobs/abc123")
    with refuses(NotFound, "model.safetensors", "blobs/abc123"), locate_vae(tmp_path / "model.safetensors"):
        pass
