"""SHA-256 hashes of whole files, cached until the file changes."""

import hashlib
import os
from pathlib import Path

import pytest
from refusals import refuses

from vaekit.errors import BadCheckpoint
from vaekit.identification.file_hashes import remember_sha256, sha256_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "x").write_bytes(b"abc" * 1000)
    return tmp_path / "x"


def test_the_hash_is_that_of_the_bytes(file: Path) -> None:
    assert sha256_of(file) == hashlib.sha256(b"abc" * 1000).hexdigest()


def test_a_file_is_hashed_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sha256_of(file)
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
    assert sha256_of(file) == first


def test_a_changed_file_is_hashed_again(file: Path) -> None:
    first = sha256_of(file)
    file.write_bytes(b"abd" * 1000)
    os.utime(file, (1, 1))
    assert sha256_of(file) == hashlib.sha256(b"abd" * 1000).hexdigest() != first


def test_a_hash_known_from_writing_is_not_computed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("hashed"))
    remember_sha256(file, "0" * 64)
    assert sha256_of(file) == "0" * 64


@pytest.mark.parametrize("name", ["missing", ""])
def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with refuses(BadCheckpoint, tmp_path / name):
        sha256_of(tmp_path / name)
