"""Transformers 4.57 and 5.23, each alone in an environment of its own: they read what we push, and we what they write.

`make test-compat` makes the environments and runs this.
"""

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor

from dailymae_hf.downstream.classifier import build_classifier
from dailymae_hf.downstream.trainer import classification_processor
from dailymae_hf.hub.card import model_card
from dailymae_hf.model.image_processors import image_processor
from dailymae_hf.model.modeling import DailyMAEForPreTraining
from dailymae_hf.model.plain_vit import write_encoder_beside
from tests.support.card_facts import FACTS
from tests.support.in_memory import tiny_model
from tests.support.loopback_hub import LoopbackHub, Repository

HERE = Path(__file__).parent
ENVIRONMENTS = os.environ.get("COMPAT_ENVIRONMENTS")
VERSIONS = sorted(path.stem.removeprefix("transformers-") for path in HERE.glob("transformers-*.txt"))
NAMES = ["astronaut", "cat", "coffee"]
PRETRAINED, FINE_TUNED, PROBED = (f"tester/{name}" for name in ("pretrained", "fine-tuned", "probed"))
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(ENVIRONMENTS is None, reason="`make test-compat` makes the environments for it"),
]


def python(version, folder, *words, environment=None):
    """Run the environment's Python in `folder` where nothing of ours can be imported."""
    executable = str(Path(ENVIRONMENTS) / version / "bin" / "python")
    done = subprocess.run(
        [executable, "-I", *map(str, words)],
        cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def filled(model):
    """The model with every parameter moved from its first value, so that none can be lost unseen."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, photographs):
    path = tmp_path_factory.mktemp("compat") / "inputs.npz"
    generator = torch.Generator().manual_seed(2)
    np.savez(
        path,
        image=np.asarray(photographs[0][1].resize((50, 40))),
        pixels=torch.randn(2, 3, 32, 32, generator=generator).numpy(),
        noise=torch.rand(2, 16, generator=generator).numpy(),
    )
    return path


@pytest.fixture(scope="module")
def models():
    """Ours: the masked autoencoder, and the two kinds of classifier made of it."""
    encoder = filled(tiny_model(norm_pix_loss=True))
    return {
        PRETRAINED: encoder,
        FINE_TUNED: filled(build_classifier(encoder, NAMES, pooling="mean")),
        PROBED: filled(build_classifier(encoder, NAMES, pooling="cls")),
    }


@pytest.fixture(scope="module")
def processors():
    return {
        PRETRAINED: image_processor(32, MEAN, STD),
        FINE_TUNED: classification_processor(32, MEAN, STD),
        PROBED: classification_processor(32, MEAN, STD),
    }


@pytest.fixture(scope="module")
def hub(models, processors, tmp_path_factory):
    """A Hub that has all three, each with its card."""
    with LoopbackHub() as server:
        for name, model in models.items():
            folder = tmp_path_factory.mktemp("pushed") / "run"
            model.save_pretrained(folder)
            processors[name].save_pretrained(folder)
            kind = "pretraining" if name == PRETRAINED else "classification"
            facts = FACTS | {"kind": kind, "num_labels": None if name == PRETRAINED else 3}
            (folder / "run_facts.json").write_text(json.dumps(facts))
            (folder / "README.md").write_text(model_card(folder, source=name))
            repository = Repository(private=False)
            if kind == "pretraining":
                write_encoder_beside(folder)
            paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "run_facts.json")
            files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
            repository.add("push", files)
            server.repositories[f"models/{name}"] = repository
        yield server


@pytest.fixture(scope="module", params=VERSIONS)
def read(request, hub, inputs, tmp_path_factory):
    """What the environment's transformers computed from the pushed models."""
    folder = tmp_path_factory.mktemp(f"reader-{request.param}")
    words = (HERE / "reader.py", inputs, folder / "outputs.npz", PRETRAINED, FINE_TUNED, PROBED)
    python(request.param, folder, *words, environment=hub.environment(folder / "home"))
    found = np.load(folder / "outputs.npz")
    assert str(found["version"]).startswith(request.param)
    return found


def close(found, expected):
    assert np.shape(found) == tuple(expected.shape)
    assert np.abs(np.asarray(found) - expected.detach().numpy()).max() < 1e-5


@pytest.fixture(scope="module")
def given(inputs):
    return {name: torch.from_numpy(value) for name, value in np.load(inputs).items()}


@torch.no_grad()
def test_the_autoencoder_has_the_same_loss_for_the_same_noise(read, models, given):
    ours = models[PRETRAINED](given["pixels"], noise=given["noise"])
    close(read["loss"], ours.loss)
    full = DailyMAEForPreTraining.forward(models[PRETRAINED], given["pixels"], noise=given["noise"], return_logits=True)
    hidden = full.mask.bool()
    close(torch.from_numpy(read["reconstruction"])[hidden], full.logits[hidden])


@torch.no_grad()
def test_the_encoder_gives_the_same_tokens_to_three_classes(read, models, given):
    patches = models[PRETRAINED].encode(given["pixels"])
    normed = models[PRETRAINED].vit.layernorm
    tokens = torch.from_numpy(read["tokens"])
    assert tokens.shape == (2, 17, 32)
    close(tokens[:, 1:], normed(patches))
    close(read["begun_tokens"], tokens)
    close(read["encoder"], tokens)
    visible = given["noise"].argsort(dim=1)[:, :4]
    encoded = models[PRETRAINED].vit(given["pixels"], noise=given["noise"]).last_hidden_state
    close(read["visible"], encoded)
    assert read["visible"].shape[1] == 1 + visible.shape[1]


@torch.no_grad()
def test_classifiers_give_the_same_logits(read, models, given):
    close(read["fine_tuned"], models[FINE_TUNED](given["pixels"]).logits)
    close(read["probed"], models[PROBED](given["pixels"]).logits)


@torch.no_grad()
def test_processors_and_pipelines_say_the_same(read, models, processors, given):
    image = Image.fromarray(given["image"].numpy())
    pixels = {name: processor(image, return_tensors="pt").pixel_values for name, processor in processors.items()}
    for name, expected in pixels.items():
        close(read[f"processed/{name}"], expected)
    encoder = models[PRETRAINED]
    close(read["features"], encoder.vit.layernorm(encoder.encode(pixels[PRETRAINED])).mean(dim=1))
    for name in (FINE_TUNED, PROBED):
        scores, order = models[name](pixels[name]).logits.softmax(dim=-1)[0].sort(descending=True)
        assert list(read[f"labels/{name}"]) == [NAMES[number] for number in order.tolist()]
        close(read[f"scores/{name}"], scores)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [PRETRAINED, FINE_TUNED])
def test_the_cards_code_runs(version, name, hub, photographs, tmp_path):
    code = re.findall(r"^```python\n(.*?)^```", hub.files(name)["README.md"].decode(), re.M | re.S)
    assert len(code) == 2
    photographs[0][1].save(tmp_path / "photograph.jpg")
    checks = {
        PRETRAINED: "assert features.shape == (1, 32) and patches.shape == (1, 16, 32) and len(tokens[0]) == 17",
        FINE_TUNED: f"assert label in {NAMES} and {{answer['label'] for answer in answers}} == set({NAMES})",
    }
    (tmp_path / "card.py").write_text("\n".join([*code, checks[name]]))
    python(version, tmp_path, "card.py", environment=hub.environment(tmp_path / "home"))


@pytest.mark.parametrize("version", VERSIONS)
@torch.no_grad()
def test_we_read_what_it_writes(version, inputs, given, tmp_path):
    python(version, tmp_path, HERE / "writer.py", inputs, tmp_path)
    expected = np.load(tmp_path / "expected.npz")
    model, report = DailyMAEForPreTraining.from_pretrained(tmp_path / "autoencoder", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["mismatched_keys"]
    outputs = model.eval()(given["pixels"], noise=given["noise"], return_logits=True)
    close(expected["loss"], outputs.loss)
    close(expected["logits"][outputs.mask.bool()], outputs.logits[outputs.mask.bool()])
    processor = AutoImageProcessor.from_pretrained(tmp_path / "processor")
    assert list(processor.image_mean) == [0.4, 0.5, 0.6]
