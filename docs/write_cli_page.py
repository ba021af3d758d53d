"""Write docs/cli.md from the command line's own help pages; `make docs` runs this, and a test checks the result."""

import sys
from pathlib import Path

from typer.testing import CliRunner

from vaekit.cli import app

PAGE = Path(__file__).parent / "cli.md"
WIDTH = "100"


def page() -> str:
    """The whole page."""
    verbs = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    parts = [
        "# The command line",
        "Every verb: `--json` prints one machine-readable object on stdout, progress goes to stderr; exit status 0 is "
        "success, 1 a user error (one paragraph on stderr), 2 wrong usage. Files get their final names only when "
        "complete. JSON objects have a `version`, now 2.",
        "This page is generated from the help pages by `make docs`.",
        section("vaekit", []),
        *(section(f"vaekit {verb}", [verb]) for verb in verbs),
    ]
    return "\n\n".join(parts) + "\n"


def section(title: str, arguments: list[str]) -> str:
    """The help page of one verb."""
    environment = {"COLUMNS": WIDTH, "TERMINAL_WIDTH": WIDTH}
    result = CliRunner().invoke(
        app, [*arguments, "--help"], env=environment, terminal_width=int(WIDTH), prog_name="vaekit"
    )
    return f"## {title}\n\n```\n{result.output.strip()}\n```"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    sys.stdout.write(f"wrote {PAGE.name}\n")
