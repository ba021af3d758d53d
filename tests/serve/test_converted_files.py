"""Offered VAEs as files to download."""

import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load
from starlette.testclient import TestClient

import vaekit
from vaekit.checkpoints.convert import convert
from vaekit.serve import converted_files
from vaekit.serve.settings import ServeOptions

MakeClient = Callable[[ServeOptions], TestClient]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files are written."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_file_is_that_of_convert(client: TestClient, vae_file: Path, temporary: Path) -> None:
    answer = client.get("/api/vaes/small/file", params={"layout": "ldm", "dtype": "bf16"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"] == 'attachment; filename="small-ldm-bf16.safetensors"'
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert not any(temporary.iterdir()), "it is removed when it has been sent"
    tensors = load(answer.content)
    assert "decoder.conv_in.weight" in tensors and {each.dtype for each in tensors.values()} == {torch.bfloat16}
    convert(vae_file, temporary / "own.safetensors", "ldm", "bf16")
    assert (temporary / "own.safetensors").read_bytes() == answer.content


def test_a_folder_is_an_archive(client: TestClient, temporary: Path) -> None:
    answer = client.get("/api/vaes/small/file", params={"layout": "diffusers"})
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        archive.extractall(temporary / "unpacked")
    folder = temporary / "unpacked" / "small"
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "diffusion_pytorch_model.safetensors"]
    served = client.get("/api/vaes/small").json()
    assert vaekit.inspect(folder, measure=False).fingerprint == served["fingerprint"]
    assert client.get("/api/vaes/small/file", params={"layout": "diffusers"}).content == answer.content


def test_the_list_names_the_layouts(client: TestClient) -> None:
    assert client.get("/api/vaes/small").json()["layouts"] == ["native", "diffusers", "ldm"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"layout": "../../etc"}, 400),
        ({"layout": ""}, 400),
        ({"dtype": "fp8"}, 400),
        ({"dtype": ""}, 400),
        ({"layout": "tiny"}, 422),
        ({"layout": "original"}, 422),
    ],
)
def test_what_is_refused(
    client: TestClient, query: dict[str, str], status: int, temporary: Path, no_paths: Callable[[str], None]
) -> None:
    answer = client.get("/api/vaes/small/file", params=query)
    assert answer.status_code == status
    no_paths(answer.text)
    assert str(temporary) not in answer.text
    assert not any(temporary.iterdir())


def test_other_pages_start_no_conversion(client: TestClient) -> None:
    """Neither by a link nor by an image, also of another port of this machine."""
    for site in ("cross-site", "same-site"):
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
        assert client.get("/api/vaes/small/file", headers=headers).status_code == 403
    assert client.get("/api/vaes/small/file", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_one_at_a_time(client: TestClient) -> None:
    with converted_files._converting:
        answer = client.get("/api/vaes/small/file")
    assert answer.status_code == 503 and answer.headers["retry-after"] == "2"


def test_files_are_counted(make_client: MakeClient, options: ServeOptions) -> None:
    """A VAE that is larger than what requests may take is refused before anything is written."""
    client = make_client(ServeOptions(options.vaes, memory="4MiB"))
    answer = client.get("/api/vaes/small/file")
    assert answer.status_code == 413, answer.text
