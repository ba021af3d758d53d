"""The class of all verbs."""

from collections import Counter
from typing import Any

import typer
from typer.core import TyperCommand, TyperOption


class Verb(TyperCommand):
    """A command that refuses an option with one value that is given twice, instead of taking the last one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args:
            _, _, given = self.make_parser(ctx).parse_args(args=list(args))
            for param, times in Counter(given).items():
                if (
                    times > 1
                    and isinstance(param, TyperOption)
                    and not (param.multiple or param.is_flag or param.count)
                ):
                    raise typer.BadParameter(f"it is given {times} times, and takes one value", ctx=ctx, param=param)
        return super().parse_args(ctx, args)
