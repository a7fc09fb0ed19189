#!/usr/bin/env bash
# From a bare Debian or Ubuntu machine to a .venv that runs the demo and the tests.
#
#   scripts/bootstrap.sh                      does what is missing; under a second when nothing is
#   PYTHON=python3.12 scripts/bootstrap.sh    with this interpreter (3.11 or newer)
#   TORCH=cuda scripts/bootstrap.sh           with a torch for CUDA, or `cpu` for one without; where it is not said, a
#                                             machine with an NVIDIA GPU gets CUDA. Say it where an image is built or on
#                                             a login node: what was asked for and cannot be had is an error.
#
# Needs root or sudo only when a system package is missing. Reads nothing from the terminal but sudo's password.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
venv=$root/.venv
stamp=$venv/.bootstrap-stamp
kernel_stamp=$venv/.kernel-stamp

case ${TORCH:=} in "" | cpu | cuda) ;; *) printf 'set-up stopped: TORCH=%s is neither cpu nor cuda\n' "$TORCH" >&2; exit 1 ;; esac

say() { printf '==> %s\n' "$*"; }
fail() { printf '\nset-up stopped: %s\n' "$*" >&2; exit 1; }

# ---------------------------------------------------------------- is there anything to do?

# The folder is part of it because a virtual environment that was moved does not work.
installed_from() { { cat constraints.txt pyproject.toml scripts/bootstrap.sh; echo "$root"; } | sha256sum; }
kernel_built_from() { cat setup.py dailymae_hf/_native/*.[ch] dailymae_hf/_native/*/*.[ch] | sha256sum; }

# `cuda` or `cpu`: the kind of torch that .venv has; nothing where it has none.
torch_kind() {
    "$venv/bin/python" -c 'import importlib.util as u, runpy
spec = u.find_spec("torch")
path = spec and spec.submodule_search_locations[0] + "/version.py"
print("" if not spec else "cuda" if runpy.run_path(path)["cuda"] else "cpu")' 2> /dev/null
}
torch_is_wanted() { [ -z "$TORCH" ] || [ "$TORCH" = "$(torch_kind)" ]; }

python_is_wanted() {
    [ -z "${PYTHON:-}" ] || [ "$(base_python "$PYTHON")" = "$(base_python "$venv/bin/python")" ]
}
base_python() { "$1" -c 'import sys; print(sys.base_prefix, sys.version_info[:2])'; }

build_kernel() {
    say "building the crop-decode kernel"
    "$venv/bin/python" setup.py --quiet build_ext --inplace
    kernel_built_from > "$kernel_stamp"
}

if [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$(installed_from)" ] && python_is_wanted &&
    torch_is_wanted; then
    [ "$(cat "$kernel_stamp" 2>/dev/null)" = "$(kernel_built_from)" ] || build_kernel
    exit 0
fi

# ---------------------------------------------------------------- interpreter

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_new_enough "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.11 or newer"
        command -v "$PYTHON"
        return
    fi
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11; do
        if is_new_enough "$candidate"; then command -v "$candidate"; return; fi
    done
}

# ---------------------------------------------------------------- system packages

# ffcv's build asks pkg-config for `opencv4` and includes <opencv2/opencv.hpp>: that is libopencv-dev, some 800 MB
# with all that it pulls in. ffcv calls nothing but cv::Mat and cv::resize, so a pkg-config file and a header that
# name only the two modules those live in let it build from libopencv-core-dev and libopencv-imgproc-dev.
ffcv_build=$(mktemp -d)
trap 'rm -rf "$ffcv_build"' EXIT
export PKG_CONFIG_PATH=$ffcv_build${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}

describe_opencv() {
    mkdir -p "$ffcv_build/opencv2"
    printf '#include <opencv2/core.hpp>\n#include <opencv2/imgproc.hpp>\n' > "$ffcv_build/opencv2/opencv.hpp"
    cat > "$ffcv_build/opencv4.pc" << END
Name: opencv4
Description: the two modules of OpenCV that ffcv calls
Version: 4
Cflags: -I$ffcv_build -I/usr/include/opencv4
Libs: -lopencv_imgproc -lopencv_core
END
}

# Compiles and links against all that ffcv and our kernel need; prints what went wrong.
try_to_compile() {
    local python=$1 include
    [ -n "$python" ] || { echo "there is no Python 3.11 or newer"; return 1; }
    "$python" -c 'import ensurepip, venv' || return 1
    include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    cat > "$ffcv_build/probe.cpp" << 'END'
#include <Python.h>
#include <cstdio>
#include <jpeglib.h>
#include <opencv2/opencv.hpp>
#include <turbojpeg.h>
int main() {
    jpeg_error_mgr errors;
    jpeg_std_error(&errors);
    cv::Mat from(2, 2, CV_8UC3), to;
    cv::resize(from, to, cv::Size(1, 1), 0, 0, cv::INTER_AREA);
    tjDestroy(tjInitDecompress());
}
END
    # shellcheck disable=SC2046,SC2086  # flags are words
    ${CXX:-c++} ${CPPFLAGS:-} "-I$include" "$ffcv_build/probe.cpp" -o "$ffcv_build/probe" \
        $(pkg-config --cflags --libs opencv4 libturbojpeg) ${LDFLAGS:-} -ljpeg
}

system_packages() {
    local python=$1 version
    echo g++ make pkg-config libjpeg-dev libturbojpeg0-dev libopencv-core-dev libopencv-imgproc-dev
    echo libgl1 libglib2.0-0 # what the opencv-python wheel, which ffcv asks for, loads
    case $python in
        "") echo python3 python3-venv python3-dev ;;
        /usr/bin/*)
            version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
            echo "python$version-venv" "python$version-dev"
            ;;
    esac
}

install_system_packages() {
    local packages sudo=()
    packages=$(system_packages "$1" | tr '\n' ' ')
    command -v apt-get > /dev/null || fail "this is neither Debian nor Ubuntu. Install the like of these packages:
    $packages
or install the wheel, which needs none of them: see docs/install.md."
    if [ "$(id -u)" != 0 ]; then
        # Without a terminal nobody could type a password.
        if command -v sudo > /dev/null && { [ -t 0 ] || sudo -n true 2> /dev/null; }; then
            sudo=(sudo)
        else
            fail "system packages are missing and this is not root. Ask an administrator for
    apt-get install --no-install-recommends $packages
or install the wheel, which needs neither root nor a compiler: see docs/install.md."
        fi
    fi
    say "installing system packages: $packages"
    "${sudo[@]}" apt-get update -qq
    # shellcheck disable=SC2086  # one word per package
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $packages < /dev/null > "$ffcv_build/apt.log" 2>&1 ||
        { cat "$ffcv_build/apt.log" >&2; fail "apt-get did not succeed (see above)"; }
}

cv2_can_be_loaded() { # the libraries that the opencv-python wheel does not bring along
    local known
    known=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2> /dev/null || true)
    [[ $known == *libGL.so.1* && $known == *libgthread-2.0.so.0* ]]
}

describe_opencv
python=$(find_python)
if ! try_to_compile "$python" > /dev/null 2>&1 || ! cv2_can_be_loaded; then
    install_system_packages "$python"
    python=$(find_python)
    try_to_compile "$python" > "$ffcv_build/probe.log" 2>&1 || { cat "$ffcv_build/probe.log" >&2
        fail "a program with Python.h, libjpeg, libturbojpeg and OpenCV does not compile with ${python:-any python} (see above)"; }
fi

# ---------------------------------------------------------------- .venv

if [ ! -x "$venv/bin/python" ] || [ "$(base_python "$python")" != "$(base_python "$venv/bin/python" 2> /dev/null)" ]; then
    say "creating .venv with $("$python" --version)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi
rm -f "$stamp"

pip() { "$venv/bin/python" -m pip "$1" --disable-pip-version-check --quiet "${@:2}" < /dev/null; }

install_torch() {
    local version kind=$TORCH
    version=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' constraints.txt)
    if "$venv/bin/python" -m pip freeze 2> /dev/null | grep -q "^torch==$version" && torch_is_wanted; then return; fi
    [ -n "$kind" ] || { nvidia-smi -L > /dev/null 2>&1 && kind=cuda || kind=cpu; }
    if [ "$kind" = cuda ]; then
        say "installing torch $version with CUDA (some gigabytes)"
        pip install --force-reinstall --no-deps "torch==$version" -c constraints.txt
        pip install "torch==$version" -c constraints.txt
    else
        say "installing torch $version for the CPU"
        # Where the configured index has no CPU wheels, PyTorch's own has.
        pip install "torch==$version+cpu" -c constraints.txt 2> /dev/null ||
            pip install "torch==$version+cpu" -c constraints.txt --retries 1 --timeout 30 \
                --extra-index-url https://download.pytorch.org/whl/cpu 2> /dev/null || {
            [ -z "$TORCH" ] || fail "TORCH=cpu: no index that can be reached has torch $version for the CPU"
            say "no CPU wheel of torch can be reached; taking the plain one (some gigabytes)"
            pip install "torch==$version" -c constraints.txt
        }
    fi
    torch_is_wanted || fail "TORCH=$TORCH: the package index gave a torch $version for $(torch_kind)"
}

pip install "$(grep -o '^setuptools==[^ ]*' constraints.txt)" wheel
install_torch
say "installing ffcv, transformers, accelerate and the rest"
# Built here and against the pinned setuptools: a cached wheel could be linked to another OpenCV.
pip install --no-deps --no-cache-dir --use-pep517 --no-build-isolation "$(grep -o '^ffcv==[^ ]*' constraints.txt)"
pip install -c constraints.txt --use-pep517 --no-build-isolation -e '.[ffcv,demo,onnx,test,lint]'
kernel_built_from > "$kernel_stamp"
say "checking that it loads"
"$venv/bin/python" -c 'import ffcv, torch, transformers; from dailymae_hf import _native; _native.load()' ||
    fail "the packages are installed but cannot be loaded (see above)"
installed_from > "$stamp"
say "ready: $("$venv/bin/python" --version), torch $("$venv/bin/python" -c 'import torch; print(torch.__version__)')"
