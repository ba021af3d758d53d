"""Images in containers."""

from vaekit.datasets.dataset import ArrayRecord, BytesRecord, FileRecord, RecordFormat
from vaekit.domains.images.array_layout import EXPECTED, arranged
from vaekit.domains.images.read import IMAGE_ENDINGS

IMAGE_RECORDS = RecordFormat(
    items="images",
    records=(FileRecord, BytesRecord, ArrayRecord),
    suffixes=IMAGE_ENDINGS,
    columns=("image", "img", "picture", "pixel_values", "jpg", "png", "webp", "bytes"),
    feature="Image",
    arrange=arranged,
    array_shape=EXPECTED,
)
