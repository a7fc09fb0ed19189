"""Weights in files that a group or everybody may read, where the umask says so."""

import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from dailymae_hf.model.plain_vit import write_encoder_beside
from dailymae_hf.model.weight_files import open_to_readers, save_tensors
from tests.support.in_memory import tiny_model


@pytest.fixture(params=[0o022, 0o027, 0o077])
def mode(request):
    """Of a new file under this umask."""
    before = os.umask(request.param)
    yield 0o666 & ~request.param
    os.umask(before)


def mode_of(path):
    return path.stat().st_mode & 0o777


def test_a_saved_model_and_its_encoder_have_the_mode_of_every_new_file(tmp_path, mode):
    tiny_model().save_pretrained(tmp_path)
    encoder = write_encoder_beside(tmp_path)
    files = [path for folder in (tmp_path, encoder) for path in folder.iterdir() if path.is_file()]
    assert len(files) >= 4
    assert {mode_of(path) for path in files} == {mode}


def test_tensors_of_any_layout_are_written_and_the_mode_is_the_umask_s(tmp_path, mode):
    transposed = torch.arange(6.0).reshape(2, 3).T
    save_tensors({"a": transposed}, tmp_path / "state.safetensors")
    assert torch.equal(load_file(tmp_path / "state.safetensors")["a"], transposed)
    assert [(path.name, mode_of(path)) for path in tmp_path.iterdir()] == [("state.safetensors", mode)]


def test_a_mode_that_somebody_chose_stays(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "state.safetensors")
    (tmp_path / "state.safetensors").chmod(0o640)
    open_to_readers(tmp_path)
    assert mode_of(tmp_path / "state.safetensors") == 0o640
