#!/usr/bin/env bash
# The kernel's tests on the aarch64 wheel, under qemu's emulation of the processor: the NEON code is executed.
#
#   scripts/test_aarch64.sh [pytest arguments]      default: tests/native
#
# Needs a Debian or Ubuntu machine with qemu-user-static, and what scripts/build_wheels.sh aarch64 leaves; no root. Takes
# an aarch64 Python from Debian's packages and the tests' packages from their aarch64 wheels. Slow: minutes to hours.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
wheels=$root/build/wheels
work=$root/build/aarch64
cd "$root"

say() { printf '==> %s\n' "$*"; }
fail() { printf '\nnot tested: %s\n' "$*" >&2; exit 1; }

get_python() {
    [ -f "$work/root/done" ] && return
    say "unpacking Debian's aarch64 Python"
    local apt=$work/apt options package
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$work/root"
    touch "$apt/status"
    options=(-qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o "Dir::State=$apt"
        -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache")
    apt-get "${options[@]}" update
    apt-get "${options[@]}" install -y --no-install-recommends --download-only python3 libstdc++6 > /dev/null
    for package in "$apt"/cache/archives/*.deb; do dpkg-deb -x "$package" "$work/root"; done
    touch "$work/root/done"
}

write_programs() { # `python` is the emulated one; `cc` makes aarch64 programs that link our libjpeg
    mkdir -p "$work/bin"
    printf '#!/bin/sh\nPYTHONHOME=%s exec qemu-aarch64-static -L %s -0 %s %s "$@"\n' "$work/root/usr" "$work/root" \
        "$work/bin/python" "$work/root/usr/bin/$version" > "$work/bin/python"
    printf '#!/bin/sh\nexec %s -I%s -I%s -L%s "$@"\n' "$wheels/aarch64/bin/cc" "$wheels/aarch64/libjpeg" \
        "${LIBJPEG_TURBO:-$wheels/libjpeg-turbo}" "$wheels/aarch64/libjpeg" > "$work/bin/cc"
    chmod +x "$work/bin/python" "$work/bin/cc"
}

get_packages() {
    [ -f "$work/site/done" ] && return
    say "fetching the tests' aarch64 packages"
    local name packages=() platform=(--platform any --platform manylinux2014_aarch64)
    for name in 2_17 2_24 2_27 2_28; do platform+=(--platform "manylinux_${name}_aarch64"); done
    for name in numpy pillow pytest pytest-timeout scikit-image scikit-learn scipy; do
        packages+=("$(grep -o "^$name==[^ ]*" constraints.txt)")
    done
    # torch is only imported: 2.9.1 is the newest whose aarch64 wheel is without CUDA.
    packages+=(torch==2.9.1 opencv-python-headless iniconfig pluggy packaging pygments joblib cloudpickle threadpoolctl
        lazy-loader imageio networkx tifffile sympy mpmath filelock fsspec typing-extensions jinja2 markupsafe narwhals)
    "$wheels/tools/bin/pip" download --disable-pip-version-check --quiet --no-deps --dest "$work/packages" \
        "${platform[@]}" --python-version "${version#python}" --only-binary :all: "${packages[@]}"
    for name in "$work"/packages/*.whl; do "$wheels/tools/bin/python" -m zipfile -e "$name" "$work/site"; done
    touch "$work/site/done"
}

command -v qemu-aarch64-static > /dev/null || fail "apt-get install qemu-user-static"
wheel=$(compgen -G "dist/*-manylinux_*_aarch64.whl" | tail -1) || fail "run scripts/build_wheels.sh aarch64 first"
get_python
version=$(basename "$(compgen -G "$work/root/usr/bin/python3.[0-9]*" | head -1)")
write_programs
get_packages
# The tests beside the wheel's package, so that no kernel of this machine can be taken for it.
rm -rf "$work/tree" && mkdir -p "$work/tree"
cp -r tests scripts pyproject.toml "$work/tree"
"$wheels/tools/bin/python" -m zipfile -e "$wheel" "$work/tree"
cd "$work/tree"
export PYTHONPATH=$work/tree:$work/site PATH=$work/bin:$PATH
say "testing on $(python -c 'import platform as p; print(p.machine(), p.python_version())')"
# The fuzz tests compile the kernel's sources for the machine they run on.
exec python -m pytest -p no:cacheprovider --timeout 6000 --ignore tests/native/test_fuzz.py "${@:-tests/native}"
