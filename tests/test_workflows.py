"""The public repository's workflows call what there is."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_names_only_targets_and_files_that_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    commands = [step["run"] for job in yaml.safe_load(path.read_text())["jobs"].values() for step in job["steps"]
                if "run" in step]  # fmt: skip
    assert commands
    for command in commands:
        assert set(re.findall(r"\bmake ([a-z-]+)", command)) <= targets
        for named in re.findall(r"\b(?:tests|scripts)/[\w/.]+", command):
            assert (ROOT / named).exists(), named
