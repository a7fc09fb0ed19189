"""A rank that works under a watch: `torchrun watched_rank.py FOLDER SILENCE`; leaves its process number in FOLDER."""

import os
import sys
import time
from pathlib import Path

import torch.distributed as dist

from dailymae_hf.training.rank_watch import RankWatch

if __name__ == "__main__":
    folder, silence = Path(sys.argv[1]), float(sys.argv[2])
    dist.init_process_group("gloo")
    reasons: list[str] = []
    watch = RankWatch(silence=silence, launcher_gone=reasons.append)
    watch.start()
    dist.barrier()
    partial = folder / f".rank-{dist.get_rank()}"
    partial.write_text(str(os.getpid()))
    partial.rename(folder / f"rank-{dist.get_rank()}")
    while not reasons and not (folder / "end").exists():
        time.sleep(0.05)
    (folder / f"reason-{dist.get_rank()}").write_text("".join(reasons))
    watch.stop()
    # One leaves early: nobody may miss it.
    time.sleep(0 if dist.get_rank() else 2 * silence)
    os._exit(0)
