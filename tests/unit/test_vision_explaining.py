"""The explanation is a picture that can be opened, for whatever evidence there is."""

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


def prints_of(question, archived):
    return pack_print(make_query_print(np.asarray(question))), pack_print(make_archived_print(np.asarray(archived)))


def drawn(*compared):
    return draw_explanation(*compared, Captions(*explanation_captions("de")))


@pytest.mark.parametrize("language", LANGUAGES)
def test_captions_have_letters_that_can_be_drawn(language):
    assert all(caption.isascii() for caption in explanation_captions(language))


def opened(data):
    picture = Image.open(BytesIO(data))
    assert picture.format == "PNG"
    assert picture.width <= EXPLANATION_WIDTH_PX
    return np.asarray(picture.convert("RGB"), np.int32)


def green(picture):
    return int((np.abs(picture - GREEN).sum(axis=2) < 30).sum())


@pytest.mark.parametrize("turn", [None, Image.Transpose.ROTATE_90, Image.Transpose.FLIP_LEFT_RIGHT])
def test_it_shows_outline_points_and_difference(turn):
    archived = draw_piece(7)
    question = Image.new("RGB", (700, 500), (90, 90, 90))
    question.paste(archived if turn is None else archived.transpose(turn), (150, 60))
    asked, kept = prints_of(question, archived)
    evidence = compare_prints(asked, {"7": kept}, {}, archive_size=100)["7"].evidence
    assert evidence.points > 0

    with_points = opened(drawn(encode_png(question), encode_png(archived), asked, kept, evidence))
    without = opened(drawn(encode_png(question), encode_png(archived), b"", kept, evidence))

    assert with_points.shape == without.shape
    assert green(without) > 500
    assert (with_points != without).any()
    straight = without[-200:-60, : EXPLANATION_WIDTH_PX // 2]
    assert straight.std() > 10


def test_a_panel_is_outlined_instead_of_the_whole():
    archived, question = draw_piece(7).resize((256, 128)), draw_piece(7).resize((256, 128)).crop((128, 0, 256, 128))
    whole = Evidence(by="points", place=(-1, 0, 1, 0, 1, 1, -1, 1))
    panel = whole.model_copy(update={"panel": Panel(row=1, column=2, rows=1, columns=2)})
    one, other = (opened(drawn(encode_png(question), encode_png(archived), b"", b"", evidence)) for evidence in (whole, panel))
    assert green(one) != green(other)


def test_without_a_place_the_pictures_stand_side_by_side():
    picture = opened(drawn(encode_png(draw_piece(4)), encode_png(draw_piece(7)), b"", b"", Evidence(by="vector")))
    assert green(picture) < 100


@pytest.mark.parametrize("size", [(1, 1), (10, 10), (2000, 10), (10, 2000)])
def test_pictures_of_any_shape_are_explained(size):
    odd = Image.new("RGB", size, (10, 200, 90))
    evidence = Evidence(by="overlay", place=(0, 0, 1, 0, 1, 1, 0, 1))
    opened(drawn(encode_png(odd), encode_png(draw_piece(7)), b"", b"", evidence))
    opened(drawn(encode_png(draw_piece(7)), encode_png(odd), b"", b"", evidence))
    opened(drawn(encode_png(odd), encode_png(odd), b"", b"", evidence))


def test_a_place_behind_the_camera_is_no_error():
    evidence = Evidence(by="points", points=9, place=(0.4, 0.4, 0.6, 0.4, 3.0, 9.0, -2.0, 9.0))
    opened(drawn(encode_png(draw_piece(4)), encode_png(draw_piece(7)), b"", b"", evidence))


def test_rubbish_is_one_clear_sentence():
    with pytest.raises(ValueError, match="not a PNG"):
        drawn(b"rubbish", encode_png(draw_piece(7)), b"", b"", Evidence(by="vector"))
