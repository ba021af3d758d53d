"""Which VAEs are offered, and under which names."""

import shutil
from pathlib import Path

import pytest

from vaekit.errors import BadItem, NotFound
from vaekit.serve.offer import Offer
from vaekit.serve.refusals import Refusal


def test_without_options_the_built_in_one() -> None:
    assert [vae.name for vae in Offer((), None)] == ["builtin"]


def test_a_folder_offers_what_is_in_it(vae_folder: Path) -> None:
    offer = Offer((), (vae_folder,))
    assert [vae.name for vae in offer] == ["small", "wide-16"]
    assert offer.default.name == "small"
    assert [vae.name for vae in Offer(("builtin", "wide (16)"), (vae_folder,))] == ["builtin", "wide-16", "small"]


@pytest.mark.parametrize("name", ["small.safetensors", "../small", "/etc/passwd", "", "sd-vae-ft-mse", "builtin"])
def test_only_names_of_the_offer_reach_a_vae(vae_folder: Path, name: str) -> None:
    with pytest.raises(Refusal) as refused:
        Offer((), (vae_folder,)).find(name)
    assert refused.value.status == 404


def test_equal_names_are_numbered(vae_file: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for folder in ("a", "b"):
        shutil.copy(vae_file, tmp_path / folder / "vae.safetensors")
    assert [vae.name for vae in Offer((), (tmp_path,))] == ["vae", "vae-2"]


def test_refreshing_finds_new_files_and_keeps_old_ones(vae_file: Path, tmp_path: Path) -> None:
    shutil.copy(vae_file, tmp_path / "first.safetensors")
    offer = Offer((), (tmp_path,))
    first = offer.default
    shutil.copy(vae_file, tmp_path / "second.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"x")
    offer.refresh()
    assert [vae.name for vae in offer] == ["first", "second"]
    assert offer.default is first


def test_what_cannot_be_served_is_an_error_at_the_start(tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"x" * 100)
    with pytest.raises(BadItem):
        Offer((str(broken),), None)
    with pytest.raises(NotFound):
        Offer((str(tmp_path / "missing"),), None)
    with pytest.raises(NotFound):
        Offer((), (tmp_path,))
