"""The explanation of a match is a readable picture for every kind of evidence."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from contracts.events import Evidence, Panel
from infra.discord.answers.embeds import explanation_captions
from infra.discord.wording import LANGUAGES
from infra.sandbox.art.generate import draw_piece
from infra.vision.compare import compare_prints
from infra.vision.distortions import encode_png
from infra.vision.explain import EXPLANATION_WIDTH_PX, Captions, draw_explanation
from infra.vision.fingerprint import make_archived_print, make_query_print
from infra.vision.prints import pack_print

GREEN = np.array([0, 230, 90])


def pack_prints(query, archived):
    return pack_print(make_query_print(np.asarray(query))), pack_print(make_archived_print(np.asarray(archived)))


def explain(*compared):
    return draw_explanation(*compared, Captions(*explanation_captions("de")))


@pytest.mark.parametrize("language", LANGUAGES)
def test_captions_are_ascii(language):
    assert all(caption.isascii() for caption in explanation_captions(language))


def open_png(data):
    picture = Image.open(BytesIO(data))
    assert picture.format == "PNG"
    assert picture.width <= EXPLANATION_WIDTH_PX
    return np.asarray(picture.convert("RGB"), np.int32)


def count_green(picture):
    return int((np.abs(picture - GREEN).sum(axis=2) < 30).sum())


@pytest.mark.parametrize("turn", [None, Image.Transpose.ROTATE_90, Image.Transpose.FLIP_LEFT_RIGHT])
def test_it_shows_outline_keypoints_and_difference(turn):
    archived = draw_piece(7)
    query = Image.new("RGB", (700, 500), (90, 90, 90))
    query.paste(archived if turn is None else archived.transpose(turn), (150, 60))
    query_print, archived_print = pack_prints(query, archived)
    evidence = compare_prints(query_print, {"7": archived_print}, {}, archive_size=100)["7"].evidence
    assert evidence.points > 0

    with_points = open_png(explain(encode_png(query), encode_png(archived), query_print, archived_print, evidence))
    without = open_png(explain(encode_png(query), encode_png(archived), b"", archived_print, evidence))

    assert with_points.shape == without.shape
    assert count_green(without) > 500
    assert (with_points != without).any()
    straight = without[-200:-60, : EXPLANATION_WIDTH_PX // 2]
    assert straight.std() > 10


def test_a_panel_is_outlined_instead_of_the_whole():
    archived, query = draw_piece(7).resize((256, 128)), draw_piece(7).resize((256, 128)).crop((128, 0, 256, 128))
    whole = Evidence(by="points", place=(-1, 0, 1, 0, 1, 1, -1, 1))
    panel = whole.model_copy(update={"panel": Panel(row=1, column=2, rows=1, columns=2)})
    one, other = (open_png(explain(encode_png(query), encode_png(archived), b"", b"", evidence)) for evidence in (whole, panel))
    assert count_green(one) != count_green(other)


def test_without_a_place_there_is_no_outline():
    picture = open_png(explain(encode_png(draw_piece(4)), encode_png(draw_piece(7)), b"", b"", Evidence(by="vector")))
    assert count_green(picture) < 100


@pytest.mark.parametrize("size", [(1, 1), (10, 10), (2000, 10), (10, 2000)])
def test_pictures_of_any_shape_can_be_explained(size):
    odd = Image.new("RGB", size, (10, 200, 90))
    evidence = Evidence(by="overlay", place=(0, 0, 1, 0, 1, 1, 0, 1))
    open_png(explain(encode_png(odd), encode_png(draw_piece(7)), b"", b"", evidence))
    open_png(explain(encode_png(draw_piece(7)), encode_png(odd), b"", b"", evidence))
    open_png(explain(encode_png(odd), encode_png(odd), b"", b"", evidence))


def test_a_place_behind_the_camera_is_not_an_error():
    evidence = Evidence(by="points", points=9, place=(0.4, 0.4, 0.6, 0.4, 3.0, 9.0, -2.0, 9.0))
    open_png(explain(encode_png(draw_piece(4)), encode_png(draw_piece(7)), b"", b"", evidence))


def test_an_undecodable_picture_raises_a_clear_error():
    with pytest.raises(ValueError, match="not a PNG"):
        explain(b"rubbish", encode_png(draw_piece(7)), b"", b"", Evidence(by="vector"))
