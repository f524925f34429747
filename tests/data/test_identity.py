"""What a set of images or sounds is known by: its content in its order, not where it lies or what it is called."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from chirps import write_chirps
from PIL import Image

from sesame.config import ImageData, SpeechData
from sesame.data import images, open_data, speech
from sesame.data.images import ImageSet
from sesame.data.order import hash_of
from sesame.data.speech import SpeechSet


def write_images(folder: Path, count: int = 12) -> Path:
    random = np.random.default_rng(0)
    for number in range(count):
        (folder / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(random.integers(0, 256, (8, 8), np.uint8))
        picture.save(folder / "ab"[number % 2] / f"{number:02}.png")
    return folder


class Pictures:
    file = "a/00.png"

    def __init__(self, folder: Path):
        self.folder = write_images(folder / "first")

    def set(self, folder: Path) -> ImageSet:
        return ImageSet(ImageData(source=str(folder), rows=4, cache=str(self.folder.parent / "cache")))

    def edit(self, path: Path) -> None:
        pixels = np.array(Image.open(path))
        pixels[0, 0] ^= 255
        Image.fromarray(pixels).save(path)


class Sounds:
    file = "00.wav"

    def __init__(self, folder: Path):
        self.folder = write_chirps(folder / "first", 6)

    def set(self, folder: Path) -> SpeechSet:
        return SpeechSet(SpeechData(source=str(folder), mels=8, rows=2))

    def edit(self, path: Path) -> None:
        samples, rate = soundfile.read(path, dtype="int16")
        samples[0] ^= 1
        soundfile.write(path, samples, rate)


@pytest.fixture(params=[Pictures, Sounds])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Pictures | Sounds:
    return request.param(tmp_path)


def test_it_is_the_content_wherever_it_lies_and_whatever_it_is_called(kind: Pictures | Sounds, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(kind.folder, tmp_path / "elsewhere" / "second"))
    (moved / kind.file).rename(moved / kind.file.replace("00", "00-renamed"))
    assert kind.set(moved).hash == kind.set(kind.folder).hash == kind.set(kind.folder).hash


@pytest.mark.parametrize("change", ["added", "removed", "edited", "in another order"])
def test_it_is_another_where_anything_in_it_is(kind: Pictures | Sounds, change: str) -> None:
    before, file = kind.set(kind.folder).hash, kind.folder / kind.file
    if change == "added":
        shutil.copy(file, file.with_stem("zz"))
    elif change == "removed":
        file.unlink()
    elif change == "edited":
        kind.edit(file)
    else:
        file.rename(file.with_stem("zz"))
    assert kind.set(kind.folder).hash != before


def test_the_names_of_labels_are_no_part_of_it(tmp_path: Path) -> None:
    kind = Pictures(tmp_path)
    before = kind.set(kind.folder)
    assert before.images.names == ("a", "b")
    (kind.folder / "b").rename(kind.folder / "c")
    after = kind.set(kind.folder)
    assert after.images.names == ("a", "c") and before.hash == after.hash


def test_the_hash_is_of_every_key_in_its_place() -> None:
    keys = np.array([1, 2, 3], np.uint64)
    assert hash_of(keys) == hash_of(keys.copy()) != hash_of(keys[::-1])
    assert len({hash_of(keys[:n]) for n in range(4)}) == 4


def test_a_source_is_read_once_and_not_before_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    for module, name in ((images, "open_source"), (speech, "utterances")):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, real=real: opened.append(given[0]) or real(*given))
    for c in (ImageData(), SpeechData(source=str(write_chirps(tmp_path)), mels=8, rows=2)):
        data = open_data(c)
        assert data.config is c and not opened
        assert data.hash == data.hash and data.facts == data.facts and data.altered
        assert opened == [c]
        opened.clear()


def test_a_source_that_is_built_in_has_an_identity_too() -> None:
    assert ImageSet(ImageData()).hash == ImageSet(ImageData(rows=7)).hash
