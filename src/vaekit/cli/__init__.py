"""The command line: arguments in, tables and JSON out. `vaekit.tasks` does the work.

Every verb: `--json` prints one object on stdout, progress goes to stderr; exit status 0 for success, 1 for a user error
(one paragraph on stderr), 2 for wrong usage. Verbs import what they need when they run, so that `--help` is quick.
Errors of the operating system and of memory that no verb explains become user errors here.
"""

import sys
from typing import Annotated

import typer

from vaekit.cli.bake import bake
from vaekit.cli.cache import cache
from vaekit.cli.compare import compare
from vaekit.cli.compress import compress
from vaekit.cli.convert import convert
from vaekit.cli.decode import decode
from vaekit.cli.decompress import decompress
from vaekit.cli.diff import diff
from vaekit.cli.direction import direction
from vaekit.cli.doctor import doctor
from vaekit.cli.edit import edit
from vaekit.cli.encode import encode
from vaekit.cli.evaluate import evaluate
from vaekit.cli.explain import explain
from vaekit.cli.extract import extract
from vaekit.cli.finetune import finetune
from vaekit.cli.generate import generate
from vaekit.cli.get import get
from vaekit.cli.index import index
from vaekit.cli.inspect import inspect
from vaekit.cli.interpolate import interpolate
from vaekit.cli.list import list_models
from vaekit.cli.optimise import optimise
from vaekit.cli.output import accept_any_text, finish_output, open_closed_streams, show_error, show_usage_error
from vaekit.cli.push import push
from vaekit.cli.reconstruct import reconstruct
from vaekit.cli.sample import sample
from vaekit.cli.score import score
from vaekit.cli.search import search
from vaekit.cli.serve import serve
from vaekit.cli.train import WithRecipes, train
from vaekit.cli.traverse import traverse
from vaekit.errors import VaekitError, of_system
from vaekit.version import __version__

app = typer.Typer(
    name="vaekit",
    help="Run, measure, train and convert variational autoencoders.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
VERBS = (
    *(reconstruct, encode, decode, sample, generate, interpolate, traverse, direction, edit, optimise, cache),
    *(index, search, score, explain, compress, decompress, compare, doctor, evaluate, train, finetune, push, get),
    *(inspect, diff, convert, extract, bake, serve),
)
for verb in VERBS:
    app.command(no_args_is_help=True, cls=WithRecipes if verb is train else None)(verb)
app.command("list")(list_models)


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vaekit {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Run, measure, train and convert variational autoencoders."""


UsageError: type[Exception] = typer.BadParameter.mro()[2]
"""The base class of all errors about arguments, which typer does not export."""


def main() -> None:
    """Run the command line and exit with its status."""
    open_closed_streams()
    accept_any_text()
    status = status_of_verb(as_json="--json" in sys.argv)
    sys.exit(status if finish_output() else 1)


def status_of_verb(as_json: bool) -> int:
    """Run the verb in the arguments; returns the exit status."""
    try:
        return app(standalone_mode=False) or 0
    except VaekitError as error:
        show_error(error, as_json)
    except (OSError, MemoryError) as error:
        show_error(of_system(error), as_json)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        show_error(of_system(MemoryError()), as_json)
    except UsageError as error:
        return show_usage_error(error)
    except typer.Abort:
        pass
    return 1


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an allocation of torch failed, which raises no MemoryError."""
    from vaekit.runtime.memory import out_of_memory

    return out_of_memory(error)
