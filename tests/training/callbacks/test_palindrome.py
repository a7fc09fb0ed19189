"""The schedule reaches loader and model before the first batch of each epoch, and the log says so."""

from dailymae_hf.schedule import ResolutionSchedule
from dailymae_hf.training.callbacks import PalindromeCallback, resolution
from dailymae_hf.training.mae_trainer import DailyMAETrainer
from tests.support.in_memory import tiny_model
from tests.support.runs import arguments, loader

SCHEDULE = {"kind": "palindrome", "resolutions": [32, 24, 32], "mask_ratio": [0.75, 0.5, 0.6]}


def test_every_batch_of_an_epoch_has_the_stages_size_and_mask_ratio(tmp_path):
    data, model = loader(), tiny_model()
    hidden = []
    forward = model.forward

    def watched(pixel_values, **inputs):
        outputs = forward(pixel_values, **inputs)
        hidden.append((pixel_values.shape[-1], outputs.mask[0].sum().item()))
        return outputs

    model.forward = watched
    trainer = DailyMAETrainer(
        model, arguments(tmp_path, num_train_epochs=3, resolution_schedule=SCHEDULE), train_beton=data
    )
    trainer.train()
    # 16, 9 and 16 patches, of which int(16 * .25) = 4, int(9 * .5) = 4 and int(16 * .4) = 6 are seen
    assert hidden == [(32, 12)] * 5 + [(24, 5)] * 5 + [(32, 10)] * 5
    assert [size for _, size, _ in data.seen] == [32] * 5 + [24] * 5 + [32] * 5
    logged = [(e["resolution"], e["mask_ratio"], e["stage"]) for e in trainer.state.log_history if "loss" in e]
    assert logged == [(32, 0.75, 0)] * 5 + [(24, 0.5, 1)] * 5 + [(32, 0.6, 2)] * 5
    assert model.config.mask_ratio == 0.75, "the schedule is no part of the checkpoint's config"


def test_a_callback_of_the_user_replaces_the_arguments_schedule(tmp_path):
    own = ResolutionSchedule.from_dict({"kind": "constant", "resolution": 16}, epochs=2, patch_size=8)
    data = loader()
    args = arguments(tmp_path, resolution_schedule=SCHEDULE)
    DailyMAETrainer(tiny_model(), args, train_beton=data, callbacks=[PalindromeCallback(own)]).train()
    assert {size for _, size, _ in data.seen} == {16}


def test_max_steps_sets_the_schedules_length_as_well(tmp_path):
    """15 steps are three epochs of five, whatever num_train_epochs says."""
    data = loader()
    args = arguments(tmp_path, num_train_epochs=800, max_steps=15, resolution_schedule=SCHEDULE)
    DailyMAETrainer(tiny_model(), args, train_beton=data).train()
    assert [size for _, size, _ in data.seen] == [32] * 5 + [24] * 5 + [32] * 5


def test_stages_that_get_no_epoch_are_told(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(resolution.logger, "warning", lambda text, *words: said.append(text % words))
    args = arguments(tmp_path, num_train_epochs=2, resolution_schedule=SCHEDULE)
    DailyMAETrainer(tiny_model(), args, train_beton=loader())
    assert said == ["resolution_schedule: stage 3 of 3 (32 px) gets no epoch in a run of 2"]
