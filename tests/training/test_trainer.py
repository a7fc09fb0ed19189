"""The training step against a plain torch loop, and what the Trainer does to batches, groups, logs and evaluation."""

import json
import math
import subprocess
import sys

import datasets
import pytest
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    Trainer,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
    ViTMAEForPreTraining,
)

from dailymae_hf.data import shards, write_beton
from dailymae_hf.errors import RecipeError
from dailymae_hf.model.flops import mae_flops
from dailymae_hf.rng import sample_noise
from dailymae_hf.training.beton_trainer import BetonTrainer
from dailymae_hf.training.callbacks import OnlineProbeCallback
from dailymae_hf.training.mae_trainer import DailyMAETrainer
from tests.support.in_memory import coloured_images, tiny_model
from tests.support.runs import arguments, loader, normalised, validation

torch.set_num_threads(1)


def test_a_run_equals_a_plain_torch_loop(tmp_path):
    """Batches, masks, loss, weight-decay groups, learning rates and updates, written out by hand."""
    # A key's bias has no gradient but rounding, which Adam's default epsilon would blow up to whole steps.
    args = arguments(tmp_path, weight_decay=0.3, adam_epsilon=1e-3)
    trainer = DailyMAETrainer(tiny_model(), args, train_beton=loader())
    trainer.train()

    model = tiny_model().train()
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    decays = [n for n in names if n.endswith("weight") and "norm" not in n]
    groups = [
        {"params": [p for n, p in model.named_parameters() if n in decays], "weight_decay": 0.3},
        {"params": [p for n, p in model.named_parameters() if n in names and n not in decays], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), eps=1e-3)
    peak, warmup, total = 0.01 * 8 / 256, 5, 10
    data, losses = loader(), []
    for epoch in range(2):
        data.set_epoch(epoch)
        for batch in data:
            step = len(losses)
            cosine = 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
            for group in optimizer.param_groups:
                group["lr"] = peak * (step / warmup if step < warmup else cosine)
            noise = sample_noise(5, epoch, batch["index"], 16, "cpu")
            loss = model(normalised(batch["pixel_values"]), noise=noise).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert logged == pytest.approx(losses, rel=1e-5)
    rates = [entry["learning_rate"] for entry in trainer.state.log_history if "loss" in entry]
    assert rates[:2] == pytest.approx([0.0, peak / 5])
    for (name, ours), theirs in zip(trainer.model.named_parameters(), model.parameters(), strict=True):
        assert (ours - theirs).abs().max() < 1e-3 * peak, name


def test_every_trainable_parameter_moves_and_positions_do_not(tmp_path):
    model = tiny_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    DailyMAETrainer(model, arguments(tmp_path), train_beton=loader()).train()
    still = {name for name, value in model.state_dict().items() if torch.equal(value, before[name])}
    assert still == {"vit.embeddings.position_embeddings", "decoder.decoder_pos_embed"}


def test_weight_decay_spares_biases_norms_tokens_and_positions(tmp_path):
    trainer = DailyMAETrainer(tiny_model(), arguments(tmp_path), train_beton=loader())
    decayed = set(trainer.get_decay_parameter_names(trainer.model))
    modules = dict(trainer.model.named_modules())
    matrices = {f"{name}.weight" for name, m in modules.items() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)}
    assert decayed == matrices


@pytest.mark.parametrize("accumulation", [2, 4])
def test_accumulation_equals_one_large_batch(tmp_path, accumulation):
    """Stock ViTMAE takes **kwargs, for which the Trainer would leave the accumulated loss undivided."""
    runs = []
    for steps in (1, accumulation):
        data = loader(batch=8 // steps)
        args = arguments(tmp_path, per_device_train_batch_size=8 // steps, gradient_accumulation_steps=steps)
        trainer = DailyMAETrainer(tiny_model(), args, train_beton=data)
        trainer.train()
        runs.append(trainer)
    losses = [[e["loss"] for e in t.state.log_history if "loss" in e] for t in runs]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_neither_trainer_nor_accelerate_touches_the_loader(tmp_path):
    data = loader()
    DailyMAETrainer(tiny_model(), arguments(tmp_path, num_train_epochs=3), train_beton=data).train()
    for epoch in range(3):
        seen = [i for e, _, batch in data.seen if e == epoch for i in batch]
        assert sorted(seen) == list(range(40)), f"epoch {epoch} is not each sample once"


def test_pixels_are_normalised_as_the_saved_processor_does(tmp_path):
    trainer = DailyMAETrainer(
        tiny_model(), arguments(tmp_path), train_beton=loader(), image_mean=(0.4, 0.5, 0.6), image_std=(0.1, 0.2, 0.3)
    )
    trainer.save_model()
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    images, _ = coloured_images(3)
    expected = processor([image.permute(1, 2, 0).numpy() for image in images], return_tensors="pt")["pixel_values"]
    assert processor.size == {"height": 32, "width": 32}
    assert torch.allclose(trainer.normalize(images), expected, atol=1e-5)
    assert torch.allclose(trainer.denormalize(expected), images / 255, atol=1e-6)


def test_compute_is_counted_as_maes(tmp_path):
    trainer = DailyMAETrainer(tiny_model(), arguments(tmp_path), train_beton=loader())
    trainer.train()
    per_image = 3 * mae_flops(trainer.model.config, 32, 0.75)
    assert trainer.state.total_flos == pytest.approx(80 * per_image)
    stock = Trainer.floating_point_ops(trainer, {"pixel_values": torch.empty(1, 3, 32, 32, dtype=torch.uint8)})
    assert stock > 50 * per_image, "the stock count takes pixels for tokens"


def test_evaluate_is_maes_loss_with_fixed_masks(tmp_path):
    trainer = DailyMAETrainer(tiny_model(), arguments(tmp_path), train_beton=loader(), eval_beton=validation())
    loss = trainer.evaluate()["eval_loss"]
    images, _ = coloured_images(11)
    stock = ViTMAEForPreTraining(trainer.model.config).eval()
    stock.load_state_dict(trainer.model.state_dict())
    noise = sample_noise(5, 0, torch.arange(11), 16, "cpu")
    with torch.no_grad():
        expected = stock(normalised(images), noise=noise).loss.item()
    assert loss == pytest.approx(expected, rel=1e-5)
    trainer.train()
    trainer.model.load_state_dict(stock.state_dict())
    assert trainer.evaluate()["eval_loss"] == loss, "masks of the evaluation moved"


def test_stock_evaluate_has_no_loss_where_ours_has(tmp_path):
    images, _ = coloured_images(11)
    dataset = [{"pixel_values": image} for image in normalised(images)]
    args = TrainingArguments(str(tmp_path), use_cpu=True, report_to="none", disable_tqdm=True)
    stock = Trainer(ViTMAEForPreTraining(tiny_model().config), args, eval_dataset=dataset)
    assert "eval_loss" not in stock.evaluate()

    ours = DailyMAETrainer(tiny_model(), arguments(tmp_path), eval_dataset=dataset)
    from_file = DailyMAETrainer(tiny_model(), arguments(tmp_path), eval_beton=validation())
    assert ours.evaluate()["eval_loss"] == pytest.approx(from_file.evaluate()["eval_loss"], rel=1e-5)


def test_any_dataset_trains_as_under_the_stock_trainer(tmp_path):
    """Same seed, data and optimizer settings: the stock Trainer and ours end with the same weights, bit for bit."""
    images, labels = coloured_images(40)
    dataset = [{"pixel_values": x, "labels": y} for x, y in zip(normalised(images), labels, strict=True)]
    args = arguments(tmp_path, weight_decay=0.0, warmup_epochs=0)
    ours = DailyMAETrainer(tiny_model(), args, train_dataset=dataset)
    ours.train()
    stock = Trainer(
        tiny_model(),
        TrainingArguments(
            str(tmp_path), num_train_epochs=2, learning_rate=0.01 * 8 / 256, lr_scheduler_type="cosine",
            per_device_train_batch_size=8, weight_decay=0.0, adam_beta2=0.95, max_grad_norm=0.0, seed=5,
            optim=args.optim, use_cpu=True, report_to="none", disable_tqdm=True, save_strategy="no",
        ),
        train_dataset=dataset,
    )  # fmt: skip
    stock.train()
    for (name, a), b in zip(ours.model.named_parameters(), stock.model.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_training_works_where_ffcv_is_missing(tmp_path):
    """In a process that cannot import ffcv, numba or OpenCV: a torch data set trains, and so does a .beton."""
    script = f"""
import sys
for name in ("ffcv", "numba", "cv2"):
    sys.modules[name] = None
from pathlib import Path
from tests.support.in_memory import coloured_images, tiny_model
from tests.support.runs import arguments, normalised
from dailymae_hf import DailyMAETrainer
images, _ = coloured_images(16)
dataset = [dict(pixel_values=image) for image in normalised(images)]
out = Path({str(tmp_path)!r})
DailyMAETrainer(tiny_model(), arguments(out, num_train_epochs=1), train_dataset=dataset).train()
from dailymae_hf.data import write_beton
import datasets, PIL.Image
features = datasets.Features(image=datasets.Image())
rows = datasets.Dataset.from_dict({{"image": [PIL.Image.linear_gradient("L")] * 8}}, features=features)
write_beton(rows, out / "x.beton", workers=1)
result = DailyMAETrainer(tiny_model(), arguments(out, num_train_epochs=1), train_beton=out / "x.beton").train()
print("trained", result.global_step > 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "trained True" in done.stdout


def test_a_file_and_a_data_set_at_once_are_refused(tmp_path):
    with pytest.raises(RecipeError, match="train_beton and train_dataset"):
        DailyMAETrainer(tiny_model(), arguments(tmp_path), train_beton=loader(), train_dataset=[1])


def test_a_shorter_last_batch_is_refused_for_files(tmp_path):
    """Samples would be left out against the recipe's word; a data set is batched as the stock Trainer does it."""
    args = arguments(tmp_path, dataloader_drop_last=False)
    (tmp_path / "train.beton").touch()
    with pytest.raises(RecipeError, match=r"^dataloader_drop_last: "):
        DailyMAETrainer(tiny_model(), args, train_beton=tmp_path / "train.beton")
    images = normalised(coloured_images(11)[0])
    trainer = DailyMAETrainer(tiny_model(), args, train_dataset=[{"pixel_values": image} for image in images])
    assert [len(batch["pixel_values"]) for batch in trainer.get_train_dataloader()] == [8, 3]


@pytest.mark.parametrize("compiled", [True])
def test_torch_compile_and_bf16_train_to_the_same_loss(tmp_path, compiled):
    losses = []
    for options in ({}, {"torch_compile": compiled, "torch_compile_backend": "eager"}, {"bf16": True}):
        trainer = DailyMAETrainer(tiny_model(), arguments(tmp_path, **options), train_beton=loader())
        trainer.train()
        losses.append([e["loss"] for e in trainer.state.log_history if "loss" in e])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert losses[2] == pytest.approx(losses[0], rel=2e-2)


def test_logs_reach_tensorboard(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from dailymae_hf.training.callbacks import ThroughputCallback

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    args = arguments(tmp_path, report_to="tensorboard")
    DailyMAETrainer(tiny_model(), args, train_beton=loader(), callbacks=[ThroughputCallback()]).train()
    events = EventAccumulator(str(next((tmp_path / "events").rglob("*tfevents*")))).Reload()
    tags = set(events.Tags()["scalars"])
    assert {"train/loss", "train/resolution", "train/mask_ratio", "train/images_per_second", "train/data_wait"} <= tags


def test_state_is_json(tmp_path):
    trainer = DailyMAETrainer(tiny_model(), arguments(tmp_path), train_beton=loader())
    trainer.train()
    json.dumps(trainer.state.log_history, allow_nan=False)


def test_a_schedule_without_files_to_apply_it_to_is_refused(tmp_path):
    schedule = {"kind": "constant", "resolution": 24}
    with pytest.raises(RecipeError, match=r"resolution_schedule: .*train_beton"):
        DailyMAETrainer(tiny_model(), arguments(tmp_path, resolution_schedule=schedule), train_dataset=[1])


def test_a_flat_standard_deviation_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="image_std"):
        DailyMAETrainer(tiny_model(), arguments(tmp_path), train_beton=loader(), image_std=(0.2, 0.0, 0.2))


def test_without_something_to_evaluate_on_evaluation_is_left_out_with_a_word(tmp_path, caplog):
    """The self-supervised case: recipes evaluate by default, and many have no validation file."""
    trainer = DailyMAETrainer(tiny_model(), arguments(tmp_path, eval_strategy="epoch"), train_beton=loader())
    trainer.train()
    assert len([record for record in caplog.records if "eval_strategy: nothing is evaluated" in record.message]) == 1
    assert not any("eval_loss" in entry for entry in trainer.state.log_history)


def test_a_best_model_without_something_to_evaluate_on_is_refused(tmp_path):
    args = arguments(tmp_path, eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True)
    with pytest.raises(RecipeError, match=r"load_best_model_at_end: .*eval_strategy: epoch on eval_beton"):
        DailyMAETrainer(tiny_model(), args, train_beton=loader())


def test_one_process_for_several_gpus_is_refused(tmp_path, monkeypatch):
    """The stock Trainer would split each batch, and the learning rate would be that of a batch for each GPU."""
    args = arguments(tmp_path)
    monkeypatch.setattr(type(args), "n_gpu", 8)
    with pytest.raises(RecipeError, match=r"8 GPUs for one process.*accelerate launch"):
        DailyMAETrainer(tiny_model(), args, train_beton=loader())
    assert args.effective_batch_size == args.per_device_train_batch_size


def rates(trainer):
    return [entry["learning_rate"] for entry in trainer.state.log_history if "loss" in entry]


def test_under_max_steps_alone_the_rate_is_reached(tmp_path):
    """The warm-up was 40 epochs of 800 whatever max_steps said: 60 steps of 12 epochs never came near the rate."""
    trainer = DailyMAETrainer(tiny_model(), arguments(tmp_path, max_steps=60, warmup_epochs=None), train_beton=loader())
    trainer.train()
    reached = rates(trainer)
    assert max(reached) == pytest.approx(trainer.args.learning_rate)
    assert reached.index(max(reached)) == 3, "5 % of 60 steps"
    assert reached[-1] < 0.01 * max(reached), "and the cosine ends with the run"
    assert trainer.run_facts()["optimizer"]["warmup_epochs"] == pytest.approx(3 / 5)


def test_a_warm_up_longer_than_max_steps_is_refused(tmp_path):
    trainer = DailyMAETrainer(tiny_model(), arguments(tmp_path, max_steps=6, warmup_epochs=2), train_beton=loader())
    with pytest.raises(RecipeError, match=r"warmup_epochs: 2 epochs are 10 optimizer steps"):
        trainer.train()


def test_accumulation_makes_no_short_step_and_ends_with_the_weights_of_one_batch(tmp_path):
    """44 images: 2 steps of 16 and 12 left over, which the stock Trainer trains on at the full rate."""
    ends = []
    for batch, steps in ((16, 1), (4, 4)):
        # A gradient that is rounding noise must not become a whole step.
        args = arguments(
            tmp_path, per_device_train_batch_size=batch, gradient_accumulation_steps=steps, adam_epsilon=1e-3
        )
        trainer = DailyMAETrainer(tiny_model(), args, train_beton=loader(44, batch))
        trainer.train()
        assert trainer.state.global_step == 4
        ends.append(trainer.model)
    for (name, a), b in zip(ends[0].named_parameters(), ends[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3, msg=lambda m, name=name: f"{name}: {m}")


def test_accumulation_beyond_an_epoch_is_refused(tmp_path):
    args = arguments(tmp_path, gradient_accumulation_steps=6)
    with pytest.raises(RecipeError, match=r"gradient_accumulation_steps: 6 batches .* has 5"):
        DailyMAETrainer(tiny_model(), args, train_beton=loader()).train()


def test_fewer_images_than_a_batch_are_refused_by_the_batch_size(tmp_path):
    """A folder of a hundred photographs, and the batch of a recipe: no word about accumulation, which nobody set."""
    args = arguments(tmp_path, per_device_train_batch_size=16)
    with pytest.raises(RecipeError, match="per_device_train_batch_size: the 12 training images are fewer than one"):
        DailyMAETrainer(tiny_model(), args, train_beton=loader(12, 16)).train()


def test_a_palindrome_of_max_steps_returns_to_full_size_under_accumulation(tmp_path):
    schedule = {"kind": "palindrome", "resolutions": [32, 24, 32]}
    args = arguments(
        tmp_path, max_steps=12, resolution_schedule=schedule, gradient_accumulation_steps=2, warmup_epochs=None
    )
    trainer = DailyMAETrainer(tiny_model(), args, train_beton=loader())
    trainer.train()
    sizes = [entry["resolution"] for entry in trainer.state.log_history if "loss" in entry]
    assert sizes == [32] * 4 + [24] * 4 + [32] * 4


def test_a_model_that_is_no_autoencoder_is_trained_as_it_is(tmp_path):
    """From .beton loaders, without masks or MAE's loss, and evaluated as the stock Trainer does."""
    images, labels = coloured_images(40)
    config = ViTConfig(
        image_size=32, patch_size=8, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        num_labels=4,
    )  # fmt: skip
    args = arguments(tmp_path, label_names=["labels"])
    trainer = DailyMAETrainer(ViTForImageClassification(config), args, train_beton=loader(), eval_beton=validation())
    assert type(trainer) is BetonTrainer
    trainer.train()
    assert trainer.state.global_step == 10
    model = trainer.model.eval()
    with torch.no_grad():
        expected = model(normalised(images[:8]), labels=labels[:8]).loss.item()
    held_out = [{"pixel_values": x, "labels": y} for x, y in zip(normalised(images[:8]), labels[:8], strict=True)]
    assert trainer.evaluate(held_out)["eval_loss"] == pytest.approx(expected, rel=1e-5)


def test_a_subclass_for_another_model_stands_on_the_base(tmp_path):
    class Mine(DailyMAETrainer):
        pass

    model = ViTForImageClassification(ViTConfig(image_size=32, patch_size=8, num_hidden_layers=1))
    with pytest.raises(RecipeError, match="BetonTrainer"):
        Mine(model, arguments(tmp_path), train_beton=loader())


def test_pretraining_images_are_augmented_before_they_are_normalised(tmp_path):
    """One callable gets uint8 pixels, the epoch and the samples' numbers; validation images stay as they are."""
    seen = []

    def invert(pixels, epoch, index):
        seen.append((pixels.dtype, epoch, index.tolist()))
        return 1 - pixels.float() / 255

    data, held_out = loader(), validation()
    trainer = DailyMAETrainer(
        tiny_model(), arguments(tmp_path, eval_strategy="epoch"), train_beton=data, eval_beton=held_out, augment=invert
    )
    trainer.train()
    assert [(torch.uint8, epoch, rows) for epoch, _, rows in data.seen] == seen
    trainer.model.train()
    images = coloured_images(4)[0]
    prepared = trainer._prepare_inputs({"pixel_values": images})["pixel_values"]
    torch.testing.assert_close(prepared, normalised(255 - images), atol=1e-5, rtol=1e-5)
    trainer.model.eval()
    assert torch.equal(trainer._prepare_inputs({"pixel_values": images})["pixel_values"], trainer.normalize(images))


def test_a_file_is_opened_once(tmp_path, monkeypatch):
    """Mean and std, loaders, probe and card read one open file: a path looked up again may be another file by then."""
    opened = []
    real = shards.open_beton
    monkeypatch.setattr(shards, "open_beton", lambda path: opened.append(path.name) or real(path))
    images, labels = coloured_images(24)
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["a", "b", "c", "d"]))
    rows = {"image": [Image.fromarray(x.permute(1, 2, 0).numpy()) for x in images], "label": labels.tolist()}
    write_beton(datasets.Dataset.from_dict(rows, features=features), tmp_path / "x.beton", workers=1, progress=False)
    (tmp_path / "y.beton").write_bytes((tmp_path / "x.beton").read_bytes())
    trainer = DailyMAETrainer(
        tiny_model(),
        arguments(tmp_path / "out", num_train_epochs=1, eval_strategy="epoch"),
        train_beton=tmp_path / "x.beton",
        eval_beton=tmp_path / "y.beton",
        callbacks=[OnlineProbeCallback()],
    )
    opened_at_first = list(opened)
    trainer.train()
    trainer.run_facts()
    assert opened == opened_at_first == ["x.beton", "y.beton"]
