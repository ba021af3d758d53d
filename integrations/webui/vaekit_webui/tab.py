"""The tab that compares VAEs on an image."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from vaekit.errors import VaekitError
from vaekit.tasks.compare import CompareOptions, compare
from vaekit.tasks.options import EngineOptions, ModelOptions, SelectionOptions

BUILT_IN = "builtin"


def make_tab(vaes: Callable[[], Mapping[str, str]]) -> Any:
    """The tab: an image and VAEs in, verdicts and a report out.

    Args:
        vaes: the web UI's VAEs, path by name, when the button is pressed.
    """
    with gr.Blocks() as tab:
        with gr.Row():
            image = gr.Image(label="Image", type="pil")
            with gr.Column():
                chosen = gr.Dropdown(label="VAEs", choices=[BUILT_IN, *vaes()], multiselect=True)
                button = gr.Button("Compare")
                text = gr.Markdown()
                report = gr.File(label="Report")
        run = lambda picture, names: compared(picture, names, vaes())  # noqa: E731
        button.click(run, inputs=[image, chosen], outputs=[text, report])
    return tab


def compared(picture: Image.Image | None, names: Sequence[str], vaes: Mapping[str, str]) -> tuple[str, str | None]:
    """What the page of `vaekit compare` says of each VAE, and its path.

    Args:
        picture: the image.
        names: of the VAEs.
        vaes: path by name.
    """
    if picture is None or not names:
        return "Choose an image and at least one VAE.", None
    folder = Path(tempfile.mkdtemp(prefix="vaekit-"))
    path, out = folder / "image.png", folder / "report.html"
    picture.save(path)
    options = CompareOptions([vaes.get(name, BUILT_IN) for name in names], images=[path])
    try:
        found = compare(options, out, ModelOptions(), EngineOptions(), SelectionOptions())
    except VaekitError as error:
        return str(error), None
    ranked = sorted(found.report.candidates, key=lambda each: each.rank)
    return "\n\n".join(f"**{each.name}**: {' '.join(each.verdict)}" for each in ranked), str(out)
