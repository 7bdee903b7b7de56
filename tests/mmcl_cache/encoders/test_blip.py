"""BLIP: equal to generate, to one image at a time and to one question at a time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, AutoTokenizer, BlipForQuestionAnswering

from mmcl_cache.encoders import open_text_encoder
from mmcl_cache.errors import ModelError

from .conftest import WORDS, make_images, pixels_of

QUESTIONS = ("whether the people are holding objects?", "what object is held?", "please describe the person.")


def open_blip(folder: Path, questions=QUESTIONS, **options):
    return open_text_encoder(str(folder), questions, **{"choices": ("yes", "no"), "device": "cpu", **options})


def generate(
    folder: Path, question: str, images, first_token: int | None = None, size: int = 32
) -> list[list[int]]:
    """What transformers' own generate answers, one image at a time."""
    model = BlipForQuestionAnswering.from_pretrained(folder).eval()
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    ids = AutoTokenizer.from_pretrained(folder)(question, return_tensors="pt")["input_ids"]
    if first_token is not None:
        ids[:, 0] = first_token
    answers = []
    for image in images:
        pixels = processor(images=image, return_tensors="pt", size={"height": size, "width": size})[
            "pixel_values"
        ]
        answer = model.generate(
            input_ids=ids,
            pixel_values=pixels,
            interpolate_pos_encoding=size != 32,
            do_sample=False,
            num_beams=1,
            max_new_tokens=10,
        )
        answers.append(answer[0].tolist())
    return answers


def answers_of(rows, question: int) -> list[list[int]]:
    return [row["tokens"][question, : row["token_count"][question]].tolist() for row in rows]


def test_answers_equal_generate_token_for_token(blip_folder: Path) -> None:
    images = make_images(8)
    rows = open_blip(blip_folder).encode(images)
    for number, question in enumerate(QUESTIONS):
        assert answers_of(rows, number) == generate(blip_folder, question, images)
    assert len({tuple(a) for a in answers_of(rows, 0)}) > 2, "the tiny model answers the same to all"


def test_batched_equals_single_and_many_questions_equal_one_by_one(blip_folder: Path) -> None:
    images = make_images(5)
    together = open_blip(blip_folder).encode(images)
    for number, question in enumerate(QUESTIONS):
        alone = open_blip(blip_folder, [question])
        for image, row in zip(images, together, strict=True):
            single = alone.encode([image])[0]
            assert np.array_equal(single["tokens"][0], row["tokens"][number])
            assert json.loads(single["answer"])[0] == json.loads(row["answer"])[number]
            for name in ("log_prob", "choice_prob", "hidden_mean", "hidden_last"):
                np.testing.assert_allclose(single[name][0], row[name][number], rtol=2e-3, atol=1e-4)


def test_rows_have_the_columns_said(blip_folder: Path) -> None:
    encoder = open_blip(blip_folder)
    row = encoder.encode(make_images(1))[0]
    assert set(row) == {column.name for column in encoder.columns}
    for column in encoder.columns:
        if column.dtype != "utf8":
            assert row[column.name].shape == column.shape and row[column.name].dtype == column.dtype
    assert row["tokens"][0, 0] == WORDS.index("[DEC]")
    for question in range(3):
        count = row["token_count"][question]
        assert (row["tokens"][question, count:] == 0).all() and (row["log_prob"][question, count:] == 0).all()
        assert row["log_prob"][question, 0] == 0 and (row["log_prob"][question, 1:count] < 0).all()


def test_choice_probabilities_are_those_of_generates_first_step(blip_folder: Path) -> None:
    image = make_images(1, seed=4)[0]
    row = open_blip(blip_folder, [QUESTIONS[0]], choices=("yes", "no", "book")).encode([image])[0]
    model = BlipForQuestionAnswering.from_pretrained(blip_folder).eval()
    pixels = AutoImageProcessor.from_pretrained(blip_folder, backend="pil")(images=image, return_tensors="pt")
    ids = AutoTokenizer.from_pretrained(blip_folder)(QUESTIONS[0], return_tensors="pt")["input_ids"]
    made = model.generate(
        input_ids=ids, pixel_values=pixels["pixel_values"], output_logits=True, return_dict_in_generate=True
    )
    logits = made.logits[0][0, [WORDS.index(w) for w in ("yes", "no", "book")]]
    np.testing.assert_allclose(row["choice_prob"][0], torch.softmax(logits, 0), rtol=1e-4)
    assert row["choice_prob"].sum() == pytest.approx(1.0, abs=1e-5)


def test_no_choices_store_no_probabilities(blip_folder: Path) -> None:
    encoder = open_blip(blip_folder, choices=())
    assert encoder.encode(make_images(1))[0]["choice_prob"].shape == (3, 0)


def test_enc_token_replaces_the_first_token_of_the_question_and_is_a_setting(blip_folder: Path) -> None:
    images = make_images(4)
    encoder = open_blip(blip_folder, [QUESTIONS[0]], enc_token=True)
    assert answers_of(encoder.encode(images), 0) == generate(
        blip_folder, QUESTIONS[0], images, first_token=WORDS.index("[ENC]")
    )
    assert encoder.settings["enc_token"] and not open_blip(blip_folder).settings["enc_token"]


def test_another_image_size_interpolates_positions_as_generate_does(blip_folder: Path) -> None:
    images = make_images(3)
    encoder = open_blip(blip_folder, [QUESTIONS[0]], image_size=48)
    assert encoder.settings["image_size"] == [48, 48]
    assert answers_of(encoder.encode(images), 0) == generate(blip_folder, QUESTIONS[0], images, size=48)


def test_hidden_states_are_the_mean_and_last_of_the_decoder_steps(blip_folder: Path) -> None:
    image = make_images(1)[0]
    encoder = open_blip(blip_folder, [QUESTIONS[0]])
    row = encoder.encode([image])[0]
    model = BlipForQuestionAnswering.from_pretrained(blip_folder).eval()
    count = int(row["token_count"][0])
    ids = AutoTokenizer.from_pretrained(blip_folder)(QUESTIONS[0], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        seen = model.vision_model(pixel_values=pixels_of(encoder, [image])).last_hidden_state
        asked = model.text_encoder(input_ids=ids, encoder_hidden_states=seen).last_hidden_state
        # the whole answer at once, without its end: position t gave token t + 1
        states = model.text_decoder.bert(
            input_ids=torch.tensor(row["tokens"][:, : count - 1], dtype=torch.long),
            encoder_hidden_states=asked,
            is_decoder=True,
        ).last_hidden_state[0]
    np.testing.assert_allclose(row["hidden_mean"][0], states.mean(0), atol=4e-3)
    np.testing.assert_allclose(row["hidden_last"][0], states[-1], atol=4e-3)


def test_half_precision_runs_and_is_another_setting(blip_folder: Path) -> None:
    encoder = open_blip(blip_folder, dtype="bfloat16")
    assert encoder.settings["dtype"] == "bfloat16"
    assert np.isfinite(encoder.encode(make_images(2))[1]["hidden_mean"]).all()


@pytest.mark.parametrize(
    ("questions", "options", "message"),
    [
        (["  "], {}, "question 1 is empty"),
        ([], {}, "no question to ask"),
        (["what object is held?"] * 2, {}, "asked twice"),
        (["the people " * 30], {}, "tokens, the model takes 24"),
        (QUESTIONS, {"choices": ("yes", "yes please")}, "begin with the same token"),
        (QUESTIONS, {"choices": ("",)}, "empty answer"),
        (QUESTIONS, {"choices": ("zebra",)}, "no token for it"),
        (QUESTIONS, {"image_size": 2}, "image size"),
        (QUESTIONS, {"max_tokens": 1}, "at least 2 tokens"),
        (QUESTIONS, {"dtype": "int8"}, "known: auto, float32"),
        (QUESTIONS, {"device": "gpu"}, "not a device"),
    ],
)
def test_what_the_model_cannot_take_is_one_line(blip_folder: Path, questions, options, message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        open_blip(blip_folder, questions, **options)
    assert "\n" not in str(error.value)


def test_a_captioning_checkpoint_asked_to_answer_is_refused(caption_folder: Path) -> None:
    with pytest.raises(
        ModelError, match="BlipForConditionalGeneration, which cannot answer visual questions"
    ):
        open_blip(caption_folder)


def test_captioning_weights_under_another_name_are_refused_too(caption_folder: Path, tmp_path: Path) -> None:
    for path in caption_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config["architectures"] = ["BlipForQuestionAnswering"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="parameters are missing"):
        open_blip(tmp_path)
