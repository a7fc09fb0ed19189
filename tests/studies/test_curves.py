"""Curves come from the logs of a study's own runs."""

import json
from pathlib import Path

import yaml

from studies import curves
from studies.study import Study


def test_points_of_runs_whose_log_is_there(tmp_path: Path):
    keys = {"question": "?", "recipe": "tiny64.yaml", "seeds": [0, 1], "reference": "a", "arms": {"a": {}}}
    (tmp_path / "asked.yaml").write_text(yaml.safe_dump(keys))
    lines = [
        {"arm": "named otherwise", **run.key, "scores": {"linear": 0.1}, "processor_seconds": 1}
        for run in Study.load(str(tmp_path / "asked.yaml")).runs()
    ]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    log = tmp_path / "runs" / "other" / "named otherwise-0" / "model" / "log.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text('{"step": 50, "loss": 1.5}\n{"step": 100, "loss": 1.25}\n{"step": 104, "loss": null}\n')
    words = [str(tmp_path / "asked.yaml"), "--results", str(tmp_path / "results.jsonl")]
    curves.main([*words, "--folder", str(tmp_path / "runs")])
    assert json.loads((tmp_path / "asked-curves.json").read_text()) == {"a": {"0": [[50, 1.5], [100, 1.25]]}}
    assert (tmp_path / "asked-curves.png").is_file()
