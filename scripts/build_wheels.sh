#!/usr/bin/env bash
# Wheels that need no compiler, no libjpeg and no root where they are installed, one per kind of processor, into dist/:
#
#   scripts/build_wheels.sh                  x86_64 and aarch64
#   scripts/build_wheels.sh aarch64          one of them; any machine builds both
#
# Needs Python 3.11, nasm for x86_64, and libjpeg-turbo's sources: Debian's package, which apt-get and dpkg-dev fetch
# without root, or the folder LIBJPEG_TURBO. Zig, from PyPI, compiles for a glibc as old as the tag says. Works in
# build/wheels.
set -euo pipefail

glibc=2.28
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$root/build/wheels
cd "$root"

say() { printf '==> %s\n' "$*"; }
fail() { printf '\nno wheel: %s\n' "$*" >&2; exit 1; }

pinned() { grep -o "^$1==[^ ]*" constraints.txt; }

get_tools() { # compiler, builder and checker, at the pinned versions
    [ -x "$work/tools/bin/auditwheel" ] && return
    say "installing zig, cmake, ninja and auditwheel"
    "${PYTHON:-python3}" -m venv "$work/tools"
    local packages=() name
    for name in ziglang cmake ninja auditwheel setuptools; do packages+=("$(pinned $name)"); done
    "$work/tools/bin/pip" install --disable-pip-version-check --quiet "${packages[@]}"
}

get_source() { # libjpeg-turbo's into $source
    source=${LIBJPEG_TURBO:-$work/libjpeg-turbo}
    [ -f "$source/jpeglib.h" ] && return
    command -v apt-get > /dev/null || fail "set LIBJPEG_TURBO to a folder with libjpeg-turbo's sources"
    say "fetching the sources of libjpeg-turbo"
    local apt=$work/apt options
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    # The system's own sources with deb-src for deb, in a folder of ours: no root, and the system stays as it is.
    sed -n 's/^deb /deb-src /p' /etc/apt/sources.list > "$apt/sources.list" 2> /dev/null || true
    sed 's/^Types: .*/Types: deb-src/' /etc/apt/sources.list.d/{debian,ubuntu}.sources \
        > "$apt/system.sources" 2> /dev/null || true
    options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o "Dir::Etc::sourceparts=$apt" -o "Dir::State::lists=$apt/lists"
        -o "Dir::Cache=$apt/cache")
    apt-get "${options[@]}" -qq update
    (cd "$apt" && apt-get "${options[@]}" -qq source libjpeg-turbo > source.log 2>&1) ||
        { cat "$apt/source.log" >&2; fail "apt-get has no sources of libjpeg-turbo (see above)"; }
    mv "$apt"/libjpeg-turbo-*/ "$source"
}

write_tools_for() { # programs named as a build expects them: cc, ar, ranlib
    local bin=$work/$1/bin zig name
    zig=$("$work/tools/bin/python" -c 'import pathlib, ziglang; print(pathlib.Path(ziglang.__file__).with_name("zig"))')
    mkdir -p "$bin"
    printf '#!/bin/sh\nexec "%s" cc -target %s-linux-gnu.%s "$@"\n' "$zig" "$1" "$glibc" > "$bin/cc"
    for name in ar ranlib; do printf '#!/bin/sh\nexec "%s" %s "$@"\n' "$zig" "$name" > "$bin/$name"; done
    chmod +x "$bin"/*
}

build_libjpeg() { # a static one whose names stay inside the kernel: other packages bring other libjpegs
    say "building libjpeg-turbo for $1"
    local build=$work/$1/libjpeg bin=$work/$1/bin
    {
        "$work/tools/bin/cmake" -G Ninja -S "$source" -B "$build" -DCMAKE_MAKE_PROGRAM="$work/tools/bin/ninja" \
            -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR="$1" -DCMAKE_BUILD_TYPE=Release \
            -DCMAKE_C_COMPILER="$bin/cc" -DCMAKE_AR="$bin/ar" -DCMAKE_RANLIB="$bin/ranlib" \
            -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DCMAKE_C_FLAGS=-fvisibility=hidden -DCMAKE_POLICY_VERSION_MINIMUM=3.5 \
            -DENABLE_SHARED=0 -DWITH_TURBOJPEG=0 -DREQUIRE_SIMD=1 &&
            "$work/tools/bin/cmake" --build "$build" --target jpeg-static
    } > "$work/$1/libjpeg.log" 2>&1 || { tail -20 "$work/$1/libjpeg.log" >&2; fail "libjpeg-turbo does not build (see above)"; }
}

build_wheel() {
    say "building the wheel for $1"
    local libjpeg=$work/$1/libjpeg tree=$work/$1/tree
    rm -rf "$tree" && mkdir -p "$tree" dist
    git ls-files -z --cached --others --exclude-standard | xargs -0 cp -P --parents -t "$tree" # no left-overs of other builds
    rm -f "$tree/.venv"
    (cd "$tree" && CC=$work/$1/bin/cc LDSHARED="$work/$1/bin/cc -shared" CFLAGS="-I$libjpeg -I$source" \
        LDFLAGS="-L$libjpeg -s" "$work/tools/bin/python" setup.py --quiet bdist_wheel \
        --plat-name "manylinux_${glibc/./_}_$1" --dist-dir "$root/dist") > "$work/$1/wheel.log" 2>&1 &&
        compgen -G "$root/dist/*-py3-none-manylinux_${glibc/./_}_$1.whl" > /dev/null ||
        { tail -20 "$work/$1/wheel.log" >&2; fail "the kernel does not build (see above)"; }
}

check_wheel() { # auditwheel's verdict: nothing but the C library, and none newer than the tag says
    local wheel verdict=$work/$1/auditwheel.log least
    wheel=$(compgen -G "$root/dist/*-py3-none-manylinux_${glibc/./_}_$1.whl" | tail -1)
    "$work/tools/bin/auditwheel" show "$wheel" > "$verdict"
    least=$(grep -o "manylinux_2_[0-9]*_$1\"" "$verdict" | head -1 | cut -d_ -f3)
    ! grep -q "external shared libraries are required" "$verdict" && [ "${least:-99}" -le "${glibc#2.}" ] ||
        { cat "$verdict" >&2; fail "auditwheel finds $wheel to need more than its tag says (see above)"; }
    say "$(du -h "$wheel" | cut -f1) $wheel (glibc 2.$least or newer)"
}

mkdir -p "$work"
get_tools
get_source
[ $# -gt 0 ] || set -- x86_64 aarch64
for processor; do
    [ "$processor" != x86_64 ] || command -v nasm > /dev/null || fail "x86_64 needs nasm: apt-get install nasm"
    write_tools_for "$processor"
    build_libjpeg "$processor"
    build_wheel "$processor"
    check_wheel "$processor"
done
