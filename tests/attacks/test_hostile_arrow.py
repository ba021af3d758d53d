"""Arrow files whose places point outside of them: pyarrow believes them, and the process would die of it."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from image_data import encoded, number_of, open_images, pixels_at

from vaekit.datasets.skip_log import SkipLog
from vaekit.errors import NoTrainingData

READ_ALL = """
import random, sys
from pathlib import Path
from vaekit.datasets.open import open_dataset
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.images.decode import pixels_of
from vaekit.domains.images.records import IMAGE_RECORDS
from vaekit.errors import BadItem, NoTrainingData

path, sound, chance = Path(sys.argv[1]), Path(sys.argv[1]).read_bytes(), random.Random(0)
for _ in range(400):
    content = bytearray(sound)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(content))
        content[place] = chance.choice((0, 127, 128, 255, chance.randrange(256)))
    path.write_bytes(content)
    try:
        images = open_dataset(path, IMAGE_RECORDS, SkipLog()).train
    except NoTrainingData:
        continue
    for item in range(min(len(images), 100)):
        try:
            pixels_of(images.read(item))
        except BadItem:
            pass
"""


def arrow_file(path: Path, nested: bool) -> list[int]:
    """A stream of four images; the places where they begin, as the file says them."""
    pa = pytest.importorskip("pyarrow")
    contents = [encoded(i) for i in range(4)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    column = pa.array([{"bytes": each, "path": None} for each in contents], kind) if nested else pa.array(contents)
    rows = pa.table({"image": column})
    with pa.ipc.new_stream(path, rows.schema) as writer:
        writer.write_table(rows)
    return [sum(map(len, contents[:i])) for i in range(5)]


@pytest.mark.parametrize("nested", [False, True], ids=["plain", "datasets.Image"])
@pytest.mark.parametrize("place", [2_000_000_000, -50_000_000, 100_000, 3, -1])
def test_a_place_outside_is_refused(tmp_path: Path, place: int, nested: bool) -> None:
    path = tmp_path / "a.arrow"
    places = arrow_file(path, nested)
    content, told = path.read_bytes(), struct.pack("<5i", *places)
    assert content.count(told) == 1
    places[2 if place != 3 else 3] = place
    path.write_bytes(content.replace(told, struct.pack("<5i", *places)))
    with pytest.raises(NoTrainingData):
        open_images(path, SkipLog())


def test_damaged_files_never_end_the_process(tmp_path: Path) -> None:
    arrow_file(tmp_path / "a.arrow", nested=True)
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, str(tmp_path / "a.arrow")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_of_columns_with_one_name_the_first_is_read(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    rows = pa.table([pa.array([encoded(1)]), pa.array([encoded(2)])], names=["image", "image"])
    with pa.ipc.new_stream(tmp_path / "a.arrow", rows.schema) as writer:
        writer.write_table(rows)
    assert number_of(pixels_at(open_images(tmp_path, SkipLog()).train, 0)) == 1
