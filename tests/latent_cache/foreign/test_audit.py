"""An audit finds what is wrong with cached latents, and nothing in healthy ones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from other_caches import ai_toolkit_file, audited, comfyui_file, kohya_file, latents, musubi_file, small_cache
from PIL import Image

from vaekit.catalog.entries import latent_space_named
from vaekit.errors import BadCache, NotFound
from vaekit.latent_cache.description import DESCRIPTION
from vaekit.latent_cache.foreign.audit import (
    DUPLICATE,
    MIXED,
    NON_FINITE,
    NORMALIZATION,
    SIZE,
    UNREADABLE,
    ZEROS,
    Audit,
)
from vaekit.latent_cache.foreign.own import audit_cache, is_cache
from vaekit.latent_cache.item_list import ListedItem, write_items
from vaekit.latent_cache.plans import create_plan, planned
from vaekit.latent_cache.shard_files import latents_path, remove_shard
from vaekit.normalization import LatentNormalization

STDS = {"kohya": 7.0, "musubi": 2.8, "ai-toolkit": 1.0, "comfyui": 5.0}
Write = Callable[[Path, str, torch.Tensor], Path]
WRITERS: dict[str, Write] = {
    "kohya": lambda folder, stem, values: kohya_file(folder, stem, values=values),
    "musubi": lambda folder, stem, values: musubi_file(folder, stem, values=values),
    "ai-toolkit": lambda folder, stem, values: ai_toolkit_file(folder, f"{stem}.png", values),
    "comfyui": lambda folder, stem, values: comfyui_file(folder, stem, values),
}
CHANNELS = {"kohya": 4, "musubi": 16, "ai-toolkit": 4, "comfyui": 4}


def healthy(folder: Path, name: str, count: int = 4) -> list[Path]:
    made = [latents(seed, CHANNELS[name], STDS[name]) for seed in range(count)]
    return [WRITERS[name](folder, f"image{i}", values) for i, values in enumerate(made)]


def kinds(audit: Audit) -> set[str]:
    return {each.kind for each in audit.findings}


@pytest.mark.parametrize("name", list(WRITERS))
def test_nothing_is_wrong_with_healthy_files(tmp_path: Path, name: str) -> None:
    healthy(tmp_path / "sub", name)
    (tmp_path / "notes.txt").write_text("x")
    audit = audited(tmp_path)
    assert audit.clean and (audit.files, audit.items, audit.ignored) == (4, 4, 1)
    assert [family.split(":")[0] for family in audit.contents] == [name]


@pytest.mark.parametrize("name", list(WRITERS))
@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        (NON_FINITE, lambda values: values.index_fill(1, torch.tensor([3]), float("nan"))),
        (NON_FINITE, lambda values: values.index_fill(1, torch.tensor([3]), float("-inf"))),
        (ZEROS, torch.zeros_like),
        (ZEROS, lambda values: values.index_fill(1, torch.tensor([0, 1, 2]), 0.0)),
    ],
)
def test_values(tmp_path: Path, name: str, kind: str, spoil: Callable[[torch.Tensor], torch.Tensor]) -> None:
    healthy(tmp_path, name)
    bad = WRITERS[name](tmp_path, "bad", spoil(latents(9, CHANNELS[name], STDS[name])))
    audit = audited(tmp_path)
    assert {each.kind for each in audit.findings} == {kind}
    assert [each.file for each in audit.findings] == [bad.relative_to(tmp_path).as_posix()]
    assert audit.counts == {kind: 1}


@pytest.mark.parametrize("space", ["SD1 / SD2", "SDXL"])
@pytest.mark.parametrize("whole", [True, False])
def test_raw_latents_that_were_normalized(tmp_path: Path, space: str, whole: bool) -> None:
    known = latent_space_named(space)
    assert known is not None and known.latents is not None and known.normalization is not None
    family = {"SD1 / SD2": "sd", "SDXL": "sdxl"}[space]
    mean, std = (torch.tensor(each)[:, None, None] for each in (known.latents.mean, known.latents.std))
    made = [latents(seed, std=1.0) * std * 0.7 + mean for seed in range(6)]
    for i, values in enumerate(made):
        kohya_file(tmp_path, f"i{i}", family, values * known.normalization.scale[0] if whole or i < 2 else values)
    audit = audited(tmp_path)
    assert kinds(audit) == {NORMALIZATION}
    assert len(audit.findings) == (6 if whole else 2)


def test_normalized_latents_that_are_raw(tmp_path: Path) -> None:
    for i in range(4):
        ai_toolkit_file(tmp_path, f"{i}.png", latents(i, std=7.0))
    assert kinds(audited(tmp_path)) == {NORMALIZATION}


def test_the_vae_that_the_user_names_decides(tmp_path: Path) -> None:
    for i in range(4):
        comfyui_file(tmp_path, f"{i}", latents(i, std=1.0))
    assert audited(tmp_path).clean  # any VAE may have made them
    assert kinds(audited(tmp_path, LatentNormalization((0.0,), (0.18215,)))) == {NORMALIZATION}
    assert audited(tmp_path, LatentNormalization((0.0,), (0.9,))).clean


def test_families_that_statistics_cannot_judge_are_named(tmp_path: Path) -> None:
    for i in range(4):
        kohya_file(tmp_path, f"{i}", "hi", latents(i, 64, 1.2), sizes_in_keys=True)
    audit = audited(tmp_path)
    assert audit.clean and "kohya:hi" in audit.not_judged[0]


def test_sizes(tmp_path: Path) -> None:
    kohya_file(tmp_path / "channels", "a", "sdxl", latents(1, 16))
    kohya_file(tmp_path / "swapped", "a", "sdxl", latents(1, size=(16, 12)))
    kohya_file(tmp_path / "flipped", "a", "sdxl", latents(1), flipped=latents(1, size=(12, 17)))
    kohya_file(tmp_path / "named", "a", "sdxl", latents(1)).rename(tmp_path / "named" / "a_0641x0480_sdxl.npz")
    musubi_file(tmp_path / "key", values=latents(1, 16, 2.8), name="latents_1x12x18_float32")
    audit = audited(tmp_path)
    assert {each.file.split("/")[0] for each in audit.findings if each.kind == SIZE} == {
        *("channels", "swapped", "flipped", "named", "key")
    }


def test_square_crops_of_wide_images_are_fine(tmp_path: Path) -> None:
    kohya_file(tmp_path, "a", "sdxl", latents(1, size=(16, 16)), size=(300, 1200))
    assert audited(tmp_path).clean


def test_duplicates(tmp_path: Path) -> None:
    musubi_file(tmp_path / "m", "a", values=latents(1, 16, 2.8))
    musubi_file(tmp_path / "m", "a", values=latents(1, 16, 2.8), size=(500, 640))
    kohya_file(tmp_path / "k", "b")
    for ending in ("png", "jpg"):
        Image.new("RGB", (640, 480)).save(tmp_path / "k" / f"b.{ending}")
    found = audited(tmp_path).findings
    assert [each.file for each in found if each.kind == DUPLICATE] == [
        "k/b_0640x0480_sdxl.npz",
        "m/a_0640x0500_zi.safetensors",
    ]
    assert [each.file for each in found if each.kind == MIXED] == ["."]


def test_several_sizes_of_one_image_are_no_duplicates(tmp_path: Path) -> None:
    arrays = dict(np.load(kohya_file(tmp_path / "a", "cat", "flux", latents(1, 16, 1.0, (6, 8)), True)))
    kohya_file(tmp_path / "b", "cat", "flux", latents(1, 16, 1.0), True, **arrays)
    audit = audited(tmp_path / "b")
    assert audit.clean and (audit.files, audit.items) == (1, 2)


def test_unreadable_and_pickled_files(tmp_path: Path) -> None:
    whole = kohya_file(tmp_path, "a")
    kohya_file(tmp_path, "b").write_bytes(whole.read_bytes()[:-30])
    comfyui_file(tmp_path, "c").write_bytes(b"")
    torch.save({"x": 1}, tmp_path / "d.pt")
    audit = audited(tmp_path)
    files = [each.file for each in audit.findings if each.kind == UNREADABLE]
    assert files == ["b_0640x0480_sdxl.npz", "c.latent", "d.pt"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("none", "file"):
        with pytest.raises(NotFound):
            audited(tmp_path / name)


@pytest.mark.parametrize("names", [(), ("a.png", "b.png", "c.txt"), ("a.safetensors", "sub/README")])
def test_a_folder_without_a_recognized_cache(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(NotFound) as raised:
        audited(tmp_path)
    assert (f"{len(names)} file" in raised.value.found) == bool(names)
    assert all(Path(name).suffix in raised.value.found for name in names)
    assert "cache.json" in raised.value.expected and "kohya" in raised.value.expected


def test_a_folder_of_caches_of_vaekit_and_one_of_mds(tmp_path: Path) -> None:
    small_cache(tmp_path / "one" / "cache")
    with pytest.raises(NotFound) as raised:
        audited(tmp_path)
    assert str(tmp_path / "one" / "cache") in raised.value.remedy
    kohya_file(tmp_path, "a")
    audit = audited(tmp_path)
    assert audit.clean and any("one/cache" in each for each in audit.not_judged)
    (tmp_path / "mds").mkdir()
    (tmp_path / "mds" / "shard.00000.mds").write_bytes(b"x")
    with pytest.raises(NotFound) as raised:
        audited(tmp_path / "mds")
    assert "not read" in raised.value.remedy


def test_a_cache_of_vaekit_that_is_not_finished(tmp_path: Path) -> None:
    small_cache(tmp_path)
    keys = [("a" * 64, (64, 64)), ("b" * 64, (64, 64))]
    create_plan(tmp_path, 0, planned(0, keys, lambda _: 1, 1))
    audit = audit_cache(tmp_path)
    assert audit.clean and any("2 of 2" in each for each in audit.not_judged)
    remove_shard(tmp_path, "000")
    with pytest.raises(BadCache):
        audit_cache(tmp_path)


def test_a_healthy_cache_of_vaekit(tmp_path: Path) -> None:
    small_cache(tmp_path, flips=True)
    audit = audit_cache(tmp_path)
    assert is_cache(tmp_path) and audit.clean and audit.items == 2
    assert audit.statistics["vaekit"].std[0] == pytest.approx(2, rel=0.2)


def test_a_damaged_cache_of_vaekit(tmp_path: Path) -> None:
    small_cache(tmp_path)
    path = latents_path(tmp_path, "000")
    content = bytearray(path.read_bytes())
    content[-4:] = b"\0\0\xc0\x7f"
    path.write_bytes(content)
    assert UNREADABLE in kinds(audit_cache(tmp_path))
    path.write_bytes(content[:-1])
    assert kinds(audit_cache(tmp_path)) == {UNREADABLE}
    write_items(tmp_path, [ListedItem("x", "a" * 64), ListedItem("x", "b" * 64)])
    assert kinds(audit_cache(tmp_path)) == {UNREADABLE, DUPLICATE}
    (tmp_path / DESCRIPTION).write_text("{")
    with pytest.raises(BadCache):
        audit_cache(tmp_path)


def test_non_finite_and_zero_latents_in_a_cache_of_vaekit(tmp_path: Path) -> None:
    small_cache(tmp_path, std=0.0)
    assert kinds(audit_cache(tmp_path)) >= {ZEROS}


def test_images_that_were_edited(tmp_path: Path) -> None:
    kohya_file(tmp_path, "a")
    kohya_file(tmp_path, "b")
    Image.new("RGB", (480, 640)).save(tmp_path / "a.png")
    Image.new("RGB", (600, 480)).save(tmp_path / "b.png")
    audit = audited(tmp_path)
    assert [(each.kind, each.file) for each in audit.findings] == [(SIZE, "b_0640x0480_sdxl.npz")]
