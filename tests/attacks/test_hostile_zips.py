"""Zips that are no checkpoints, and zips that try tricks."""

import io
import pickle
import zipfile
from pathlib import Path

import pytest

from vaekit.checkpoints.identify import identify
from vaekit.errors import BadCheckpoint


def zip_bytes(entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


ZIPS: dict[str, bytes] = {
    "empty": zip_bytes({}),
    "of documents": zip_bytes({"word/document.xml": b"<w/>"}),
    "without data": zip_bytes({"archive/data.pkl": pickle.dumps({"x": 1}, 2)}),
    "with a broken pickle": zip_bytes({"archive/data.pkl": b"\x80\x02garbage", "archive/version": b"3"}),
    "with an empty pickle": zip_bytes({"archive/data.pkl": b"", "archive/version": b"3"}),
    "a bomb": zip_bytes({"archive/data.pkl": b"\0" * 10**7, "archive/version": b"3"}, zipfile.ZIP_DEFLATED),
    "of climbing names": zip_bytes({"../../data.pkl": b"\x80\x02}.", "../version": b"3"}),
    "of many entries": zip_bytes({f"archive/data/{i}": b"" for i in range(3000)}),
    "with an impossible count": zip_bytes({"archive/data.pkl": b"x"})[:-14] + b"\xff\xff\xff\xff" + b"\xff" * 10,
    "with a start alone": b"PK\x03\x04",
    "of zeros": b"PK\x03\x04" + b"\0" * 1000,
    "TorchScript": zip_bytes(
        {"archive/constants.pkl": b"\x80\x02).", "archive/data.pkl": b"\x80\x02}.", "archive/version": b"3"}
    ),
}


@pytest.mark.parametrize("name", ZIPS)
def test_a_zip_that_is_no_checkpoint(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.pt").write_bytes(ZIPS[name])
    with pytest.raises(BadCheckpoint) as caught:
        identify(tmp_path / "x.pt")
    assert "\n" not in str(caught.value)
