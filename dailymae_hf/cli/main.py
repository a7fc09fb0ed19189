"""`dailymae`: parse, call, print. Each command is one function that adds its parser and one that runs it.

Exit code 2, with one line on stderr, for what the user can mend; 1 where `verify` finds something broken.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from dailymae_hf import __version__
from dailymae_hf.cli.arguments import Parser
from dailymae_hf.cli.export import add_export
from dailymae_hf.cli.plan import add_plan
from dailymae_hf.cli.push import add_push
from dailymae_hf.cli.recipes import add_recipes
from dailymae_hf.cli.run import RUNS, end_process, run_recipe
from dailymae_hf.cli.write import add_convert, add_inspect, add_verify, add_write
from dailymae_hf.errors import DailyMAEError

COMMANDS: list[Callable[[Any], None]] = [
    add_write,
    add_inspect,
    add_verify,
    add_convert,
    add_recipes,
    add_plan,
    add_push,
    add_export,
]


def command() -> NoReturn:
    """The `dailymae` program: run the command of this process's arguments and end the process."""
    end_process(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words and words[0] in RUNS:  # their options are the recipe's keys, which only the recipe's classes know
        return run_recipe(words[0], words[1:])
    try:
        parser, _ = _parser()
        options, rest = parser.parse_known_args(words)
        if hasattr(options, "overrides"):  # keys of a recipe, which only the recipe's classes know
            options.overrides = rest
        elif rest:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        return options.run(options)
    except (DailyMAEError, OSError) as error:
        return _fail(error, 2)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)


def command_parser(name: str) -> argparse.ArgumentParser:
    """The parser of one command. Raises KeyError where there is none of that name."""
    return _parser()[1].choices[name]


def _parser() -> tuple[argparse.ArgumentParser, Any]:
    """The parser of the program, and the action that holds those of its commands."""
    parser = Parser(prog="dailymae", description="Pretrain masked autoencoders in a day.")
    parser.add_argument("--version", action="version", version=f"dailymae_hf {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    for name, run in RUNS.items():
        commands.add_parser(name, help=run.about)
    return parser, commands


def _fail(error: object, code: int) -> int:
    print(f"dailymae: {' '.join(str(error).split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    command()
