"""Recognize edited items: digests of contents, and stamps of files that save reading them again."""

import hashlib
import json
import os
import time

from vaekit.datasets.dataset import ArrayRecord, Block, BytesRecord, FileRecord, Line, Parsed, Record, Row, TextRow
from vaekit.datasets.read_errors import read_error
from vaekit.errors import NotFound
from vaekit.reading import ITEM, Unreadable, open_file

SETTLED = 2.0
"""Seconds. A file that was changed more recently gets no stamp: it may change again within one tick of the clock."""
NO_STAMP = ""


def content_digest(record: Record) -> bytes:
    """SHA-256 of the content of a record, without its name. A file has the digest of the same bytes inside a tar.

    Raises:
        BadItem, NotFound: the content cannot be read.
    """
    match record:
        case FileRecord(path):
            return _file_digest(os.fspath(path))
        case BytesRecord():
            return hashlib.sha256(record.content()).digest()
        case ArrayRecord():
            digest = hashlib.sha256(f"{record.values.dtype.str}{record.values.shape}{record.full_scale}".encode())
            digest.update(record.values.tobytes())
            return digest.digest()
        case Row():
            return _text_digest(json.dumps(dict(record.values), sort_keys=True))
        case TextRow():
            text = None if record.column is None else record.values.get(record.column)
            return _text_digest(json.dumps(dict(record.values), sort_keys=True) if text is None else text)
        case Line() | Block():
            return _text_digest(record.text)
        case Parsed():
            return _text_digest(repr(record.item))


def _file_digest(path: str) -> bytes:
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > ITEM:
                raise Unreadable(0, f"it has {size:,} bytes, more than the limit of {ITEM:,}", path)
            return hashlib.file_digest(file, "sha256").digest()
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {path}.", "", "Check the name.") from error
    except (OSError, MemoryError) as error:
        raise read_error(path, error) from error


def _text_digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def stamp_of(record: Record) -> str:
    """A text that differs after any change of the record's file; empty if there is none, so that contents are compared.

    It includes the time of the last status change, which programs cannot set: a file that is replaced by one of the
    same size and modification time is noticed. Take it before reading the content.
    """
    if not isinstance(record, FileRecord):
        return NO_STAMP
    try:
        status = record.path.stat()
    except (OSError, ValueError):
        return NO_STAMP
    if time.time() - status.st_ctime < SETTLED:
        return NO_STAMP
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}:{status.st_dev}"


def text_of(record: Record) -> str:
    """The content of a record of text: the values of a row, or the line; empty for others, such as images."""
    match record:
        case Row() | TextRow(column=None):
            return ", ".join(f"{name}: {value}" for name, value in record.values.items())
        case TextRow(column=str(column)):
            return record.values.get(column, "")
        case Line():
            return record.text
        case _:
            return ""


def unchanged_stamp(record: Record, before: str) -> str:
    """The stamp that was taken before the content was read, or none if the file changed meanwhile."""
    return before if before and stamp_of(record) == before else NO_STAMP
