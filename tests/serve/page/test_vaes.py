"""The screen VAEs."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file


def header_size(path: Path) -> int:
    return 8 + int.from_bytes(path.read_bytes()[:8], "little")


def test_what_is_offered(open_page: Any) -> None:
    one = open_page("vaes")
    names = one.page.locator("#vaes h3 bdi").all_inner_texts()
    assert names[0] == "small" and sorted(names) == ["copy", "small", "wide-16"]
    card = one.page.locator("#vaes li").first
    assert "The same weights as copy." in card.inner_text()
    assert "4 channels at 1/4: 12 times fewer values than the image" in card.inner_text()
    assert "default" in card.inner_text()
    assert not card.get_by_text("Fingerprint").is_visible()
    card.get_by_text("Details").click()
    assert card.get_by_text("Fingerprint").is_visible()
    assert "broken" in one.page.locator(".unusable").inner_text()
    assert "not a weights file" in one.page.locator(".unusable").inner_text()


def test_new_files_are_found(open_page: Any, models: Path) -> None:
    one = open_page("vaes")
    (models / "new.safetensors").write_bytes((models / "wide (16).safetensors").read_bytes())
    try:
        one.page.get_by_role("button", name="Look into the models folders again").click()
        one.page.locator("#vaes h3").get_by_text("new").wait_for()
        one.page.get_by_role("link", name="Look").click()
        one.page.get_by_role("group", name="VAEs").get_by_role("checkbox", name="new").wait_for(state="attached")
    finally:
        (models / "new.safetensors").unlink()
    one.page.get_by_role("link", name="VAEs").click()
    one.page.get_by_role("button", name="Look into the models folders again").click()
    one.page.locator("#vaes h3").get_by_text("new").wait_for(state="detached")


def test_only_the_header_of_a_file_is_sent(open_page: Any, vae_file: Path) -> None:
    one = open_page("vaes")
    sent: list[bytes] = []
    one.page.on("request", lambda request: sent.append(request.post_data_buffer or b""))
    one.page.set_input_files(".vaes input[type=file]", vae_file)
    one.page.wait_for_selector(".inspected h3")
    assert [len(body) for body in sent] == [header_size(vae_file)]
    text = one.page.locator(".inspected").inner_text()
    assert "small.safetensors" in text and "4 channels at 1/4" in text and "Not known without the weights" in text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.ckpt", b"x" * 100, "vaekit inspect model.ckpt"),
        ("model.gguf", b"GGUF", "is no safetensors file"),
        ("short.safetensors", b"abc", "damaged, incomplete"),
        ("long.safetensors", (100 * 2**20).to_bytes(8, "little") + b"{}", "damaged, incomplete"),
        ("list.safetensors", (2).to_bytes(8, "little") + b"[]", "This file is damaged"),
        ("none.safetensors", (2).to_bytes(8, "little") + b"{}", "There is no VAE in this file"),
    ],
)
def test_files_that_cannot_be_inspected(
    open_page: Any, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    one = open_page("vaes")
    (tmp_path / name).write_bytes(content)
    one.page.set_input_files(".vaes input[type=file]", tmp_path / name)
    one.page.get_by_role("alert").get_by_text(message).wait_for()
    one.said.clear()  # the browser's own message about the status


def test_a_conversion_is_saved(open_page: Any, vae_file: Path, tmp_path: Path) -> None:
    """By the keyboard."""
    one = open_page("vaes", phone=True)
    card = one.page.locator("#vaes li").first
    card.locator(".conversion summary").focus()
    one.page.keyboard.press("Enter")
    one.page.keyboard.press("Tab")
    one.page.keyboard.press("ArrowRight")
    one.page.keyboard.press("ArrowRight")
    card.get_by_role("radio", name="fp16").check()
    with one.page.expect_download() as download:
        card.get_by_role("button", name="Convert small and save it").click()
    assert download.value.suggested_filename == "small-ldm-fp16.safetensors"
    download.value.save_as(tmp_path / "saved.safetensors")
    tensors = load_file(tmp_path / "saved.safetensors")
    assert "decoder.conv_in.weight" in tensors
