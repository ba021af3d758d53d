"""The screen Look, by mouse, by keyboard and by finger."""

import base64
import io
import json
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from running_server import RunningServer
from safetensors.torch import load_file

LEVELS = """
(selector) => {
  const canvas = document.querySelector(selector);
  return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
}
"""
DROP = """
async ([name, type, text]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name, { type }));
  const drop = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.querySelector(".image-input").dispatchEvent(drop);
}
"""
PASTE = """
async (text) => {
  const clipboardData = new DataTransfer();
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  clipboardData.items.add(new File([bytes], "image.png", { type: "image/png" }));
  document.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}
"""


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def asked(server: RunningServer, path: str, body: bytes, accept: str) -> bytes:
    request = urllib.request.Request(
        f"{server.url}{path}", body, {"Content-Type": "image/png", "Accept": accept}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        content: bytes = answer.read()
        return content


def saved(one: Any, name: str) -> tuple[str, bytes]:
    """A file that a button saves: its name and its content."""
    with one.page.expect_download() as download:
        one.page.get_by_role("button", name=name).first.click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def divider(one: Any) -> Any:
    return one.page.locator(".divider")


def now(one: Any) -> int:
    return int(divider(one).get_attribute("aria-valuenow"))


def transforms(one: Any) -> set[str]:
    return set(one.page.evaluate("[...document.querySelectorAll('.window img')].map((image) => image.style.transform)"))


def test_the_reconstruction_is_the_servers(open_page: Any, server: RunningServer, tmp_path: Path) -> None:
    """Numbers, files and latents of the page are those of the API for the image that it sent."""
    one = open_page()
    one.look()
    name, image = saved(one, "Save the image as the VAEs got it")
    assert name == "photo.png" and Image.open(io.BytesIO(image)).size == (63, 53)
    name, result = saved(one, "Save the reconstruction by small as PNG")
    assert name == "photo-small.png"
    expected = asked(server, "/api/vaes/small/reconstruct", image, "image/png")
    assert np.array_equal(Image.open(io.BytesIO(result)), Image.open(io.BytesIO(expected)))
    measures = json.loads(asked(server, "/api/vaes/small/reconstruct", image, "application/json"))
    shown = one.page.locator(".image-measures tbody tr").nth(1).locator("td").first.inner_text()
    assert float(shown) == pytest.approx(measures["psnr"], abs=0.02)
    name, latents = saved(one, "Save the latents of small")
    assert name == "photo-small.latent.safetensors"
    (tmp_path / name).write_bytes(latents)
    mean = load_file(tmp_path / name)["mean"]
    assert mean.shape == (1, 4, 14, 16)
    assert one.page.locator(".latent canvas").count() == 4
    levels = np.array(one.page.evaluate(LEVELS, ".latent canvas")).reshape(14, 16, 4)[..., 0]
    channel = mean[0, 0].numpy()
    assert np.corrcoef(levels.ravel(), channel.ravel())[0, 1] > 0.98


def test_the_verdict_is_the_reports(open_page: Any, server: RunningServer) -> None:
    one = open_page()
    one.choose("wide-16", kind="checkbox")
    one.look()
    one.page.get_by_role("button", name="Measure and judge").click()
    one.page.wait_for_selector("#ranking")
    _, image = saved(one, "Save the image as the VAEs got it")
    report = json.loads(asked(server, "/api/compare?vae=small&vae=wide-16", image, "application/json"))
    text = one.page.locator("#ranking").inner_text()
    for candidate in report["candidates"]:
        assert all(sentence in text for sentence in candidate["verdict"])
    letters = dict(
        zip(
            one.page.locator(".ranking h3 .candidate-name").all_inner_texts(),
            one.page.locator(".ranking h3 .badge").all_inner_texts(),
            strict=True,
        )
    )
    assert letters == {"small": "A", "wide-16": "B"}, "as on the rest of the screen, whatever the rank"
    one.page.locator("summary", has_text="All measures").click()
    assert one.page.locator("#measures table").is_visible()
    chip = one.page.locator(".chip").first
    chip.focus()
    assert one.page.locator(".evidence").first.is_visible()
    one.page.keyboard.press("Escape")
    assert not one.page.locator(".evidence").first.is_visible()
    name, page = saved(one, "Save the report (HTML)")
    assert name == "photo-report.html" and b"<h1>VAE report</h1>" in page


@pytest.mark.parametrize("sample", ["Morning", "Text"])
def test_samples(open_page: Any, sample: str) -> None:
    """One that the browser draws, and one of the server; with the keyboard."""
    one = open_page()
    one.choose("256")
    one.page.get_by_role("button", name=f"Use the sample image {sample}").focus()
    one.page.keyboard.press("Enter")
    one.page.wait_for_selector(".results article.image")
    assert one.page.locator(".input-about").inner_text().startswith(f"{sample} · 256 \N{MULTIPLICATION SIGN} 192")


def test_the_slider_by_mouse_and_keyboard(open_page: Any) -> None:
    one = open_page()
    one.look()
    slider = one.page.locator(".slider")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    one.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    one.page.mouse.down()
    one.page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 50, steps=3)
    one.page.mouse.up()
    assert now(one) == pytest.approx(25, abs=1)
    divider(one).focus()
    one.page.keyboard.press("End")
    assert now(one) == 100 and divider(one).get_attribute("aria-valuetext") == "100 % Original, 0 % small"
    one.page.keyboard.press("PageDown")
    assert now(one) == 90


def test_the_slider_by_finger(open_page: Any) -> None:
    one = open_page(phone=True)
    one.look()
    one.page.locator(".slider").scroll_into_view_if_needed()
    box = one.page.locator(".slider").bounding_box()
    one.page.touchscreen.tap(box["x"] + 0.75 * box["width"], box["y"] + box["height"] / 2)
    assert now(one) == pytest.approx(75, abs=1)


def test_sides_are_chosen(open_page: Any) -> None:
    one = open_page()
    one.choose("wide-16", kind="checkbox")
    one.look()
    assert one.page.locator(".view.right").get_attribute("data-key") == "0"
    assert one.page.locator(".histogram.red .line:visible").count() == 1
    one.page.get_by_role("group", name="Left").get_by_role("radio").nth(1).check()
    one.page.get_by_role("group", name="Right").get_by_role("radio").nth(2).check()
    assert divider(one).get_attribute("aria-label") == "Divider: small left, wide-16 right"
    assert one.page.locator(".histogram.red .line:visible").count() == 2


def test_windows_move_and_zoom_together(open_page: Any) -> None:
    one = open_page()
    one.choose("wide-16", kind="checkbox")
    one.look()
    frame = one.page.locator(".window").first
    frame.scroll_into_view_if_needed()
    one.page.wait_for_function("document.querySelector('.window img').style.transform !== ''")
    before = transforms(one)
    assert len(before) == 1 and one.page.locator(".window").count() == 3
    frame.focus()
    for key in ("+", "+", "ArrowLeft"):  # enlarged, the image is larger than its window
        one.page.keyboard.press(key)
        after = transforms(one)
        assert len(after) == 1 and after != before
        before = after
    box = frame.bounding_box()
    one.page.mouse.move(box["x"] + 60, box["y"] + 60)
    assert [len(text.split()) for text in one.page.locator(".lens .reading").all_inner_texts()] == [3, 3, 3]
    one.page.keyboard.down("Control")
    one.page.mouse.wheel(0, -100)
    one.page.keyboard.up("Control")
    one.page.wait_for_function(
        "(before) => document.querySelector('.window img').style.transform !== before", arg=before.pop()
    )
    assert len(transforms(one)) == 1
    one.page.get_by_role("button", name="Reset the zoom").click()
    assert one.page.locator("output.zoom").inner_text() == "3\N{MULTIPLICATION SIGN}"


def test_maps_show_the_differences(open_page: Any) -> None:
    one = open_page()
    one.look()
    drawn = "document.querySelector('.map canvas').toDataURL()"
    luminance = one.page.evaluate(drawn)
    one.choose("R", group="Channel")
    one.page.wait_for_function(f"(before) => {drawn} !== before", arg=luminance)
    one.choose("±64", group="Scale")
    assert one.page.locator(".legend .high").inner_text() == "+64 brighter"
    one.page.locator(".map canvas").hover(position={"x": 40, "y": 40})
    one.page.wait_for_function("document.querySelector('.map .reading').textContent.includes('at (')")


def test_files_come_in(open_page: Any, photo: bytes, tmp_path: Path) -> None:
    """By the dialog, by dropping and by pasting."""
    one = open_page()
    path = tmp_path / "photo.png"
    path.write_bytes(photo)
    one.page.set_input_files(".look input[type=file]", path)
    one.page.wait_for_selector(".results article.image")
    about = one.page.locator(".input-about")
    assert about.inner_text() == "photo.png · 63 \N{MULTIPLICATION SIGN} 53 pixels"
    one.page.evaluate(DROP, ["dropped.png", "image/png", base64_of(photo)])
    one.page.get_by_text("dropped.png").wait_for()
    one.page.evaluate(PASTE, base64_of(photo))
    one.page.get_by_text("Pasted image").wait_for()
    assert one.page.get_by_role("alert").inner_text() == ""


def test_transparent_and_large_images(open_page: Any, tmp_path: Path) -> None:
    one = open_page()
    path = tmp_path / "clear.png"
    Image.new("RGBA", (2000, 1000), (255, 0, 0, 0)).save(path)
    one.choose("256")
    one.page.set_input_files(".look input[type=file]", path)
    one.page.wait_for_selector(".results article.image")
    assert (
        "256 \N{MULTIPLICATION SIGN} 128 pixels, scaled from 2000 \N{MULTIPLICATION SIGN} 1000"
        in one.page.locator(".input-about").inner_text()
    )
    _, image = saved(one, "Save the image as the VAEs got it")
    with Image.open(io.BytesIO(image)) as opened:
        assert opened.convert("RGB").getextrema() == ((255, 255),) * 3


@pytest.mark.parametrize(("name", "content"), [("text.png", b"no image"), ("empty.png", b""), ("x.pdf", b"%PDF-1.4")])
def test_files_that_are_no_images(open_page: Any, name: str, content: bytes, tmp_path: Path) -> None:
    one = open_page()
    (tmp_path / name).write_bytes(content)
    one.page.set_input_files(".look input[type=file]", tmp_path / name)
    one.page.get_by_role("alert").get_by_text(f"{name} is not an image").wait_for()
    one.look()
    assert one.page.get_by_role("alert").inner_text() == "", "the next success takes the message away"


def test_work_can_be_cancelled(open_page: Any) -> None:
    one = open_page()
    one.page.route("**/encode", lambda _route: None)  # no answer
    one.page.set_input_files(".look input[type=file]", one.photo)
    one.page.get_by_text("small: encoding…").wait_for()
    one.page.get_by_role("button", name="Cancel").click()
    one.page.wait_for_selector(".busy", state="hidden")
    assert one.page.get_by_role("alert").inner_text() == ""
    one.page.unroute("**/encode")
    one.look()


def test_a_vae_that_fails_leaves_the_others(open_page: Any) -> None:
    one = open_page()
    one.page.route(
        "**/vaes/wide-16/encode*",
        lambda route: route.fulfill(status=422, json={"error": "wrong_size", "message": "The image is too small."}),
    )
    one.choose("wide-16", kind="checkbox")
    one.look()
    assert "wide-16: The image is too small." in one.page.locator(".results .warning").inner_text()
    assert one.page.locator(".lens").count() == 2
    one.said.clear()  # the browser's own message about the status


def test_without_a_vae_nothing_runs(open_page: Any) -> None:
    one = open_page()
    one.look()
    one.page.get_by_role("group", name="VAEs").get_by_role("checkbox", name="small").uncheck()
    one.page.get_by_text("Choose at least one VAE.").wait_for()
