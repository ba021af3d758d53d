"""An answer whose body is a file, of which only a part is in memory."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from starlette.responses import Response

PART = 2**18
"""Bytes that are sent at once."""


class FileResponse(Response):
    """A file that stays where it is until it has been sent.

    Args:
        path: of the file.
        headers: of the answer, without those of its length and type.
        media_type: of the file.
    """

    def __init__(self, path: Path, headers: Mapping[str, str], media_type: str) -> None:
        length = {"Content-Length": str(path.stat().st_size)}
        super().__init__(headers={**headers, **length}, media_type=media_type)
        self.path = path


def parts_of(response: Response) -> Iterator[bytes]:
    """The body of a response in parts."""
    if isinstance(response, FileResponse):
        with response.path.open("rb") as file:
            while part := file.read(PART):
                yield part
        return
    body = memoryview(bytes(response.body))
    for start in range(0, len(body), PART):
        yield bytes(body[start : start + PART])
