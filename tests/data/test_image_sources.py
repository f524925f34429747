"""Every kind of image source gives the same images; a bad one is a clear line or a counted skip; the cache is exact."""

import gzip
import io
import json
import logging
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sesame import processes
from sesame.config import ImageData
from sesame.data import decoding, image_store
from sesame.data.decoding import content_keys
from sesame.data.image_store import Images, open_images
from sesame.errors import UserError

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (6, 12, 12, 3)).astype(np.uint8)
GREY = RNG.integers(0, 256, (6, 12, 12)).astype(np.uint8)
CLASSES = ["cat", "cat", "dog", "dog", "dog", "owl"]


def png(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def class_folders(root: Path) -> Path:
    for i, (image, name) in enumerate(zip(COLOUR, CLASSES, strict=True)):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / f"{i}.png").write_bytes(png(image))
    return root


def opened(source: Path | str, tmp_path: Path, **more: Any) -> Images:
    return open_images(ImageData(source=str(source), cache=str(tmp_path / "cache"), **more))


def same(found: Images, names: list[str] | None = CLASSES, pixels: np.ndarray = COLOUR) -> None:
    """The images, and the names of their classes."""
    wanted = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    assert found.pixels.dtype == np.uint8 and (found.pixels == wanted).all()
    assert (found.key == content_keys(found.pixels)).all()
    assert (None if found.label is None else [found.names[i] for i in found.label]) == names


def test_a_folder_with_a_folder_per_class_packed_or_not(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "a")
    same(opened(folder, tmp_path))
    for within in ("", "pets/"):  # one folder around all of them names no class
        with zipfile.ZipFile(tmp_path / f"b{len(within)}.zip", "w") as archive:
            for path in sorted(folder.rglob("*.png")):
                archive.write(path, within + str(path.relative_to(folder)))
            archive.writestr("__MACOSX/x.png", b"")
        same(opened(tmp_path / f"b{len(within)}.zip", tmp_path))


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    for i, image in enumerate(COLOUR):
        (tmp_path / "flat" / f"{i}.png").write_bytes(png(image))
    found = opened(tmp_path / "flat", tmp_path)
    same(found, None)
    assert found.names == ()


@pytest.mark.parametrize("order", ["last", "first", "float"])
def test_numpys_files(order: str, tmp_path: Path) -> None:
    array: np.ndarray = COLOUR if order == "last" else COLOUR.transpose(0, 3, 1, 2)
    if order == "float":
        array = array / 255.0
    np.savez(tmp_path / "a.npz", train_images=array, train_labels=np.array(CLASSES)[:, None], test_images=array[:2])
    same(opened(tmp_path / "a.npz", tmp_path))
    np.save(tmp_path / "b.npy", array)
    same(opened(tmp_path / "b.npy", tmp_path), None)
    np.save(tmp_path / "b_labels.npy", np.array([0, 0, 7, 7, 7, 9]))
    same(opened(tmp_path / "b.npy", tmp_path), ["0", "0", "7", "7", "7", "9"])


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


@pytest.mark.parametrize("packed", [False, True])
def test_idx_as_mnist_has_it(packed: bool, tmp_path: Path) -> None:
    label = np.array([3, 3, 1, 1, 1, 0], np.uint8)
    for name, array in (("train-images-idx3", GREY), ("train-labels-idx1", label), ("t10k-images-idx3", GREY[:1])):
        data, path = idx(array), tmp_path / f"{name}-ubyte{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(data) if packed else data)
    for source in (tmp_path, path.with_name(path.name.replace("t10k", "train"))):
        same(opened(source, tmp_path), list("331110"), GREY)


@pytest.mark.parametrize("hundred", [False, True])
def test_cifars_binary_layout(hundred: bool, tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (4, 3, 32, 32)).astype(np.uint8)
    label = [1, 0, 0, 1]
    records = [bytes([9] * hundred + [n]) + image.tobytes() for n, image in zip(label, pixels, strict=True)]
    files = (
        [("train.bin", records)] if hundred else [("data_batch_1.bin", records[:3]), ("data_batch_2.bin", records[3:])]
    )
    for name, part in files:
        (tmp_path / name).write_bytes(b"".join(part))
    (tmp_path / ("fine_label_names.txt" if hundred else "batches.meta.txt")).write_text("apple\nbear\n\n")
    same(opened(tmp_path, tmp_path), ["bear", "apple", "apple", "bear"], pixels.transpose(0, 2, 3, 1))


def parquet(path: Path, names: bool = True, pixels: np.ndarray = COLOUR) -> None:
    rows = {
        "picture": [{"bytes": png(image), "path": None} for image in pixels],
        "class": [sorted(set(CLASSES)).index(name) for name in CLASSES],
    }
    features = {
        "picture": {"_type": "Image"},
        "class": {"names": sorted(set(CLASSES)), "_type": "ClassLabel"},
    }
    told = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(pa.table(rows).replace_schema_metadata(told if names else None), path)


def test_parquet_and_a_folder_in_hub_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    (tmp_path / "set").mkdir()
    parquet(tmp_path / "set" / "train-0.parquet")
    fields = {"image_field": "picture", "label_field": "class"}
    same(opened(tmp_path / "set" / "train-0.parquet", tmp_path, **fields))
    same(opened(tmp_path / "set", tmp_path, **fields))
    same(opened(f"hf:{tmp_path / 'set'}", tmp_path, **fields))
    parquet(tmp_path / "set" / "train-0.parquet", pixels=COLOUR[::-1])
    same(opened(f"hf:{tmp_path / 'set'}", tmp_path, **fields), pixels=COLOUR[::-1])
    parquet(tmp_path / "plain.parquet", names=False)
    same(opened(tmp_path / "plain.parquet", tmp_path, **fields), list("001112"))
    with pytest.raises(UserError, match=r"no column 'image'.*image-field"):
        opened(tmp_path / "set", tmp_path)
    with pytest.raises(UserError, match=r"no column 'image'.*image-field"):
        opened(f"hf:{tmp_path / 'set'}", tmp_path)


# ------------------------------------------------------------------------------------------- one size, one kind
def test_images_of_other_sizes_are_cut_to_the_middle_square_of_the_commonest(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "a")
    wide = Image.fromarray(RNG.integers(0, 256, (20, 31, 3)).astype(np.uint8))
    wide.save(folder / "owl" / "wide.png")
    found = opened(folder, tmp_path)
    assert found.pixels.shape == (7, 3, 12, 12)
    middle = wide.resize((12, 12), Image.Resampling.BICUBIC, (5.5, 0, 25.5, 20))
    assert (found.pixels[-1] == np.asarray(middle).transpose(2, 0, 1)).all()
    assert opened(folder, tmp_path, size=16).pixels.shape[2:] == (16, 16)


def test_large_images_are_brought_to_224(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 140, 150), np.uint8))
    assert opened(tmp_path / "a.npy", tmp_path).pixels.shape == (2, 1, 224, 224)


def test_grey_palette_transparent_deep_and_turned_images_among_colours(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = class_folders(tmp_path / "a")
    extra = folder / "zebra"
    extra.mkdir()
    grey = Image.fromarray(GREY[0])
    grey.save(extra / "1.png")
    Image.fromarray(COLOUR[0]).quantize(8).save(extra / "2.png")
    Image.new("RGBA", (12, 12), (255, 0, 0, 0)).save(extra / "3.png")
    Image.fromarray(np.full((12, 12), 257 * 100, np.uint16)).save(extra / "4.png")
    turned = Image.fromarray(np.repeat(np.arange(12, dtype=np.uint8)[:, None] * 20, 12, 1)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 3  # the camera was upside down
    turned.save(extra / "5.png", exif=exif)
    with caplog.at_level(logging.INFO):
        found = opened(folder, tmp_path).pixels[6:]
    assert (found[0] == GREY[0]).all()
    assert (found[1] == np.asarray(Image.fromarray(COLOUR[0]).quantize(8).convert("RGB")).transpose(2, 0, 1)).all()
    assert (found[2] == 255).all()  # on white
    assert (found[3] == 100).all()
    assert (found[4] == np.asarray(turned).transpose(2, 0, 1)[:, ::-1]).all()
    assert "2 images are grey and have three equal channels" in caplog.text


def test_grey_images_stay_of_one_channel_unless_told(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GREY)
    same(opened(tmp_path / "a.npy", tmp_path), None, GREY)
    assert opened(tmp_path / "a.npy", tmp_path, channels=3).pixels.shape[1] == 3
    np.save(tmp_path / "b.npy", COLOUR)
    luma = np.asarray(Image.fromarray(COLOUR[2]).convert("L"))
    assert (opened(tmp_path / "b.npy", tmp_path, channels=1).pixels[2, 0] == luma).all()


# --------------------------------------------------------------------------------------------- bad input
def corrupt(root: Path) -> str:
    (root / "cat" / "bad.png").write_bytes(png(COLOUR[0])[:150])
    return r"cat/bad.png: cannot be read as an image \(.*truncated.*\)\. Mend it, or pass --data.skip-bad"


def no_image(root: Path) -> str:
    (root / "cat" / "bad.jpg").write_bytes(b"not an image at all")
    return r"cat/bad.jpg: cannot be read as an image \(of a kind that is not known\)"


def one_pixel(root: Path) -> str:
    (root / "dog" / "bad.png").write_bytes(png(COLOUR[0, :1, :1]))
    return "dog/bad.png: 1x1 pixels; an image has at least 2x2"


def no_label(root: Path) -> str:
    (root / "stray.png").write_bytes(png(COLOUR[0]))
    return "stray.png: has no label, and other images of the source have one"


def no_label_of_the_first(root: Path) -> str:
    (root / "00cover.png").write_bytes(png(COLOUR[0]))
    return "00cover.png: has no label, and other images of the source have one"


@pytest.mark.parametrize("spoil", [corrupt, no_image, one_pixel, no_label, no_label_of_the_first])
def test_a_bad_image_is_one_clear_line_or_a_counted_skip(
    spoil: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = class_folders(tmp_path / "a")
    said = spoil(folder)
    with pytest.raises(UserError, match=said):
        opened(folder, tmp_path)
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]  # nothing half made is left
    found = opened(folder, tmp_path, skip_bad=True)
    same(found)
    places = [Path(where) for where in found.where()]  # what was left out has moved no other one's place
    assert [place.parent.name for place in places] == [found.names[i] for i in found.label]
    assert all(place.is_file() and "bad" not in place.name for place in places)
    assert [skip.count for skip in found.skipped.values()] == [1]
    assert "skipped 1 (" in caplog.text
    caplog.clear()
    opened(folder, tmp_path, skip_bad=True)
    assert "skipped 1 (" in caplog.text  # said again where the cache is used


def test_rows_without_a_label_are_left_out_wherever_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "BATCH", 2)
    rows = {"image": [{"bytes": png(image)} for image in COLOUR], "label": [None, None, None, 4, None, 2]}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="row 1: has no label"):
        opened(tmp_path / "a.parquet", tmp_path)
    found = opened(tmp_path / "a.parquet", tmp_path, skip_bad=True)
    same(found, ["4", "2"], COLOUR[[3, 5]])
    assert [where.rpartition(" ")[2] for where in found.where()] == ["4", "6"]
    assert found.skipped["label missing"].count == 4


def tiff(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, "TIFF")
    return out.getvalue()


def deep(name: str) -> bytes:
    """Values from 0 to 60, the same share of white in every format: a dark image has no bright pixel."""
    values = np.arange(144).reshape(12, 12) % 61
    if name == "16.pgm":
        return b"P5 12 12 65535\n" + (values * 257).astype(">u2").tobytes()
    if name == "float.tif":
        return tiff((values / 255).astype(np.float32))
    return (png if name.endswith("png") else tiff)((values * 257).astype(np.uint16))


@pytest.mark.parametrize("name", ["16.png", "16.tif", "16.pgm", "float.tif"])
def test_what_is_white_is_a_matter_of_the_kind_of_image(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(deep(name))
    (tmp_path / "dark.png").write_bytes(png(np.full((12, 12), 255, np.uint16)))
    dark, found = sorted(opened(tmp_path, tmp_path).pixels, key=lambda image: int(image.max()))
    assert (found[0] == np.arange(144).reshape(12, 12) % 61).all() and (dark == 1).all()


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.full((12, 12), 3.0, np.float32), "holds numbers from 3 to 3, not from 0 to 1"),
        (np.full((12, 12), np.nan, np.float32), "not finite"),
        (np.full((12, 12), 100, np.int32), "none is known as white"),
    ],
)
def test_values_of_which_none_is_known_as_white_are_no_pixels(array: np.ndarray, said: str, tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "a")
    (folder / "cat" / "z.tif").write_bytes(tiff(array))
    with pytest.raises(UserError, match=rf"z\.tif: .*{said}.*--data\.skip-bad"):
        opened(folder, tmp_path)
    same(opened(folder, tmp_path, skip_bad=True))


def test_a_colour_image_among_grey_ones(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for i, image in enumerate(GREY):
        (tmp_path / "a" / f"{i}.png").write_bytes(png(image))
    monkey = pytest.MonkeyPatch()
    monkey.setattr(decoding, "LOOK", 3)
    (tmp_path / "a" / "4.png").write_bytes(png(COLOUR[0]))
    with pytest.raises(UserError, match=r"4.png: has colours, and the images before it are grey. Pass --data.channels"):
        opened(tmp_path / "a", tmp_path)
    assert opened(tmp_path / "a", tmp_path, channels=1).pixels.shape == (6, 1, 12, 12)
    monkey.undo()


SPOILED = {
    "cut.npz": (b"PK\x03\x04", "not a whole"),
    "cut.npy": (b"\x93NUMPY", "not a whole numpy file"),
    "cut.zip": (b"PK\x03\x04", "not a whole .zip file"),
    "cut.parquet": (b"PAR1", "not a whole Parquet file"),
    "train-images-idx3-ubyte": (idx(GREY)[:-5], "has 875 bytes; its header says 880"),
    "odd-images-idx3-ubyte": (b"\0\0\x0d\3", "no IDX file of bytes"),
    "train-images-idx3-ubyte.gz": (gzip.compress(idx(GREY))[:-9], "cut short"),
    "data_batch_1.bin": (bytes(3000), "no multiple of CIFAR-10's 3,073"),
    "notes.txt": (b"words", "no kind of image source"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_damaged_file_says_what_is_wrong_with_it(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(SPOILED[name][0])
    with pytest.raises(UserError, match=SPOILED[name][1]) as error:
        opened(tmp_path / name, tmp_path)
    assert name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": COLOUR, "z": COLOUR}, "one array of images was expected"),
        ({"x": COLOUR - 300.0}, "holds float64 from"),
        ({"x": np.zeros((3, 8, 8, 5), np.uint8)}, "images of 1 or 3 channels"),
        ({"y": np.zeros(3)}, "one array of images was expected"),
        ({"x": COLOUR, "y": np.zeros(6)}, "labels are whole numbers or strings"),
    ],
)
def test_an_archive_of_other_arrays_says_what_it_holds(arrays: dict[str, Any], said: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=said):
        opened(tmp_path / "a.npz", tmp_path)


def test_a_folder_of_splits_or_archives_names_them(tmp_path: Path) -> None:
    class_folders(tmp_path / "a" / "train")
    class_folders(tmp_path / "a" / "test")
    with pytest.raises(UserError, match=r"holds test, train, which are no classes. Give one of these"):
        opened(tmp_path / "a", tmp_path)
    class_folders(tmp_path / "a" / "unlabeled")
    with pytest.raises(UserError, match=r"holds test, train, which are no classes"):
        opened(tmp_path / "a", tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.zip").write_bytes(b"")
    with pytest.raises(UserError, match=r"holds x.zip. Give one of these"):
        opened(tmp_path / "b", tmp_path)
    (tmp_path / "c").mkdir()
    with pytest.raises(UserError, match="no image was found"):
        opened(tmp_path / "c", tmp_path)
    with pytest.raises(UserError, match="no such image source"):
        opened(tmp_path / "nothing", tmp_path)


@pytest.mark.parametrize("parts", [("Train", "Test"), ("train", "dev", "test"), ("Training", "eval", "extra")])
def test_parts_are_no_classes_whatever_they_are_called(parts: tuple[str, ...], tmp_path: Path) -> None:
    for part in parts:
        class_folders(tmp_path / "a" / part)
    with pytest.raises(UserError, match=rf"{parts[0]}.*which are no classes"):
        opened(tmp_path / "a", tmp_path)


def test_a_class_may_be_called_like_a_part(tmp_path: Path) -> None:
    for name in ("bus", "train", "test-track"):
        (tmp_path / "a" / name).mkdir(parents=True)
        (tmp_path / "a" / name / "0.png").write_bytes(png(COLOUR[0]))
    assert opened(tmp_path / "a", tmp_path).names == ("bus", "test-track", "train")


@pytest.mark.parametrize("other", ["data/test-0.parquet", "Test/0.parquet", "data/validation-0.parquet"])
def test_tables_of_training_and_test_images_are_not_mixed(other: str, tmp_path: Path) -> None:
    folder, fields = tmp_path / "set", {"image_field": "picture", "label_field": "class"}
    for name in ("data/train-0.parquet", other):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        parquet(folder / name)
    with pytest.raises(UserError, match=rf"holds {other} and data/train-0.parquet, which are parts"):
        opened(folder, tmp_path, **fields)
    same(opened(folder / "data" / "train*.parquet", tmp_path, **fields))


def test_what_is_hidden_or_a_systems_own_is_no_class_and_counted(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "a")
    for name in (".ipynb_checkpoints/1.png", "cat/.ipynb_checkpoints/2.png", "@eaDir/3.png", "__MACOSX/cat/._0.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(COLOUR[0]))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, str(path.relative_to(folder)))
    for source in (folder, tmp_path / "b.zip"):
        found = opened(source, tmp_path)
        same(found)
        assert [skip.count for skip in found.skipped.values()] == [4]


# ------------------------------------------------------------------------------------------------- cache
def test_a_cache_is_used_again_and_rebuilt_when_a_file_or_a_setting_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = class_folders(tmp_path / "a")
    same(opened(folder, tmp_path))
    made: list[int] = []
    write = image_store._write
    monkeypatch.setattr(image_store, "_write", lambda *a: (made.append(1), write(*a)))
    same(opened(folder, tmp_path))
    assert not made
    opened(folder, tmp_path, size=9)
    assert len(made) == 1
    (folder / "cat" / "0.png").write_bytes(png(COLOUR[5]))
    assert (opened(folder, tmp_path).pixels[0] == COLOUR[5].transpose(2, 0, 1)).all()
    assert len(made) == 2


def test_all_cores_decode_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = class_folders(tmp_path / "a")
    monkeypatch.setattr(decoding, "BATCH", 2)
    monkeypatch.setattr(decoding, "ALONE", 1)
    monkeypatch.setattr(processes, "cores", lambda: 2)
    same(opened(folder, tmp_path))


def test_a_cache_that_is_cut_short_or_cannot_be_written_is_said(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "a")
    opened(folder, tmp_path)
    (file,) = (tmp_path / "cache").rglob("pixels.bin")
    file.write_bytes(b"")
    with pytest.raises(UserError, match=r"cut short. Delete"):
        opened(folder, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--data.cache"):
        open_images(ImageData(source=str(folder), cache=str(tmp_path / "file")))
