"""`dailymae`: parse, call, print. Each command is one function that adds its parser and one that runs it.

An error that the user can act on is one line on stderr; exit code 2 for arguments that cannot be used, 1 for all else.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from dailymae_hf.cli.export import add_export
from dailymae_hf.cli.plan import add_plan
from dailymae_hf.cli.push import add_push
from dailymae_hf.cli.write import add_convert, add_inspect, add_verify, add_write
from dailymae_hf.errors import DailyMAEError, RecipeError

COMMANDS: list[Callable[[Any], None]] = [
    add_write,
    add_inspect,
    add_verify,
    add_convert,
    add_plan,
    add_push,
    add_export,
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit code."""
    parser = argparse.ArgumentParser(prog="dailymae", description="Pretrain masked autoencoders in a day.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except RecipeError as error:
        return _fail(error, 2)
    except (DailyMAEError, OSError) as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)


def _fail(error: object, code: int) -> int:
    print(f"dailymae: {' '.join(str(error).split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
