"""`dailymae push`: a run's output folder or .beton files to the Hub."""

import argparse
from typing import Any

from dailymae_hf.errors import RecipeError


def add_push(commands: Any) -> None:
    parser = commands.add_parser("push", help="put a model or .beton files on the Hub", description=_PUSH)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("folder", nargs="?", help="output folder of a run")
    what.add_argument("--dataset", nargs="+", metavar="FILE", help=".beton files for a dataset repository instead")
    parser.add_argument("--repo", required=True, metavar="USER/NAME", help="made where it does not exist")
    parser.add_argument("--private", action="store_const", const=True, help="if the repository has to be made")
    parser.add_argument("--license", metavar="NAME", help="for the card, as the Hub calls it: apache-2.0")
    parser.add_argument(
        "--base-model", metavar="USER/NAME", help="what the model was made from, if the run cannot know"
    )
    parser.add_argument(
        "--results", nargs="+", default=[], metavar="FOLDER", help="runs on this model whose scores go on its card"
    )
    parser.add_argument("--message", metavar="TEXT", help="of the commit")
    parser.set_defaults(run=run_push)


_PUSH = "Push in one commit, with a card of measured facts. The token is the one of `hf auth login`, or HF_TOKEN."


def run_push(options: argparse.Namespace) -> int:
    from dailymae_hf.hub.dataset import push_dataset
    from dailymae_hf.hub.push import push_model

    given: dict[str, Any] = {"private": options.private, "license": options.license}
    if options.message:
        given["message"] = options.message
    if options.dataset:
        if options.base_model or options.results:
            raise RecipeError("--base-model and --results are for models, not for --dataset")
        print(push_dataset(options.dataset, options.repo, **given))
    else:
        print(push_model(options.folder, options.repo, base_model=options.base_model, results=options.results, **given))
    return 0
