"""What importing the trainer costs: nothing beyond the stock Trainer's own packages and ours."""

import json
import subprocess
import sys

HEAVY = ("ffcv", "numba", "cv2", "matplotlib", "jinja2", "datasets", "evaluate", "sklearn", "tensorboard", "psutil")
SCRIPT = f"""
import json, sys
def loaded():
    return {{name for name in {HEAVY!r} if name in sys.modules}}
import transformers
from transformers import Trainer, ViTMAEForPreTraining
import accelerate.utils
stock = loaded()
import dailymae_hf
from dailymae_hf import DailyMAETrainer, DailyMAETrainingArguments, OnlineProbeCallback, ThroughputCallback
print(json.dumps([sorted(stock), sorted(loaded())]))
"""


def test_the_trainer_loads_no_package_that_the_stock_trainer_does_not():
    """FFCV and numba cost seconds, and a plain install has neither them nor matplotlib, datasets or evaluate."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    stock, ours = json.loads(done.stdout.splitlines()[-1])
    assert set(ours) - set(stock) == set()
