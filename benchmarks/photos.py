"""Photographs to measure with: views of freely licensed wallpapers that Debian packages, or of a folder of yours.

    python benchmarks/photos.py OUT [--count 1000] [--quality 90] [--aspect 4:3] [--folder MY_PHOTOS]

A view is a random window of a photograph, scaled to a longest side of 500 pixels and stored as a 4:2:0 JPEG: the
size and quality that an ImageNet file for FFCV usually has. The same seed writes the same bytes. The packages are
fetched with `apt-get download` and unpacked beside OUT; nothing is installed.
"""

import argparse
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageFilter

PACKAGES = ("plasma-workspace-wallpapers", "mate-backgrounds", "lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04")

# The photographs among the packages' drawings and gradients, below /usr/share. Left out are those mostly out of
# focus or empty sky: their files are half as large as what ImageNet's photographs take at the same size and quality.
PHOTOGRAPHS = tuple(
    pattern.format(name)
    for pattern, names in {
        "backgrounds/{}.jpg": (
            "Dragonfly_by_Bolly Kleiber_by_Lukas_Baubkus Wine_by_Jakkub_Mede "
            "Picture_0B_by_freespace Picture_1A_by_freespace aitzgorri_by_Aitzol_Berasategi "
            "friends_by_Aitzol_Berasategi life_by_Aitzol_Berasategi picosdeeuropa_by_Aitzol_Berasategi "
            "seeding_by_Clements_Engelhardt sunset_by_Aitzol_Berasategi"
        ),
        "backgrounds/mate/nature/{}.jpg": ("Dune GreenMeadow RainDrops"),
        "wallpapers/{}/contents/images/2560x1600.jpg": (
            "Autumn BytheWater ColorfulCups EveningGlow FallenLeaf OneStandsOut Path"
        ),
    }.items()
    for name in names.split()
)


def fetch_packages(folder: Path) -> list[Path]:
    """Download and unpack the wallpaper packages into `folder`; return the photographs' paths."""
    share = folder / "usr" / "share"
    if not share.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for package in PACKAGES:
            subprocess.run(["apt-get", "download", "-q", package], cwd=folder, check=True)
        for archive in sorted(folder.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", archive.name, "."], cwd=folder, check=True)
            archive.unlink()
    found = [share / name for name in PHOTOGRAPHS if (share / name).exists()]
    if not found:
        raise SystemExit(f"{folder}: none of the packages' photographs is there; name a folder of yours with --folder")
    return found


def views(
    sources: list[Path], count: int, longest: int, aspect: float, seed: int, *, sharpen: int = 0
) -> Iterator[Image.Image]:
    """`count` random windows of `sources`, RGB, `longest` pixels on the longer side, width / height = `aspect`, and
    sharpened by so many percent of an unsharp mask of one pixel's radius.

    A window is at least twice as wide as the view where the photograph allows it: web photographs are scaled down too,
    and a view at full size would be softer than they are.
    """
    rng = random.Random(seed)
    size = (longest, round(longest / aspect)) if aspect >= 1 else (round(longest * aspect), longest)
    photographs: dict[Path, Image.Image] = {}
    for i in range(count):
        path = sources[i % len(sources)]
        if path not in photographs:
            photographs[path] = Image.open(path).convert("RGB")
        image = photographs[path]
        widest = min(image.width, image.height * aspect)
        width = rng.uniform(min(2 * size[0], widest), widest)
        height = width / aspect
        left, top = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
        view = image.resize(size, Image.Resampling.LANCZOS, box=(left, top, left + width, top + height))
        yield view.filter(ImageFilter.UnsharpMask(1, sharpen, 0)) if sharpen else view


def write_photos(
    out: Path,
    *,
    count: int = 1000,
    longest: int = 500,
    quality: int = 90,
    aspect: float = 4 / 3,
    folder: Path | None = None,
    seed: int = 0,
    sharpen: int = 0,
) -> list[Path]:
    """Write `count` JPEG views into `out`, unless they are there already, and return their paths in order."""
    paths = [out / f"{i:05d}.jpg" for i in range(count)]
    if all(path.exists() for path in paths):
        return paths
    sources = fetch_packages(out.parent / "packages") if folder is None else sorted(folder.rglob("*.[jJ][pP]*[gG]"))
    if not sources:
        raise SystemExit(f"{folder}: no JPEG files there")
    out.mkdir(parents=True, exist_ok=True)
    for path, image in zip(paths, views(sources, count, longest, aspect, seed, sharpen=sharpen), strict=True):
        image.save(path, quality=quality, subsampling="4:2:0")
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--longest", type=int, default=500, help="longer side in pixels")
    parser.add_argument("--quality", type=int, default=90, help="JPEG quality")
    parser.add_argument("--aspect", default="4:3", help="width:height")
    parser.add_argument("--folder", type=Path, help="JPEG photographs of yours instead of the packages'")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sharpen", type=int, default=0, help="percent of an unsharp mask of one pixel's radius")
    args = parser.parse_args()
    width, height = (float(side) for side in args.aspect.split(":"))
    paths = write_photos(
        args.out,
        count=args.count,
        longest=args.longest,
        quality=args.quality,
        aspect=width / height,
        folder=args.folder,
        seed=args.seed,
        sharpen=args.sharpen,
    )
    size = sum(path.stat().st_size for path in paths) / len(paths)
    print(f"{args.out}: {len(paths)} photographs, {size / 1000:.1f} KB each")


if __name__ == "__main__":
    main()
