import numpy as np
import pytest

from rgbx.visualization.drawing import (
    colourise,
    draw_prompts,
    fit,
    generate_palette,
    heat,
    legend,
    overlay,
    panel,
)

PALETTE = ((0, 0, 0), (200, 0, 0), (0, 100, 50))
IDS = np.array([[0, 1], [2, 255]])


def test_colourise_by_hand():
    expected = [[(0, 0, 0), (200, 0, 0)], [(0, 100, 50), (211, 211, 211)]]
    painted = colourise(IDS, PALETTE)
    assert painted.dtype == np.uint8
    np.testing.assert_array_equal(painted, expected)


def test_colourise_names_ids_without_a_colour():
    with pytest.raises(ValueError, match=r"ids \[3\] have no colour in a palette of 3"):
        colourise(np.array([[3, 1]]), PALETTE)


def test_overlay_leaves_id_0_and_mixes_the_rest():
    rgb = np.full((2, 2, 3), 100, np.uint8)
    expected = [[(100, 100, 100), (150, 50, 50)], [(50, 100, 75), (156, 156, 156)]]
    np.testing.assert_array_equal(overlay(rgb, IDS, PALETTE), expected)
    np.testing.assert_array_equal(overlay(rgb, IDS, PALETTE, alpha=0), rgb)
    np.testing.assert_array_equal(overlay(rgb, IDS, PALETTE, alpha=1)[0, 1], (200, 0, 0))


def test_heat_leaves_what_the_map_leaves_out():
    rgb = np.full((1, 3, 3), 100, np.uint8)
    heated = heat(rgb, np.array([[0.0, 0.5, 1.0]], np.float32))
    assert heated.dtype == np.uint8
    # at one half yellow with weight .35, at one red with weight .7
    np.testing.assert_array_equal(heated, [[(100, 100, 100), (154, 154, 65), (208, 30, 30)]])
    np.testing.assert_array_equal(heat(rgb, np.ones((1, 3)), alpha=0), rgb)


@pytest.mark.parametrize("count", [1, 2, 9, 20])
def test_generated_palette_is_distinct(count):
    palette = np.array(generate_palette(count))
    assert palette.shape == (count, 3) and tuple(palette[0]) == (0, 0, 0)
    distances = np.abs(palette[:, None] - palette[None]).sum(axis=2)
    assert (distances + 1000 * np.eye(count) > 24).all()
    assert generate_palette(0) == ()


def test_panel_places_images_in_rows():
    red = np.zeros((10, 20, 3), np.uint8)
    red[..., 0] = 255
    grey = np.full((30, 10), 77, np.uint8)
    sheet = panel([red, grey, red], ["a", "b", "a very long title" * 9], columns=2, cell=(40, 60))
    assert sheet.size == (2 * 66 + 6, 2 * 62 + 6)
    pixels = np.asarray(sheet)
    assert tuple(pixels[6 + 16 + 20, 6 + 30]) == (255, 0, 0)
    assert tuple(pixels[6 + 16 + 20, 6 + 66 + 30]) == (77, 77, 77)
    assert tuple(pixels[6 + 62 + 16 + 20, 6 + 66 + 30]) == (255, 255, 255)


def test_legend_shows_every_colour():
    pixels = np.asarray(legend(["background", "car", "person"], PALETTE)).reshape(-1, 3)
    for colour in PALETTE:
        assert (pixels == colour).all(axis=1).sum() > 100


RED, BLUE = (200, 0, 0), (0, 0, 200)
PLAIN = np.full((60, 80, 3), 100, np.uint8)


def test_a_box_is_a_rectangle_with_a_dark_edge():
    drawn = draw_prompts(PLAIN, [{"box": [10, 5, 40.4, 30]}], [RED])
    red = (drawn == RED).all(axis=-1)
    expected = np.zeros((60, 80), bool)
    expected[5:31, 10:41] = True
    expected[6:30, 11:40] = False
    np.testing.assert_array_equal(red, expected)
    assert (drawn[15:20, 20:30] == 100).all(), "the inside stays"
    assert drawn[4, 9].tolist() == drawn[6, 11].tolist() == [30, 30, 30]
    assert (PLAIN == 100).all(), "the image itself is not drawn on"


def test_positive_points_are_rings_and_negative_ones_crosses():
    prompts = [{"points": [[20, 30]], "labels": [1]}, {"points": [[60, 30]], "labels": [0]}]
    drawn = draw_prompts(PLAIN, prompts, [RED, BLUE])
    assert drawn[30, 20].tolist() == [255, 255, 255], "a light dot"
    assert drawn[30, 18].tolist() == list(RED) and drawn[30, 15].tolist() == [30, 30, 30]
    for step in (-3, 0, 3):
        assert drawn[30 + step, 60 + step].tolist() == list(BLUE)
        assert drawn[30 - step, 60 + step].tolist() == list(BLUE)
    assert drawn[30, 65].tolist() == drawn[25, 60].tolist() == [100, 100, 100]


def test_prompts_outside_are_cut_off_and_others_not_drawn():
    drawn = draw_prompts(PLAIN, [{"box": [-50, -50, 500, 500]}, {"mask": 0}], [RED, BLUE])
    np.testing.assert_array_equal(drawn, PLAIN)
    half = draw_prompts(PLAIN, [{"points": [[79, 59]], "labels": [1]}], [RED])
    assert (half != 100).any() and half.shape == PLAIN.shape


def test_prompts_grow_with_the_image():
    large = np.full((800, 1200, 3), 100, np.uint8)
    drawn = draw_prompts(large, [{"box": [100, 100, 900, 700]}], [RED])
    assert (drawn[400] == RED).all(axis=-1).sum() == 2 * 4  # 800 / 200 pixels wide


@pytest.mark.parametrize("size", [(30, 10), (10, 90), (300, 40)])
def test_fit_reaches_one_side_of_the_cell(size):
    image = fit(np.zeros((*size, 3), np.uint8), (40, 60))
    assert image.mode == "RGB" and image.width <= 60 and image.height <= 40
    assert image.width == 60 or image.height == 40
