"""Open sounds out of Debian's packages, for a student to learn on.

    python benchmarks/open_audio.py OUT_DIR --avoid DIR [--avoid DIR2 ...]

Needs apt-get and dpkg-deb. OUT_DIR/audio/<package>/ gets the sound effects of each package as FLAC
at 16 kHz, mono, the first half minute of each, half an hour of a package; OUT_DIR/sources.csv
says of each what file of which version it was and under which licences the package stands. Left
out are sounds that repeat another, and those that overlap a recording below a --avoid folder: the
yardsticks that the student will be measured with, and the packages that it is chosen with.
"""

import argparse
import csv
import hashlib
import random
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torchaudio.transforms import MelSpectrogram

from embedkit.audio.decode import decode
from embedkit.audio.files import find_audio
from embedkit.errors import AudioError

PACKAGES = """
7kaa-data acm ardentryst asc-data atanks-data bambam berusky2-data billard-gl-data blobby-data
boswars-data brainparty-data btanks-data bucklespring-data bzflag-data castle-game-engine-doc
caveexpress-data chuck-data crossfire-client crrcsim-data csmash-data cube2-data deepin-sound-theme
dopewars-data dustracing2d-data emacspeak endless-sky-data etw-data extremetuxracer-data
fillets-ng-data flare-game flightgear-data-base foobillardplus-data freecol freedroid-data
freedroidrpg-data freeorion-data freetennis-common frozen-bubble-data gamine-data gigalomania-data
gl-117-data gnome-audio gnome-shell-pomodoro-data guitarix-common hedgewars-data
heroes-sound-effects hydrogen-data kajongg krank lbreakout2-data lomiri-sounds lugaru-data
marsshooter-data mazeofgalious-data megaglest-data micropolis-data minetest-mod-mesecons
minetest-mod-xdecor mirrormagic-data naev-data netpanzer-data neverball-common opencity-data
overgod-data oxygen-sounds performous pinball-data pinball-table-gnu-data pinball-table-hurd-data
pingus-data planetblupi-common plee-the-bear-data powermanga-data qabcs-data
qtmultimedia5-examples raincat-data redeclipse-data renpy-demo scorched3d-data scratch
sound-theme-freedesktop spacezero starfighter-data stormbaancoureur-data sumo-tools
supertuxkart-data torcs-data trackballs-data triplea tuxfootball tuxpaint-plugins-default
tuxtype-data tworld-data ukui-media warmux-data widelands-data wims-help wizznic-data
wordwarvi-sound xemacs21-basesupport xmoto-data yaru-theme-sound
"""
SUFFIXES = {".ogg", ".oga", ".opus", ".wav", ".flac", ".mp3", ".au", ".aif", ".aiff"}
NOT_EFFECTS = re.compile(r"music|/words/|/syllab|/alpha|speech|voice", re.IGNORECASE)
RATE = 16000
CLIP_S, PACKAGE_S = 30, 1800
SAME = 0.85  # correlation from which two windows are of the same recording
FRAMES = 47  # of 16 ms, in a window
RANGE_DB = 50.0  # below the loudest of a window
STILL = 40.0  # dB: the length of a window without features

Windows = NDArray[np.float32]

_mel = MelSpectrogram(RATE, n_fft=1024, hop_length=256, n_mels=32, f_min=60)


def windows(samples: NDArray[np.float32], every: int) -> Windows:
    """Log-mel less the means of bands and frames: what only a recording shares with itself.

    Of each group of `every` windows the loudest is taken: float32 [windows, FRAMES * 32], each of
    length 1, but for those in which next to nothing moves.
    """
    samples = np.pad(samples, (0, max(0, FRAMES * 256 - len(samples))))
    mel = 10 * torch.log10(_mel(torch.from_numpy(samples)) + 1e-9).numpy().T
    spans = np.lib.stride_tricks.sliding_window_view(mel, FRAMES, axis=0)
    loudness = spans.mean(axis=(1, 2))
    picks = [a + int(loudness[a : a + every].argmax()) for a in range(0, len(spans), every)]
    found = np.maximum(spans[picks], spans[picks].max(axis=(1, 2), keepdims=True) - RANGE_DB)
    found = found - found.mean(axis=2, keepdims=True)
    found -= found.mean(axis=1, keepdims=True)
    length = np.sqrt(np.square(found).sum(axis=(1, 2), keepdims=True))
    return (found / np.maximum(length, STILL)).reshape(len(picks), -1)


def read(path: Path) -> NDArray[np.float32]:
    """The first half minute."""
    blocks, samples = decode(path, RATE), 0
    parts = []
    for block in blocks:
        parts.append(block)
        samples += len(block)
        if samples >= CLIP_S * RATE:
            break
    return np.concatenate(parts)[: CLIP_S * RATE] if parts else np.empty(0, np.float32)


def sounds(package: Path, folder: Path) -> list[tuple[str, Path]]:
    """Extract the sounds of a package in a random order: their names there, and where they are."""
    with (
        subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE
        ) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as tar,
    ):
        found = []
        for member in tar:
            name = member.name.removeprefix("./")
            if not member.isfile() or NOT_EFFECTS.search(name):
                continue
            if Path(name).suffix.lower() in SUFFIXES:
                path = folder / f"{len(found)}{Path(name).suffix.lower()}"
                path.write_bytes(tar.extractfile(member).read())
                found.append((name, path))
    random.Random(package.name).shuffle(found)
    return found


def licences(package: Path) -> str:
    """The short names of the licences in its machine-readable copyright file."""
    name = package.name.partition("_")[0]
    text = subprocess.run(
        f"dpkg-deb --fsys-tarfile {package} | tar -xOf - ./usr/share/doc/{name}/copyright",
        shell=True,
        capture_output=True,
        check=False,
    ).stdout.decode(errors="replace")
    return "; ".join(sorted(set(re.findall(r"^Licen[sc]e: *(\S.*)$", text, re.MULTILINE))))


def gather(package: Path, seen: set[bytes]) -> dict[str, NDArray[np.float32]]:
    """What a package has that was not seen before, up to its share: samples by name."""
    found: dict[str, NDArray[np.float32]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for source, path in sounds(package, Path(folder)):
            try:
                samples = read(path)
            except AudioError as error:
                print(f"{package.name}: {source}: {error}", file=sys.stderr)
                continue
            digest = hashlib.sha256(samples.tobytes()).digest()
            if digest in seen or len(samples) < RATE / 10 or samples.std() < 1e-4:
                continue
            seen.add(digest)
            found[source] = samples
            if sum(map(len, found.values())) > PACKAGE_S * RATE:
                break
    return found


def overlapping(found: dict[str, NDArray[np.float32]], avoid: torch.Tensor) -> set[str]:
    """The names of those that share a window with what is to be avoided."""
    cut = {name: windows(samples, 62) for name, samples in found.items()}
    owners = [name for name, rows in cut.items() for _ in rows]
    rows = torch.from_numpy(np.concatenate(list(cut.values())))
    alike = torch.cat([(chunk @ avoid).amax(dim=1) for chunk in rows.split(256)])
    return {owners[number] for number in (alike > SAME).nonzero().flatten().tolist()}


def main() -> None:
    """Gather."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--avoid", type=Path, action="append", required=True)
    parser.add_argument("--cache", type=Path, help="folder of packages (default: OUT_DIR/packages)")
    arguments = parser.parse_args()
    cache = arguments.cache or arguments.out / "packages"
    arguments.out.mkdir(parents=True, exist_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    paths = [path for folder in arguments.avoid for path in find_audio(folder).paths]
    avoid = torch.from_numpy(np.concatenate([windows(read(path), 1) for path in paths])).T
    seen: set[bytes] = set()
    with (arguments.out / "sources.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["clip", "package", "source_path", "licences", "duration_s"])
        for name in PACKAGES.split():
            if not list(cache.glob(f"{name}_*.deb")):
                subprocess.run(["apt-get", "download", "-qq", name], cwd=cache, check=False)
            package = next(cache.glob(f"{name}_*.deb"), None)
            found = {} if package is None else gather(package, seen)
            if not found:
                print(f"{name}: has no sounds that can be had", file=sys.stderr)
                continue
            left_out = overlapping(found, avoid)
            terms = licences(package)
            folder = arguments.out / "audio" / name
            folder.mkdir(parents=True, exist_ok=True)
            kept = [source for source in found if source not in left_out]
            for number, source in enumerate(kept):
                path = folder / f"{number:04d}.flac"
                soundfile.write(path, found[source], RATE, subtype="PCM_16")
                seconds = f"{len(found[source]) / RATE:.2f}"
                table.writerow([f"{name}/{path.name}", package.name, source, terms, seconds])
            minutes = sum(len(found[source]) for source in kept) / RATE / 60
            print(
                f"{name}: {len(kept)} clips, {minutes:.1f} min; {len(left_out)} overlap", flush=True
            )


if __name__ == "__main__":
    main()
