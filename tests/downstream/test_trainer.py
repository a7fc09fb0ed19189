"""Fine-tuning on arrays in memory: what moves, with which rates, towards which targets, and how it is scored."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score
from torch.nn import functional as F
from transformers import AutoImageProcessor, AutoModelForImageClassification

from dailymae_hf.downstream.classifier import build_classifier, classifier_logits
from dailymae_hf.downstream.trainer import ClassifierTrainer, classification_processor
from dailymae_hf.downstream.training_args import ClassifierTrainingArguments
from dailymae_hf.errors import RecipeError
from dailymae_hf.training.augment import Mixing, ThreeAugment
from tests.support.in_memory import ArrayLoader, coloured_images, tiny_model

NAMES = ["a", "b", "c", "d"]


def arguments(folder, **overrides):
    values = {
        "output_dir": str(folder), "num_train_epochs": 2, "per_device_train_batch_size": 16, "warmup_epochs": 0.5,
        "per_device_eval_batch_size": 16, "base_learning_rate": 1e-2, "use_cpu": True, "report_to": "none",
        "save_strategy": "no", "logging_steps": 1, "disable_tqdm": True, "bf16": False,
    }  # fmt: skip
    return ClassifierTrainingArguments(**{**values, **overrides})


def trainer_for(folder, *, pooling="mean", model=None, eval_count=24, **overrides):
    images, labels = coloured_images(64)
    options = {name: overrides.pop(name) for name in ("augment", "mixing") if name in overrides}
    if model is None:
        model = build_classifier(tiny_model(), NAMES, pooling=pooling, drop_path_rate=0.1)
    return ClassifierTrainer(
        model,
        arguments(folder, **overrides),
        train_beton=ArrayLoader(images, labels, 16),
        eval_beton=ArrayLoader(images[:eval_count], labels[:eval_count], 16, shuffle=False, drop_last=False),
        **options,
    )


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_every_trainable_parameter_moves_and_the_result_is_a_plain_classifier(tmp_path, pooling):
    trainer = trainer_for(
        tmp_path, pooling=pooling, augment=ThreeAugment(), mixing=Mixing(4), eval_strategy="epoch", num_train_epochs=3
    )
    before = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
    trainer.train()
    still = [name for name, parameter in trainer.model.named_parameters() if torch.equal(parameter, before[name])]
    # A key's bias has no effect on the output, so only rounding moves it.
    assert [name for name in still if "k_proj.bias" not in name] == []
    trainer.save_model()
    plain = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    images, labels = (part[:24] for part in coloured_images(64))
    pixels = AutoImageProcessor.from_pretrained(tmp_path)(
        images=list(images), do_resize=False, return_tensors="pt"
    ).pixel_values
    with torch.no_grad():
        predicted = plain(pixels).logits.argmax(1)
    accuracy = trainer.evaluate()["eval_accuracy"]
    assert accuracy == pytest.approx(accuracy_score(labels, predicted))


def test_it_learns(tmp_path):
    trainer = trainer_for(tmp_path, num_train_epochs=20, layer_decay=1.0, label_smoothing_factor=0.0)
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    assert after["eval_accuracy"] > 0.8  # chance is .25
    assert after["eval_loss"] < 0.8 * before["eval_loss"]


def test_rates_fall_towards_the_input_and_with_the_cosine_to_the_minimum(tmp_path):
    trainer = trainer_for(tmp_path, num_train_epochs=4, min_learning_rate=1e-5, layer_decay=0.5)
    rates = []
    step = torch.optim.AdamW.step

    def record(self, *args, **kwargs):
        rates.append({group["layer"]: group["lr"] for group in self.param_groups})
        return step(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", record)
        trainer.train()
    peak, steps, warmup = 1e-2 * 16 / 256, 16, 2
    assert len(rates) == steps
    for number, by_layer in enumerate(rates):
        if number < warmup:
            head = peak * number / warmup
        else:
            cosine = 0.5 * (1 + math.cos(math.pi * (number - warmup) / (steps - warmup)))
            head = 1e-5 + (peak - 1e-5) * cosine
        assert by_layer == pytest.approx({0: head / 8, 1: head / 4, 2: head / 2, 3: head}, rel=1e-6)
    assert {group["betas"] for group in trainer.optimizer.param_groups} == {(0.9, 0.999)}


@pytest.mark.parametrize("mixed", [False, True])
def test_the_loss_is_smoothed_cross_entropy_of_what_the_model_was_shown(tmp_path, mixed):
    model = build_classifier(tiny_model(), NAMES, head_std=1.0)
    trainer = trainer_for(tmp_path, model=model, mixing=Mixing(4, seed=3) if mixed else None)
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    prepared = trainer._prepare_inputs(dict(batch))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (trainer.pixels.mean, trainer.pixels.std))
    pixels = (batch["pixel_values"] / 255 - mean) / std
    if mixed:
        pixels, targets = Mixing(4, seed=3)(pixels, batch["labels"], 0, batch["index"])
    else:
        targets = F.one_hot(batch["labels"], 4) * 0.9 + 0.1 / 4
    torch.testing.assert_close(prepared["pixel_values"], pixels, atol=1e-5, rtol=0)
    expected = -(targets * classifier_logits(model, pixels).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(trainer.compute_loss(trainer.model, prepared), expected, atol=1e-5, rtol=1e-5)


def test_augmentation_sees_pixels_in_training_only(tmp_path):
    seen = []

    class Spy(ThreeAugment):
        def forward(self, pixels, epoch, index):
            seen.append((pixels.dtype, epoch, index.tolist()))
            return super().forward(pixels, epoch, index)

    trainer = trainer_for(tmp_path, augment=Spy(), eval_strategy="epoch")
    trainer.train()
    loader = trainer.train_beton
    assert [(torch.uint8, epoch, rows) for epoch, _, rows in loader.seen] == seen
    assert {epoch for _, epoch, _ in seen} == {0, 1}


def test_float_images_and_three_augment_do_not_go_together(tmp_path):
    trainer = trainer_for(tmp_path, augment=ThreeAugment())
    trainer.model.train()
    with pytest.raises(RecipeError, match="uint8"):
        trainer._prepare_inputs({"pixel_values": torch.zeros(2, 3, 32, 32), "labels": torch.zeros(2).long()})


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_progressive_resolution_reaches_the_loader_and_not_the_evaluation(tmp_path, pooling):
    schedule = {"kind": "increasing", "resolutions": [16, 24, 32]}
    trainer = trainer_for(
        tmp_path, pooling=pooling, num_train_epochs=3, resolution_schedule=schedule, eval_strategy="epoch"
    )
    trainer.train()
    assert [resolution for _, resolution, _ in trainer.train_beton.seen] == [16] * 4 + [24] * 4 + [32] * 4
    assert {resolution for _, resolution, _ in trainer.eval_beton.seen} == {32}
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [entry["resolution"] for entry in logged] == [16] * 4 + [24] * 4 + [32] * 4
    assert "mask_ratio" not in logged[0]


def test_every_sample_is_scored_once_and_padding_is_not(tmp_path):
    trainer = trainer_for(tmp_path, eval_count=23)
    images, labels = (part[:23] for part in coloured_images(64))
    scores = trainer.evaluate()
    with torch.no_grad():
        logits = classifier_logits(trainer.model.eval(), trainer.normalize(images))
    assert scores["eval_accuracy"] == pytest.approx(accuracy_score(labels, logits.argmax(1)))
    assert scores["eval_loss"] == pytest.approx(float(F.cross_entropy(logits, labels)), abs=1e-5)


def test_averaged_weights_are_scored_saved_and_follow_the_formula(tmp_path):
    trainer = trainer_for(tmp_path, ema_decay=0.5, label_smoothing_factor=0.0)
    weights = []
    step = torch.optim.AdamW.step

    def record(self, *args, **kwargs):
        result = step(self, *args, **kwargs)
        weights.append(trainer.model.classifier.weight.detach().clone())
        return result

    start = trainer.model.classifier.weight.detach().clone()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", record)
        trainer.train()
    average = start
    for number, weight in enumerate(weights, start=1):
        decay = min(0.5, (1 + number) / (10 + number))
        average = decay * average + (1 - decay) * weight
    torch.testing.assert_close(trainer.model.classifier.weight.detach(), average, atol=1e-7, rtol=1e-5)
    trainer.save_model()
    torch.testing.assert_close(load_file(tmp_path / "model.safetensors")["classifier.weight"], average)


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_a_resumed_run_equals_an_unbroken_one(tmp_path, ema_decay):
    options = {"augment": ThreeAugment(), "mixing": Mixing(4), "ema_decay": ema_decay, "num_train_epochs": 2}
    torch.manual_seed(0)
    unbroken = trainer_for(tmp_path / "a", save_strategy="steps", save_steps=3, **options)
    unbroken.train()
    torch.manual_seed(0)
    resumed = trainer_for(tmp_path / "b", **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-3"))
    for name, parameter in unbroken.model.named_parameters():
        assert torch.equal(parameter, dict(resumed.model.named_parameters())[name]), name


def test_accumulated_batches_make_the_same_step(tmp_path):
    states = []
    for batch, accumulation in ((32, 1), (16, 2)):
        images, labels = coloured_images(64)
        torch.manual_seed(0)
        trainer = ClassifierTrainer(
            build_classifier(tiny_model(), NAMES),
            arguments(
                tmp_path,
                per_device_train_batch_size=batch,
                gradient_accumulation_steps=accumulation,
                max_steps=2,
                warmup_epochs=0.0,
            ),
            train_beton=ArrayLoader(images, labels, batch),
        )
        trainer.train()
        states.append(trainer.model.classifier.weight.detach().clone())
    torch.testing.assert_close(states[0], states[1], atol=1e-6, rtol=1e-4)


def test_the_saved_processor_does_what_the_centre_crop_does(photographs):
    name, photograph = photographs[0]
    processor = classification_processor(64, (0.5, 0.4, 0.3), (0.2, 0.2, 0.3))
    width, height = photograph.size
    scale = round(64 * 256 / 224) / min(width, height)
    resized = photograph.resize((int(width * scale), int(height * scale)), 3)
    left, top = (resized.width - 64) // 2, (resized.height - 64) // 2
    crop = torch.tensor(np.asarray(resized.crop((left, top, left + 64, top + 64)))) / 255
    expected = ((crop - torch.tensor([0.5, 0.4, 0.3])) / torch.tensor([0.2, 0.2, 0.3])).permute(2, 0, 1)
    ours = processor(images=photograph, return_tensors="pt").pixel_values[0]
    assert (ours - expected).abs().mean() < 0.02, name


def test_the_logged_rate_is_the_one_that_was_set(tmp_path):
    """The stock log names the first group's, the lowest layer's: 2.4 % of the rate for a ViT-B."""
    trainer = trainer_for(tmp_path, layer_decay=0.5, warmup_epochs=0)
    trainer.train()
    first = next(entry for entry in trainer.state.log_history if "loss" in entry)
    assert first["learning_rate"] == pytest.approx(1e-2 * 16 / 256)


def test_each_batch_of_an_accumulated_step_is_augmented_by_its_own_numbers(tmp_path):
    """A data set that tells no sample numbers: each batch of a step had the same augmentation."""
    seen = []

    class Spy(ThreeAugment):
        def forward(self, pixels, epoch, index):
            seen.append(tuple(index.tolist()))
            return super().forward(pixels, epoch, index)

    images, labels = coloured_images(32)
    dataset = [{"pixel_values": x, "labels": y} for x, y in zip(images, labels, strict=True)]
    args = arguments(tmp_path, gradient_accumulation_steps=2, per_device_train_batch_size=8)
    ClassifierTrainer(build_classifier(tiny_model(), NAMES), args, augment=Spy(), train_dataset=dataset).train()
    assert len(seen) == 8
    assert len({number for row in seen for number in row}) == 64, "a number came twice"


def test_the_best_model_is_the_average_that_was_scored_best(tmp_path):
    """The last average replaced the best model at the end."""
    trainer = trainer_for(
        tmp_path, ema_decay=0.9, num_train_epochs=6, eval_strategy="epoch", save_strategy="epoch", learning_rate=0.03,
        warmup_epochs=0, load_best_model_at_end=True, metric_for_best_model="loss", greater_is_better=True,
    )  # fmt: skip
    trainer.train()
    losses = {entry["step"]: entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry}
    best = max(losses, key=losses.get)  # the first: "best" is turned round, as this run gets better to its end
    assert best < trainer.state.global_step
    assert trainer.evaluate()["eval_loss"] == pytest.approx(losses[best], rel=1e-5)
    facts = trainer.run_facts()
    assert facts["best_step"] == best
    assert facts["eval_loss"] == losses[best]
    assert facts["eval_accuracy"] == next(
        e["eval_accuracy"] for e in trainer.state.log_history if e.get("step") == best and "eval_accuracy" in e
    )


def test_the_card_names_the_optimizer_that_ran(tmp_path):
    trainer = trainer_for(tmp_path, optim="sgd", optim_args="momentum=0.8")
    trainer.train()
    assert trainer.run_facts()["optimizer"]["name"] == "SGD"
    trainer.create_model_card()
    card = (tmp_path / "README.md").read_text()
    assert "| SGD |" in card
    assert "AdamW" not in card
