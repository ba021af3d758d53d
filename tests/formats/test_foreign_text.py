"""Pointers, pages, messages and configs in place of weights are quoted."""

import json
from pathlib import Path

import pytest
from refusals import refuses

from vaekit.errors import BadCheckpoint
from vaekit.formats.foreign_text import by_text, shown_text
from vaekit.formats.open import open_tensors

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "ab" * 32 + "\nsize 334643268\n"
PAGE = "<!DOCTYPE html>\n<html><head><title>Log in &ndash; Hub</title><style>x{}</style></head><body>Hi</body></html>"
TEXTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Git LFS": (LFS, ("Git LFS", "334,643,268", "git lfs pull")),
    "Git LFS, extended": (LFS.replace("oid", "ext-0-foo sha256:aa\noid", 1), ("Git LFS", "334,643,268")),
    "Xet": ("# xet version 0\nfilesize = 123\nhash = 'ab'\n", ("Xet",)),
    "a copied link": ("../../blobs/" + "0123456789" * 4, ("blobs", "012345678901")),
    "a page": (PAGE, ("web page", "Log in", "resolve")),
    "a page after a comment": ("\ufeff \n<!-- x -->\n<html><body><h1>404</h1> not found</body>", ("404 not found",)),
    "a JSON error": ('{"error":"Invalid username or password."}', ("Invalid username or password.",)),
    "another": ('{"detail": [ "quota exceeded" ], "code": 429}', ("quota exceeded",)),
    "one with objects": (json.dumps({"err": {"x": 1}, "error": {"code": 5, "message": "gone"}}), ("gone",)),
    "an XML error": (
        '<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>No</Message></Error>',
        ("AccessDenied",),
    ),
    "a config": ('{"_class_name": "AutoencoderKL", "x": 1}', ("AutoencoderKL", "config")),
    "a pipeline": ('{\n  "_class_name": "FluxPipeline"}', ("FluxPipeline",)),
    "an index": ('{"metadata": {"total_size": 5}, "weight_map": {"a": "x-00001.safetensors"}}', ("several files",)),
    "JSON": ("[1, 2, 3]", ("JSON",)),
    "OpenVINO": ('<?xml version="1.0"?>\n<net name="vae" version="11">', ("OpenVINO",)),
    "ncnn": ("7767517\n75 83\nInput data 0 1 data", ("ncnn",)),
    "TensorFlow": ('model_checkpoint_path: "model.ckpt-1"\n', ("TensorFlow",)),
    "prose": ("Dear user, the file has moved.", ("Dear user, the file has moved.",)),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_are_named(name: str, tmp_path: Path) -> None:
    text, facts = TEXTS[name]
    (tmp_path / "vae.safetensors").write_text(text, "utf-8")
    with refuses(BadCheckpoint, *facts):
        open_tensors(tmp_path / "vae.safetensors")


def test_a_page_without_title_is_quoted_without_markup() -> None:
    assert shown_text("<html><script>var a = '<b>'</script><p>Too many&nbsp;requests</p>") == "Too many requests"
    assert len(shown_text("<p>" + "x" * 10**5)) < 200


@pytest.mark.parametrize("start", [b"", b" \n", bytes(range(256)) * 4, b"\xff\xfe\x01", b"\x93\x07\0\0ab"])
def test_bytes_are_no_text(start: bytes) -> None:
    assert by_text(start) is None


def test_a_text_cut_inside_a_character_is_a_text() -> None:
    assert by_text("<html><title>é".encode()[:-1]) is not None
    assert by_text("<html><title>x</title>".encode("utf-16")) is not None
