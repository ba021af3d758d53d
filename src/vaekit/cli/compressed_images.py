"""`vaekit compress` and `vaekit decompress` with a codec: images with a few losses, one file each."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from vaekit.cli.output import progress_bar, show_results

if TYPE_CHECKING:
    from vaekit.domains.files import FileResult
    from vaekit.tasks.batch import Batch
    from vaekit.tasks.compress_images import Codec, Rate


def compress_with(codec: "Codec", vae: str, data: Path, out: Path, rate: "Rate", verify: bool, as_json: bool) -> None:
    """Compress an image or a folder of images, and print a row for each.

    Raises:
        typer.Exit: 1, if an image could not be compressed.
    """
    from vaekit.tasks.compress_images import bits_per_pixel, compress_images, mean_psnr

    with progress_bar("images") as progress:
        batch = compress_images(codec, data, out, rate, verify, progress)
    total = {"bits_per_pixel": bits_per_pixel(batch.results), "psnr": mean_psnr(batch.results)}
    remarks = []
    if len(batch.results) > 1 and not as_json:
        size = sum(each.size for each in batch.results)
        remarks = [f"All: {size:,} bytes, {total['bits_per_pixel']:.3f} bits per pixel, {total['psnr']:.2f} dB"]
    if verify and batch.results:
        remarks.append("Verified: each file was decoded again.")
    title = f"{vae}: compressed images"
    facts = {"vae": vae, "verified": verify, **total}
    show_results(cast("Batch[FileResult]", batch), facts, "images", title, remarks, out, as_json)


def decompress_with(codec: "Codec", vae: str, path: Path, out: Path, as_json: bool) -> None:
    """Restore images, and print a row for each.

    Raises:
        typer.Exit: 1, if an image could not be restored.
    """
    from vaekit.tasks.compress_images import decompress_images

    with progress_bar("images") as progress:
        batch = decompress_images(codec, path, out, progress)
    title = f"{path.name}: restored images"
    show_results(cast("Batch[FileResult]", batch), {"vae": vae}, "images", title, (), out, as_json)
