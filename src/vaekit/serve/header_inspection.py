"""Inspect a file that stays with the client: it sends only the header. No weights are uploaded."""

import math
import threading
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from vaekit.errors import VaekitError
from vaekit.formats.tensor_file import MOST_NUMBERS
from vaekit.identification.from_header import inspect_header
from vaekit.json import plain
from vaekit.serve.offered_vaes import SHOWN
from vaekit.serve.public_text import public, without_paths
from vaekit.serve.refusals import UNUSABLE, Refusal, bad_query, busy, json_response
from vaekit.serve.request_body import body_length, check_length, read_body
from vaekit.serve.service import Service

LARGEST = 2 * 2**20
"""Bytes of a header; those of large checkpoints have about 500,000."""
MOST = 6000
"""Tensors of a file; the largest checkpoints with a VAE have some 5,000."""
PARSED = 64
"""Bytes in memory per byte of a header, with all objects that are made from it."""
OF_VALUES = ("fingerprint", "sha256", "catalog_entry", "recognized", "fp16")
"""Facts that need the values of the weights."""
_inspecting = threading.Lock()
"""One at a time: a header of many names takes seconds of a thread that others need for images."""
THIS_FILE = Path("this file")
"""In messages; nothing is opened."""


async def inspect(service: Service, request: Request) -> Response:
    """What names, shapes, dtypes and metadata tell about a VAE."""
    size = file_size(request.query_params.get("size", ""))
    length = body_length(request)
    check_length(length, LARGEST)
    service.reserve(request, length * PARSED)
    content = await read_body(request, length, service.options.limits)
    if not _inspecting.acquire(blocking=False):
        raise busy("Another file is being inspected.", 2)
    try:
        return json_response(await service.convert(inspected, bytes(content), size))
    finally:
        _inspecting.release()


def file_size(text: str) -> int:
    """Parse the size of the whole file.

    Raises:
        Refusal: it is not a size in bytes.
    """
    if not (text.isascii() and text.isdigit()) or len(text) > math.log10(MOST_NUMBERS):
        raise bad_query("The parameter size is the size of the whole file in bytes.")
    return int(text)


def inspected(content: bytes, size: int) -> dict[str, Any]:
    """The facts that are sent.

    Raises:
        Refusal: it is not the header of a VAE.
    """
    try:
        inspection = inspect_header(content, size, THIS_FILE, MOST)
    except VaekitError as error:
        raise Refusal(UNUSABLE, type(error).__name__, sentence(error)) from error
    facts = {name: value for name, value in vars(inspection).items() if name in SHOWN and name not in OF_VALUES}
    return {**public(plain(facts)), "runnable": inspection.runnable, "unknown": OF_VALUES}


def sentence(error: VaekitError) -> str:
    """What was found and expected, and what to do."""
    text = " ".join(part for part in (error.found, error.expected, error.remedy) if part)
    return without_paths(text[:1].upper() + text[1:])
