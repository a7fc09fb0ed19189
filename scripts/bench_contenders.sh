#!/usr/bin/env bash
# Installs the loaders that bench_loader.py and bench_sharp.py of benchmarks/ compare with into .bench, apart from .venv:
# Pillow-SIMD must not replace Pillow, and DALI brings a gigabyte. One that cannot be had is said and left out.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=.venv/bin/python

pip() { "$1" -m pip install --quiet --disable-pip-version-check -c constraints.txt "${@:2}" < /dev/null; }

contender() { # its name, then the command that installs it
    local folder=.bench/$1
    [ -e "$folder" ] && return
    echo "==> installing $1 into $folder"
    "${@:2}" || { rm -rf "$folder"; echo "    $1 cannot be installed here: the benchmark goes without it"; }
}

dali() { "$python" -m venv .bench/dali && pip .bench/dali/bin/python nvidia-dali-cuda120 numpy; }

contender pillow-simd pip "$python" --target .bench/pillow-simd --no-deps --use-pep517 pillow-simd
contender spdl pip "$python" --target .bench/spdl --no-deps spdl-core spdl-io
contender kornia-rs pip "$python" --target .bench/kornia-rs --no-deps kornia-rs
contender dali dali
