"""An offered VAE as a file to download, in another layout and dtype: what `vaekit convert` writes."""

import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile, ZipInfo

from starlette.requests import Request
from starlette.responses import Response

from vaekit.checkpoints.save import LAYOUT_NAMES
from vaekit.errors import printable
from vaekit.serve.file_response import FileResponse
from vaekit.serve.offer import OfferedVAE
from vaekit.serve.refusals import FORBIDDEN, Refusal, bad_query, busy
from vaekit.serve.remote_tensors import identity
from vaekit.serve.remote_vae import vae_name
from vaekit.serve.service import Service
from vaekit.tasks.convert import convert

FOLDERS = ("diffusers", "tiny")
"""Layouts of several files, which are sent as a ZIP archive."""
DTYPES = {"fp32": 4, "bf16": 2, "fp16": 2}
"""Bytes of a weight."""
WIDEST = 8
"""Bytes of a weight of an unknown dtype."""
OVERHEAD = 2**20
"""Bytes of headers."""
SAFETENSORS, ZIP = "application/octet-stream", "application/zip"
OWN_PAGES = ("same-origin", "none")
"""Where a browser says that a request came from: our page, or the person who typed the address."""
_converting = threading.Lock()
"""One at a time: it keeps a disk busy, and a thread that others need for images."""


async def converted(service: Service, request: Request) -> Response:
    """The file, which is written for this request and removed when it has been sent."""
    if request.headers.get("sec-fetch-site", "none") not in OWN_PAGES:
        raise Refusal(FORBIDDEN, "foreign_origin", "Links of other pages do not start conversions.")
    vae = service.offer.find(vae_name(request))
    layout = choice(request.query_params.get("layout", "native"), "layout", LAYOUT_NAMES)
    dtype = request.query_params.get("dtype")
    if dtype is not None:
        choice(dtype, "dtype", tuple(DTYPES))
    copies = 2 if layout in FOLDERS else 1
    service.reserve(request, copies * (vae.facts["parameters"] * (DTYPES[dtype] if dtype else WIDEST) + OVERHEAD))
    if not _converting.acquire(blocking=False):
        raise busy("Another VAE is being converted.", 2)
    try:
        # The folder may be in memory, so its files are counted as memory; it is removed with that reservation.
        folder = Path(request.state.reserved.enter_context(TemporaryDirectory(prefix="vaekit-")))
        path = await service.convert(written, vae, folder, layout, dtype)
    finally:
        _converting.release()
    name = "-".join(filter(None, (vae.name, layout, dtype))) + path.suffix
    headers = {**identity(vae), "Content-Disposition": f'attachment; filename="{name}"'}
    return FileResponse(path, headers, ZIP if layout in FOLDERS else SAFETENSORS)


def choice(given: str, name: str, known: tuple[str, ...]) -> str:
    """A parameter that is one of a few words.

    Raises:
        Refusal: it is another one.
    """
    if given not in known:
        raise bad_query(f"There is no {name} {printable(given, 40)!r}. Expected one of {', '.join(known)}.")
    return given


def written(vae: OfferedVAE, folder: Path, layout: str, dtype: str | None) -> Path:
    """Write a VAE into a folder; returns the path of a safetensors file or of a ZIP archive.

    Raises:
        WrongTensors: the layout cannot express this VAE, or values would overflow in this dtype.
    """
    if layout not in FOLDERS:
        target = folder / f"{vae.name}.safetensors"
        convert(vae.source, target, layout, dtype)
        return target
    target, archive = folder / vae.name, folder / f"{vae.name}.zip"
    convert(vae.source, target, layout, dtype)
    with ZipFile(archive, "w") as zipped:
        for file in sorted(target.iterdir()):
            part = ZipInfo(f"{vae.name}/{file.name}")  # without a date: the same VAE gives the same bytes
            part.file_size = file.stat().st_size
            with zipped.open(part, "w") as inside, file.open("rb") as source:
                while block := source.read(OVERHEAD):
                    inside.write(block)
            file.unlink()
    return archive
