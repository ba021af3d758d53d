"""`vaekit compress`: items to one file without loss, or images with a few losses."""

from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import log, log_note, print_facts, print_json, progress_bar, spinner
from vaekit.tasks.options import EngineOptions, ModelOptions

SHOWN = 5
"""Items that are not coded by the VAE, with reasons."""


@options.with_records
def compress(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Items of the VAE's kind: a folder, tar, npz, idx.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The compressed file; its usual ending is .vk.")],
    *,
    source: ModelOptions,
    engine: EngineOptions,
    quality: Annotated[
        float | None, typer.Option("--quality", min=0, max=100, help="Codecs: quality of images, from 0 to 100.")
    ] = None,
    size: Annotated[
        int | None, typer.Option("--bytes", metavar="N", min=1, help="Codecs: maximum size of each file.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Decode the file before it gets its name, and compare all items.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Compress items by the probabilities that a VAE gives them.

    Without loss: the better the VAE predicts items, the smaller the file. Its size is the negative ELBO (bits-back
    coding). Items that the VAE does not take as they are, such as images of another size, are stored whole, by LZMA.

    A codec (recipe `codec`) compresses images with a few losses, as JPEG does: DATA is an image, and OUT its file; or
    both are folders. --quality or --bytes says how much is lost.

    The VAE is needed to decompress a file, on any machine. See docs/compression.md.
    """
    from vaekit.cli.compressed_images import compress_with
    from vaekit.datasets.skip_log import SkipLog
    from vaekit.errors import BadPlan
    from vaekit.tasks.compress import compress as run
    from vaekit.tasks.compress_images import Codec, Rate
    from vaekit.tasks.model import open_model

    if quality is not None and size is not None:
        raise typer.BadParameter("--quality and --bytes exclude each other.")
    with spinner("loading the VAE"):
        model = open_model(source, engine)
    if codec := Codec.of(model):
        compress_with(codec, source.vae, data, out, Rate(quality, size), verify, as_json)
        return
    if quality is not None or size is not None:
        raise BadPlan(
            f"{source.vae} compresses {model.domain.items} without loss, and has no quality.",
            "Expected a codec, such as one of the recipe codec.",
            "Leave out --quality and --bytes.",
        )
    with progress_bar(model.domain.items) as progress:
        result = run(model, data, out, SkipLog(say=log), progress, verify)
    log_note(source.vae, "; ".join(model.notes))
    for problems, what in ((result.whole, "stored without the VAE"), (result.missing, "not in the file")):
        for name, why in list(problems.items())[:SHOWN]:
            log(f"{name}: {what}: {why}")
        if len(problems) > SHOWN:
            log(f"... and {len(problems) - SHOWN:,} more {what}")
    if as_json:
        print_json({"vae": source.vae, **vars(result), "bits_per_value": result.bits_per_value})
        return
    facts = {
        model.domain.items: f"{result.items:,}, {result.coded:,} of them coded by the VAE",
        "size": f"{result.size:,} bytes",
        "coded by the VAE": f"{result.parts.chain:,} bytes, {result.bits_per_value:.3f} bits per value",
        "without the VAE": f"{result.parts.remainders:,} bytes",
        "names": f"{result.parts.names:,} bytes",
        "initial bits": f"{result.initial_bits:,}, with which bits-back coding starts",
        **({"verified": "decoded, and the same as the items"} if result.verified else {}),
    }
    print_facts(f"{source.vae}: compressed {model.domain.items}", facts)
    log(f"Written to {out}")
