"""Settings of a generated image in its PNG file: as JSON under `vaekit`, and as the `parameters` that web UIs read."""

import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL.PngImagePlugin import PngInfo

from vaekit.atomic import atomic_file
from vaekit.domains.images.read import opened, refuse_non_files, unreadable
from vaekit.errors import BadItem, VaekitError
from vaekit.json import dumps, encodable, json_object
from vaekit.reading import open_file

PNG = ".png"
SETTINGS = "vaekit"
"""The keyword of the JSON."""
PARAMETERS = "parameters"
"""The keyword of the text that A1111's web UI introduced."""
NAMES = {
    "steps": "Steps",
    "scheduler": "Sampler",
    "sampler": "Sampler",
    "guidance": "CFG scale",
    "generator_seed": "Seed",
    "size": "Size",
    "model_hash": "Model hash",
    "model": "Model",
    "vae_hash": "VAE hash",
    "vae_name": "VAE",
    "strength": "Denoising strength",
}
"""Settings and their names in that text, in its order."""
HASH_DIGITS = 10
"""The digits of a hash that web UIs show."""
SIGNATURE, HEADER = b"\x89PNG\r\n\x1a\n", 8 + 4 + 4 + 13 + 4
"""The start of a PNG file, and the bytes up to the end of its first chunk, IHDR, after which texts may be."""
CONTROL = re.compile("[\0-\x09\x0b-\x1f\x7f]")


def png_text(settings: Mapping[str, Any]) -> PngInfo:
    """The text chunks for settings, as `write_8_bit` takes them: `{"pnginfo": png_text(settings)}`.

    Args:
        settings: JSON values. The text for web UIs has those of `NAMES`, "prompt" and "negative"; "size" is (height,
            width).
    """
    chunks = PngInfo()
    chunks.add_text(PARAMETERS, _for_png(parameters_text(settings)))
    chunks.add_text(SETTINGS, dumps(settings, indent=None))
    return chunks


def embed_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Add settings to a PNG file, whose pixels are not encoded again.

    Raises:
        BadItem: it is no PNG file.
        CannotWrite: the disk is full, or the like.
    """
    with open_file(path) as file:
        content = file.read()
    if not content.startswith(SIGNATURE):
        raise BadItem(f"{path} is not a PNG file.", "Only those have texts in their metadata.", "")
    texts = b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        for kind, data, *_ in png_text(settings).chunks
    )
    with atomic_file(path) as part:
        part.write_bytes(content[:HEADER] + texts + content[HEADER:])


def parameters_text(settings: Mapping[str, Any]) -> str:
    """Settings in the form of A1111's web UI: the prompt, the negative prompt, and a line of names and values.

    >>> print(parameters_text({"prompt": "a cat", "negative": "rain", "steps": 20, "size": [512, 768]}))
    a cat
    Negative prompt: rain
    Steps: 20, Size: 768x512
    """
    values = {NAMES[key]: _value(key, settings[key]) for key in NAMES if settings.get(key) is not None}
    lines = [str(settings.get("prompt") or "")]
    if settings.get("negative"):
        lines.append(f"Negative prompt: {settings['negative']}")
    lines.append(", ".join(f"{name}: {value}" for name, value in values.items()))
    return "\n".join(lines)


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of an image that vaekit generated.

    Raises:
        NotFound: there is no such file.
        BadItem: it is no image, or has no settings of vaekit.
    """
    settings = json_object(text_of(path).get(SETTINGS))
    if not settings:
        raise BadItem(
            f"{path} has no settings of vaekit in its metadata.",
            "Expected a PNG file that `vaekit generate` wrote.",
            "Other programs may have removed the metadata: give the file as it was written.",
        )
    return settings


def text_of(path: Path) -> dict[str, str]:
    """The texts before the pixels of a PNG file, by keyword; empty for other formats.

    Raises:
        NotFound: there is no such file.
        BadItem: it is no image, or its metadata are too large.
    """
    refuse_non_files(path)
    try:
        with open_file(path) as file, opened(file) as image:
            texts = image.info if image.format == "PNG" else {}
            return {str(key): str(value) for key, value in texts.items() if isinstance(value, str)}
    except VaekitError:
        raise
    # On hostile bytes Pillow raises nearly everything.
    except Exception as error:
        raise unreadable(path, error) from error


def _value(key: str, value: Any) -> str:
    if key == "size":
        height, width = value
        return f"{width}x{height}"
    if key.endswith("_hash"):
        return str(value)[:HASH_DIGITS]
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f'"{text}"' if re.search('[,:"\n]', text) else text


def _for_png(text: str) -> str:
    """The text without characters that a PNG file cannot hold."""
    return CONTROL.sub("", encodable(text))
