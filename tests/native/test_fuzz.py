"""The fuzz body over its corpus and some mutations of it, under sanitizers. `make fuzz` runs the million."""

import shutil
import subprocess
from pathlib import Path

import pytest

from . import fuzz_seeds

HERE = Path(__file__).parent
KERNEL = HERE.parents[1] / "dailymae_hf" / "_native"
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory) -> Path:
    """The kernel, the body and the driver, built with sanitizers."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("fuzz")
    probe = folder / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    if subprocess.run(
        [compiler, *SANITIZERS, probe, "-o", folder / "probe"], capture_output=True, check=False
    ).returncode:
        pytest.skip(f"{compiler} has no address and undefined-behaviour sanitizers")
    program = folder / "fuzz"
    sources = [*sorted(KERNEL.rglob("*.c")), HERE / "fuzz_body.c", HERE / "fuzz_driver.c"]
    flags = ["-std=c11", "-O1", "-g", *SANITIZERS, f"-I{KERNEL}", *map(str, sources), "-ljpeg", "-lm", "-lpthread"]
    subprocess.run([compiler, *flags, "-o", str(program)], check=True)
    return program


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_found(fuzzer, tmp_path, seed):
    count = fuzz_seeds.write(tmp_path / "corpus")
    assert count > 150
    done = subprocess.run(
        [fuzzer, tmp_path / "corpus", "4000", str(seed)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"4000 inputs from {count} seeds: nothing found" in done.stdout
    assert done.stderr == ""
