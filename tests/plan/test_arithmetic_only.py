"""The planner computes with numbers that it is given: it needs no model, no tensor and no data."""

import subprocess
import sys

HEAVY = ("torch", "transformers", "numpy", "datasets", "accelerate", "matplotlib")


def test_the_planner_imports_nothing_heavy():
    script = (
        "import sys, dailymae_hf.plan, dailymae_hf.plan.forecast, dailymae_hf.plan.report\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
