"""What the watch sees of the steps: the losses one by one, late but all, and what is not a number at the right step."""

import math

import pytest
import torch

from dailymae_hf.training.step_watch import SpikeMeter, StepWatch

CPU = torch.device("cpu")


def through(losses, norms=None, restarts=(1,), stops=()):
    """Figures of a run of these losses, whose accumulation begins anew with the steps of `restarts`."""
    watch, total, seen, arrived = StepWatch(CPU), torch.zeros(()), [], []
    for step, loss in enumerate(losses, 1):
        if step in restarts:
            total.zero_()
        total += loss
        norm = None if norms is None else torch.tensor(norms[step - 1])
        due = watch.record(step, total, norm, restarted=step in restarts, stop=step in stops)
        seen += due
        arrived += [step] * len(due)
    return seen + watch.flush(), arrived


def test_each_steps_loss_comes_back_one_step_later():
    seen, arrived = through([4.0, 3.0, 2.5, 2.0], restarts=(1, 3))
    assert [(figures.step, figures.loss) for figures in seen] == [(1, 4.0), (2, 3.0), (3, 2.5), (4, 2.0)]
    assert arrived == [2, 3, 4]
    assert all(figures.grad_norm is None and figures.is_finite for figures in seen)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_step_that_is_no_number_is_known(bad):
    in_loss, _ = through([1.0, 1.0, bad, 1.0])
    in_norm, _ = through([1.0] * 4, norms=[1.0, 1.0, bad, 1.0])
    assert next(figures.step for figures in in_loss if not figures.is_finite) == 3
    assert [figures.step for figures in in_norm if not figures.is_finite] == [3]


def test_a_request_travels_with_its_step():
    seen, _ = through([1.0] * 4, stops=(3,))
    assert [figures.step for figures in seen if figures.stop] == [3]


def test_the_sums_are_kept_while_later_steps_change_them():
    watch, total = StepWatch(CPU), torch.tensor(2.0)
    watch.record(1, total, 1.5, restarted=True, stop=False)
    total += 100
    (figures,) = watch.flush()
    assert (figures.loss, figures.grad_norm) == (2.0, 1.5)


def test_a_jump_is_a_spike_and_noise_or_a_new_resolution_is_none():
    generator = torch.Generator().manual_seed(0)
    meter = SpikeMeter()
    noise = (0.5 + 0.02 * torch.randn(300, generator=generator)).tolist()
    assert [meter.spike(loss) for loss in noise] == [None] * 300
    assert [meter.spike(loss + 0.1) for loss in noise] == [None] * 300
    assert meter.spike(1.5) == pytest.approx(0.6, abs=0.05)


def test_the_first_steps_of_a_run_are_no_spikes():
    meter = SpikeMeter()
    assert [meter.spike(loss) for loss in (1.0, 1.0, 5.0, 1.0)] == [None] * 4
