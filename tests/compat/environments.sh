#!/usr/bin/env bash
# One virtual environment for each transformers-*.txt here, in FOLDER/VERSION: transformers of that version, all else
# (torch, numpy, Pillow, ...) from .venv, and this package from nowhere. And timm in FOLDER/timm, without the torchvision
# that it asks for: where both were in .venv, transformers would take other code paths.
#
#   tests/compat/environments.sh FOLDER      does what is missing; under a second when nothing is
set -euo pipefail

folder=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=$(cd "$here/../.." && pwd)/.venv/bin/python
shared=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

for list in "$here"/transformers-*.txt; do
    version=$(basename "$list" .txt)
    version=${version#transformers-}
    own=$folder/$version
    stamp=$own/.installed
    wanted=$(cat "$list" "${BASH_SOURCE[0]}"; echo "$shared $own")
    [ "$(cat "$stamp" 2> /dev/null)" = "$wanted" ] && continue
    echo "==> an environment with transformers $version"
    rm -rf "$own"
    "$python" -m venv --without-pip "$own"
    site=$("$own/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    "$python" -m pip install --disable-pip-version-check --quiet --no-deps --target "$site" -r "$list" < /dev/null
    # Named in a .pth, the shared packages come after those just installed, and their own .pth files are not read:
    # that is where an editable install of this package would be found.
    echo "$shared" > "$site/shared.pth"
    "$own/bin/python" -c "import transformers; assert transformers.__version__.startswith('$version')"
    printf '%s\n' "$wanted" > "$stamp"
done

list=$here/timm.txt
if [ "$(cat "$folder/timm/.installed" 2> /dev/null)" != "$(cat "$list")" ]; then
    echo "==> timm"
    rm -rf "$folder/timm"
    "$python" -m pip install --disable-pip-version-check --quiet --no-deps --target "$folder/timm" -r "$list" < /dev/null
    cp "$list" "$folder/timm/.installed"
fi
