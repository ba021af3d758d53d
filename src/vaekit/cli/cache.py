"""`vaekit cache`: encode a data set once, and keep the latents."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaekit.cli import cache_exchange, options
from vaekit.cli.output import Lines, format_bytes, log, print_facts, print_json, spinner, step_bars
from vaekit.cli.runner_options import PartOptions, RunnerOptions
from vaekit.tasks.options import EngineOptions, LatentOptions, ModelOptions

if TYPE_CHECKING:
    from vaekit.latent_cache.statistics import LatentStatistics
    from vaekit.normalization import LatentNormalization
    from vaekit.tasks.cache_estimate import CacheEstimate
    from vaekit.tasks.cache_result import CacheResult

SHOWN = 20
"""Items in quarantine that are shown."""
SHOWN_SIZES = 6
SHOWN_CHANNELS = 16


class StoredDtype(StrEnum):
    """Dtypes of stored latents."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"
    CODED = "coded"


class Crop(StrEnum):
    """Ways to bring images to the aspect ratio of their bucket."""

    CENTER = "center"
    WHOLE = "whole"


class Split(StrEnum):
    """Splits of a data set."""

    TRAIN = "train"
    TEST = "test"
    ALL = "all"


@options.with_records
def cache(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="Items of the VAE's kind: a folder, tar, Parquet, npz, CSV, text file."),
    ],
    out: Annotated[
        Path | None, typer.Argument(metavar="OUT", help="Folder of the cache; of --export, of the other files.")
    ] = None,
    *,
    context: typer.Context,
    source: ModelOptions,
    dtype: Annotated[
        StoredDtype,
        typer.Option(
            "--dtype",
            help="Dtype of the stored latents; int8 has a scale for each channel; coded: rounded to steps that cost "
            "less than 0.1 dB after the decoder, and entropy-coded.",
        ),
    ] = StoredDtype.FP16,
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            metavar="N",
            min=1,
            help="Images get about the area of N x N pixels.",
            show_default="the size that the VAE was trained on, if its file states it, else 256",
        ),
    ] = None,
    buckets: Annotated[
        int | None,
        typer.Option(
            "--buckets",
            metavar="STEP",
            min=0,
            help="Sides of images are multiples of STEP, with the aspect ratio nearest to the image's (1:2 to 2:1); 0: "
            "all images become squares.",
            show_default="64, or less for small images",
        ),
    ] = None,
    crop: Annotated[
        Crop | None,
        typer.Option(
            "--crop",
            help="center: the largest part in the middle that has the aspect ratio of the bucket; whole: all of the "
            "image, stretched.",
            show_default="center",
        ),
    ] = None,
    flips: Annotated[bool, typer.Option("--flips", help="Store the latents of mirrored images, too.")] = False,
    split: Annotated[Split, typer.Option("--split", help="Of data with a test split: what is cached.")] = Split.TRAIN,
    label: Annotated[
        str | None,
        typer.Option("--label", metavar="COLUMN", help="Column of labels.", show_default="a usual name, class folders"),
    ] = None,
    caption: Annotated[
        str | None,
        typer.Option(
            "--caption-column",
            metavar="COLUMN",
            help="Column of captions.",
            show_default="a usual name, captions.json, .txt files beside the images",
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            metavar="N",
            min=1,
            help="Items that the VAE encodes at once; on a GPU, more are faster.",
            show_default="as many as have the area of 512 x 512, at most 64; 1024 rows",
        ),
    ] = None,
    shard: Annotated[
        int | None,
        typer.Option(
            "--shard",
            metavar="N",
            min=1,
            help="Items in a file: what an interruption costs at most.",
            show_default="512, fewer if latents are large",
        ),
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Encode items in quarantine again.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print hours, bytes, shards and what limits, from a timed sample.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Check the hashes of all shards, write damaged ones again, and compare a random sample with latents "
            "that are encoded again; exit status 1 if they differ.",
        ),
    ] = False,
    verify_share: Annotated[
        float | None,
        typer.Option(
            "--verify-share",
            metavar="SHARE",
            help="Share of the items in that sample; implies --verify.",
            show_default="0.01",
        ),
    ] = None,
    compute_dtype: Annotated[
        str, typer.Option("--compute-dtype", metavar="DTYPE", help="Dtype in which the VAE runs: fp32, bf16 or fp16.")
    ] = "fp32",
    device: options.Device = None,
    memory: options.Memory = None,
    backend: options.Backend = "auto",
    export: cache_exchange.ExportTo = None,
    import_files: cache_exchange.ImportFrom = False,
    audit: cache_exchange.AuditOf = False,
    of_format: cache_exchange.Format = None,
    sample: cache_exchange.Sample = False,
    seed: cache_exchange.Seed = 0,
    running: RunnerOptions,
    part: PartOptions,
    as_json: options.Json = False,
) -> None:
    """Encode a data set once, and keep the latents for training.

    Writes mean and log-variance of every item into shards that name the VAE, with size, crop, label and caption. The
    same command goes on after an interruption and brings the cache up to date: items are known by their content, so new
    and edited ones are encoded, renamed ones are not, and repeats are encoded once. What cannot be encoded is listed in
    quarantine.jsonl. --export, --import and --audit are about the files of other programs; see docs/cache-formats.md.
    """
    given = options.is_given(context, "vae")
    latents = LatentOptions(sample, seed)
    exchange = cache_exchange.Exchange(export, import_files, audit, of_format, latents, source if given else None)
    if exchange.is_wanted(out):
        exchange.run(data, out, as_json)
        return
    if out is None:
        raise typer.BadParameter("the folder of the cache is missing.", param_hint="OUT")
    from vaekit.domains.fitting import FitOptions
    from vaekit.tasks.cache import BATCH, CacheCallbacks, CacheOptions
    from vaekit.tasks.cache import cache as run
    from vaekit.tasks.cache_estimate import estimate_cache
    from vaekit.tasks.model import open_model

    runner = running.make(device)
    rank, of = part.chosen()
    fit = FitOptions(size, buckets, None if crop is None else crop.value)
    share = verify_share if verify_share is not None else 0.01 if verify else None
    wanted = CacheOptions(fit, dtype.value, flips, split.value, label, caption, shard, batch, retry, share, source.vae)
    with spinner("loading the VAE"):
        model = open_model(source, EngineOptions(compute_dtype, device, memory, backend, batch or BATCH))
    items = model.domain.items
    steps = (f"looking at {items}", f"encoding {items}", f"verifying {items}")
    with step_bars(*steps, before="opening the data") as (scanned, encoded, verified):
        callbacks = CacheCallbacks(scanned, encoded, verified)
        if dry_run:
            estimate = estimate_cache(model, data, out, wanted, callbacks)
        else:
            result = run(model, data, out, wanted, callbacks, runner, (rank, of) if of > 1 else None)
    if dry_run:
        if as_json:
            print_json({"vae": source.vae, **estimate.as_json()})
        else:
            show_estimate(estimate, out, items)
        return
    log_problems(result)
    if as_json:
        print_json({"vae": source.vae, **result.as_json()})
    else:
        show(result, items)
        log(f"Written to {out}")
    if not result.is_sound:
        raise typer.Exit(1)


def show(result: "CacheResult", items: str) -> None:
    """Print what was done, and what is in the cache."""
    repeats = f", {result.repeats:,} of them repeats" if result.repeats else ""
    facts: dict[str, Lines] = {items: f"{result.cached:,} of {result.items:,}{repeats}"}
    rate = f", {result.rate:,.1f} {items}/s" if result.encoded else ""
    facts["encoded"] = f"{result.encoded:,} in {duration(result.seconds)}{rate}"
    if result.redone:
        facts["redone"] = f"{result.redone:,} in fp32, after values that were not finite"
    if result.rejected:
        facts["quarantine"] = f"{len(result.rejected):,}, see quarantine.jsonl"
    if result.sizes:
        enlarged = f"; {result.enlarged:,} {items} were smaller, and enlarged" if result.enlarged else ""
        facts["sizes"] = sizes_text(result.sizes) + enlarged
    each = f", {result.nbytes / max(1, result.cached - result.repeats):,.0f} bytes for each" if result.cached else ""
    left = f"; {result.unfinished:,} are left" if result.unfinished else ""
    facts["shards"] = f"{result.shards:,}, {format_bytes(result.nbytes)} in {result.dtype}{each}{left}"
    if result.rounding is not None:
        rounding = result.rounding
        facts["loss"] = (
            f"{round(rounding.loss, 3) + 0.0:.3f} dB by storing as {result.dtype}: PSNR {rounding.stored:.2f} instead "
            f"of {rounding.exact:.2f} dB, {rounding.items:,} {items} decoded"
        )
    if result.steps is not None:
        steps = result.steps
        where = (
            f"by the loss of {steps.items:,} {items}"
            if steps.items
            else "by standard deviations: the loss cannot be measured"
        )
        facts["steps"] = f"{min(steps.mean):.3g} to {max(steps.mean):.3g}, {where}"
    if result.statistics is not None:
        facts |= statistics_facts(result.statistics, result.normalization)
    if result.verification is not None:
        found = result.verification
        damaged = f"; {len(found.damaged):,} were damaged and written again" if found.damaged else ""
        facts["verified"] = (
            f"{found.shards:,} shards by hash{damaged}; {found.items:,} {items} encoded again, largest difference "
            f"{found.largest:.3g} standard deviations"
        )
    print_facts(f"{result.folder}: cache", facts)


def statistics_facts(statistics: "LatentStatistics", normalization: "LatentNormalization | None") -> dict[str, Lines]:
    """Mean and standard deviation of channels, and the scale factor that they imply."""
    pairs = list(zip(statistics.mean, statistics.std, strict=True))
    lines = [f"{i}: {mean:+.4f} ± {std:.4f}" for i, (mean, std) in enumerate(pairs[:SHOWN_CHANNELS])]
    if len(pairs) > SHOWN_CHANNELS:
        lines.append(f"{len(pairs) - SHOWN_CHANNELS:,} more: see --json")
    own = "unknown" if normalization is None else str(normalization)
    return {
        "channels": lines,
        "all channels": f"{statistics.overall_mean:+.4f} ± {statistics.overall_std:.4f}",
        "scale factor": f"{statistics.scale_factor:.5f} by these latents; of the VAE: {own}",
    }


def show_estimate(estimate: "CacheEstimate", out: Path, items: str) -> None:
    """Print what caching would take."""
    left = estimate.items - estimate.known
    unreadable = f", {estimate.unreadable:,} more cannot be read" if estimate.unreadable else ""
    facts: dict[str, Lines] = {
        items: f"{estimate.items:,}, {left:,} to encode",
        "time": duration(estimate.hours * 3600),
        "size": format_bytes(estimate.nbytes),
        "shards": f"{estimate.shards:,}",
        "limit": limit_text(estimate),
        "loader": f"{estimate.loader_rate:,.1f} {items}/s with one core, {estimate.cores:,} available",
        "VAE": f"{estimate.vae_rate:,.1f} {items}/s on {estimate.device}",
        "sample": f"{estimate.sampled:,} {items}{unreadable}: {sizes_text(estimate.sizes)}",
    }
    for note in estimate.notes:
        log(note)
    print_facts(f"{out}: estimate, nothing written", facts if left else {items: f"{estimate.items:,}, none to encode"})


def limit_text(estimate: "CacheEstimate") -> str:
    """What limits the rate."""
    if estimate.limit == "VAE":
        return "the VAE"
    return f"the loader: {estimate.cores_needed:,} cores would be needed to keep the VAE busy"


def sizes_text(sizes: Mapping[str, int]) -> str:
    """Sizes and the number of items in each."""
    shown = [f"{size} ({count:,})" for size, count in list(sizes.items())[:SHOWN_SIZES]]
    more = f", {len(sizes) - SHOWN_SIZES:,} more" if len(sizes) > SHOWN_SIZES else ""
    return ", ".join(shown) + more


def duration(seconds: float) -> str:
    """A duration for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:,.1f} h"


def log_problems(result: "CacheResult") -> None:
    """The first items without latents and those that differ, with reasons, and other remarks, on stderr."""
    for note in result.notes:
        log(note)
    for each in result.rejected[:SHOWN]:
        log(
            f"vaekit: quarantine: {each.reason}"
            if each.name in each.reason
            else f"vaekit: quarantine: {each.name}: {each.reason}"
        )
    if len(result.rejected) > SHOWN:
        log(f"vaekit: {len(result.rejected) - SHOWN:,} more are listed in quarantine.jsonl.")
    if result.changed:
        log(f"vaekit: {len(result.changed):,} changed meanwhile; run the same command again.")
    if result.rounding is not None and result.rounding.is_large:
        log(
            f"vaekit: storing latents as {result.dtype} costs {result.rounding.loss:.2f} dB after the decoder; "
            "--dtype fp16 costs less."
        )
    if result.verification is not None:
        for name, difference in list(result.verification.different.items())[:SHOWN]:
            log(
                f"vaekit: {name}: the stored latents are not those of the item; they differ by {difference:.3g} "
                "standard deviations."
            )
        if result.verification.different:
            log("vaekit: cache the data again in another folder, and compare what differs.")
