"""The manifest of a checkpoint folder: every kind of damage is found and named, and everything reaches the disk."""

import json
import os
import zlib

import pytest

from dailymae_hf.training.manifest import MANIFEST_NAME, damage, write_manifest

CONTENTS = {"model.safetensors": bytes(range(256)) * 5000, "optimizer.pt": b"moments", "parts_0/__0.distcp": b"shard"}


@pytest.fixture
def folder(tmp_path):
    for name, content in CONTENTS.items():
        path = tmp_path / "checkpoint-4" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    write_manifest(tmp_path / "checkpoint-4")
    return tmp_path / "checkpoint-4"


def test_names_sizes_and_checksums_are_those_of_the_files(folder):
    files = json.loads((folder / MANIFEST_NAME).read_text())["files"]
    assert files == {
        name: {"bytes": len(content), "crc32": f"{zlib.crc32(content):08x}"} for name, content in CONTENTS.items()
    }
    assert damage(folder) is None


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("how", ["truncated", "emptied", "flipped", "longer", "gone"])
def test_damage_to_any_file_is_found_and_named(folder, name, how):
    path, content = folder / name, CONTENTS[name]
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(
            {"truncated": content[:-1], "emptied": b"", "flipped": bytes(flipped), "longer": content + b"0"}[how]
        )
    said = damage(folder)
    assert said is not None
    assert said.startswith(str(path))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"files": 3}', b'{"files": {"a": {"bytes": 3}}}', b"\xff\xfe"])
def test_a_damaged_manifest_is_damage(folder, content):
    (folder / MANIFEST_NAME).write_bytes(content)
    assert str(folder / MANIFEST_NAME) in (damage(folder) or "")


@pytest.mark.parametrize("place", range(5, 280, 11))
def test_a_flipped_byte_of_the_manifest_is_the_manifests_damage(folder, place):
    """Not that of a file whose name or size it then says wrongly."""
    path = folder / MANIFEST_NAME
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    said = damage(folder)
    harmless = json.loads(bytes(content)) if said is None else None  # white space, and words that nothing reads
    assert harmless is not None or said.startswith(f"{path} is damaged"), said


def test_a_folder_without_a_manifest_is_not_whole(folder):
    (folder / MANIFEST_NAME).unlink()
    assert "was not finished" in (damage(folder) or "")


def test_files_and_folders_reach_the_disk_and_the_manifest_last(tmp_path, monkeypatch):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    synced, sync = [], os.fsync

    def noted(descriptor):
        synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    write_manifest(tmp_path)
    assert set(synced[:2]) == {"a", "b"}
    assert synced[2] == MANIFEST_NAME
    assert set(synced[3:]) == {"parts", tmp_path.name}
