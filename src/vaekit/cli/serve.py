"""`vaekit serve`: an HTTP API."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import log, print_json


def serve(
    vaes: Annotated[
        list[str] | None,
        typer.Option(
            "--vae",
            metavar="VAE",
            help="VAE to offer; may be repeated, and the first is the default. " + options.ANY_VAE,
            show_default="builtin, unless --models is given",
        ),
    ] = None,
    models: Annotated[
        list[Path] | None,
        typer.Option("--models", metavar="DIR", help="Models folder: all its VAEs are offered; may be repeated."),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory",
            metavar="SIZE",
            help="Memory limit, such as 4GiB: three quarters for running a VAE, one quarter for requests in progress; "
            "loaded weights come on top.",
            show_default="free memory, and 1GiB for requests",
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="Port; 0 for a free one.")] = 8190,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            metavar="TOKEN",
            envvar="VAEKIT_TOKEN",
            show_envvar=False,
            help="Token that requests must carry; required where other machines can reach the server. Better set in "
            "VAEKIT_TOKEN, which other users of this machine cannot see.",
        ),
    ] = None,
    hosts: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="Further name of this server in requests; may be repeated."),
    ] = None,
    origins: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-origin",
            metavar="ORIGIN",
            help="Origin whose pages may use the API, such as https://example.org; may be repeated.",
            show_default="none",
        ),
    ] = None,
    devices: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            metavar="DEVICE",
            help="Device, such as cpu or cuda:1; repeated for several, with one worker each.",
            show_default="CUDA if available, else cpu",
        ),
    ] = None,
    dtype: options.Dtype = "fp32",
    max_pixels: Annotated[
        int, typer.Option("--max-pixels", metavar="N", min=64, help="Maximum number of pixels of an image.")
    ] = 2**24,
    waiting: Annotated[
        int,
        typer.Option("--queue", metavar="N", min=1, help="Requests that wait for each device; others get 503."),
    ] = 64,
    loaded: Annotated[
        int, typer.Option("--loaded", metavar="N", min=1, help="VAEs that stay loaded on each device.")
    ] = 3,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object with the address when connections are accepted.")
    ] = False,
) -> None:
    """Serve VAEs of images over HTTP.

    Speaks the remote-VAE protocol of diffusers and SD.Next (POST /decode, /encode, /vaes/NAME/decode), lists VAEs as
    A1111 does, and has an API of its own (/api/vaes), health checks, metrics for Prometheus, and a description in
    /openapi.json. Clients choose among the VAEs that are offered here; they cannot name files or addresses. Without
    --host, only this machine reaches it. Stop it with Ctrl-C: requests in progress are finished.
    """
    from vaekit.optional import require

    for package in ("starlette", "uvicorn", "prometheus_client"):
        require(package, "serve over HTTP", "serve")
    from vaekit.serve.server import serve as run
    from vaekit.serve.settings import Limits, ServeOptions

    limits = Limits(pixels=max_pixels, waiting=waiting, loaded=loaded)
    wanted = ServeOptions(
        vaes=vaes or (),
        models=models,
        memory=memory,
        host=host,
        port=port,
        token=token,
        hosts=hosts or (),
        origins=origins or (),
        devices=devices or (),
        dtype=dtype,
        limits=limits,
    )
    wanted.check()
    show_log()

    def started(port: int) -> None:
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        if as_json:
            print_json({"url": url, "host": host, "port": port})
            sys.stdout.flush()
        log(f"Serving on {url}")

    run(wanted, started)


def show_log() -> None:
    """Show the log of the server on stderr: one line for each request, without queries and bodies."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for name, level in (("vaekit.serve", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.addHandler(handler)
