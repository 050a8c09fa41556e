"""Files with an EXIF orientation are read as viewers show them, whatever their kind."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from rgbx.cli.check_data import main
from rgbx.data import FolderRGBX
from rgbx.data.decoding.colour import read_colour
from rgbx.data.decoding.files import (
    SampleError,
    look,
    probe,
    read_binary,
    read_grey,
    read_ids,
    read_raw,
    read_rgb,
)
from rgbx.prompts import read_prompts

UPRIGHT = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
#: how upright pixels must be stored for a viewer to turn them back: EXIF standard, table of TIFF 6
STORED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),  # row 0 of the file is the right-hand side
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


def entry(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def save(path, upright, orientation, **options):
    array = np.ascontiguousarray(STORED[orientation](upright))
    Image.fromarray(array).save(path, exif=entry(orientation), **options)
    return path


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(
    ("suffix", "dtype", "options"),
    [
        ("png", np.uint8, {}),
        ("png", np.uint16, {}),
        ("tif", np.uint8, {}),
        ("tif", np.uint16, {}),
        ("tif", np.uint16, {"compression": "tiff_lzw"}),
        ("tif", np.float32, {}),
        ("tif", np.int32, {}),
    ],
)
def test_one_channel_is_upright(tmp_path, orientation, suffix, dtype, options):
    upright = UPRIGHT.astype(dtype) * dtype(3) if dtype != np.uint8 else UPRIGHT
    path = save(tmp_path / f"a.{suffix}", upright, orientation, **options)
    assert probe(path)[:2] == (4, 6) and look(path).orientation == orientation
    np.testing.assert_array_equal(read_raw(path), upright)
    np.testing.assert_array_equal(read_ids(path), upright)


@pytest.mark.parametrize("orientation", STORED)
def test_colours_are_upright(tmp_path, orientation):
    colours = np.dstack([UPRIGHT, UPRIGHT[::-1], UPRIGHT[:, ::-1]])
    paths = [
        save(tmp_path / "a.png", colours, orientation),
        save(tmp_path / "a.webp", colours, orientation, lossless=True),
        save(tmp_path / "a.tif", colours, orientation),
    ]
    deep = np.ascontiguousarray(STORED[orientation](colours.astype(np.uint16) * 257))
    paths.append(tmp_path / "deep.tif")  # PIL cannot read it
    tag = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(paths[-1], deep, photometric="rgb", extratags=tag)
    for path in paths:
        assert probe(path) == (4, 6, 3), path
        np.testing.assert_array_equal(read_rgb(path), colours, err_msg=path.name)
        assert read_colour(path).shape == (4, 6, 3)


def test_photos_are_upright(tmp_path):
    blocks = np.kron(
        np.array([[0, 80, 160], [250, 120, 40]], np.uint8), np.ones((16, 16), np.uint8)
    )
    for orientation in STORED:
        path = save(tmp_path / f"{orientation}.jpg", blocks, orientation, quality=95)
        assert np.abs(read_rgb(path)[..., 0].astype(int) - blocks).max() < 8, orientation


def test_deep_colour_png_is_upright(tmp_path):
    """Neither PIL (8 bits) nor OpenCV (no EXIF) reads it right alone."""
    colours = np.dstack([UPRIGHT, UPRIGHT + 1, UPRIGHT + 2]).astype(np.uint16) * 257
    rows = np.ascontiguousarray(np.rot90(colours, 1)).astype(">u2")
    exif = entry(6).removeprefix(b"Exif\0\0")
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 4, 6, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))),
        (b"eXIf", exif),  # behind the pixels, as some programs put it
        (b"IEND", b""),
    ]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    assert probe(path) == (4, 6, 3)
    np.testing.assert_array_equal(read_raw(path), colours)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(SampleError, match=r"a\.png: the image cannot be read"):
        read_raw(path)


def test_masks_and_x_are_turned_too(tmp_path):
    mask = (UPRIGHT > 100).astype(np.uint8) * 255
    np.testing.assert_array_equal(read_binary(save(tmp_path / "m.png", mask, 8)), mask // 255)
    np.testing.assert_array_equal(read_binary(save(tmp_path / "b.png", mask > 0, 5)), mask // 255)
    np.testing.assert_allclose(
        read_grey(save(tmp_path / "x.png", UPRIGHT, 6)), UPRIGHT / 255, atol=1e-6
    )


@pytest.mark.parametrize(
    "damaged", [b"Exif\0\0MM", b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff"]
)
def test_damaged_entries_are_passed_over(tmp_path, damaged):
    path = tmp_path / "a.jpg"
    Image.fromarray(UPRIGHT).save(path, exif=damaged)
    assert look(path).orientation == 1 and read_rgb(path).shape == (4, 6, 3)


def turned_set(root, pairs, orientation, count=8):
    """Pairs whose visible photos are stored turned."""
    pairs(root, [f"p{i}" for i in range(count)])
    for path in sorted((root / "rgb").glob("*.png")):
        save(path.with_suffix(".jpg"), np.asarray(Image.open(path)), orientation)
        path.unlink()
    return root


def test_check_data_counts_what_is_turned(tmp_path, pairs, capsys):
    root = turned_set(tmp_path / "d", pairs, 6)
    options = ["--data", "FolderRGBX", "--data.root", str(root), "--data.val_share", "0.25"]
    options += ["--data.class_names", "[a, b, c]", "-o", str(tmp_path / "o")]
    assert main(options) == 0
    text = capsys.readouterr().out
    assert "EXIF orientation" in text and "no problem found" in text
    sample = FolderRGBX(str(root), class_names=["a", "b", "c"]).find_records("train")[0]
    assert sample.rgb.suffix == ".jpg"


def test_a_mask_made_for_the_stored_pixels_is_named(tmp_path, pairs):
    root = turned_set(tmp_path, pairs, 6)
    data = FolderRGBX(str(root), class_names=["a", "b", "c"], val_share=0.0)
    path = root / "mask" / "p0.png"
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path)
    (problem,) = [p for r in data.scan("train").records for p in data.inspect(r)]
    assert problem.kind == "swapped"
    assert "p0.jpg" in problem.text and "p0.png" in problem.text and "(6)" in problem.text


def test_prompts_count_in_pixels_as_shown(tmp_path):
    (tmp_path / "prompts.json").write_text('{"a": [{"box": [0, 0, 6, 4]}]}')
    path = save(tmp_path / "a.png", np.dstack([UPRIGHT] * 3), 6)
    header = probe(path)
    (prompt,) = read_prompts(tmp_path / "prompts.json").prompts("a", (header.height, header.width))
    assert prompt["box"].tolist() == [0, 0, 6, 4]
