"""Image-text-to-text models, by a LLaVA of random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor

from mmcl_cache.encoders import chat, open_text_encoder
from mmcl_cache.errors import ModelError

from .conftest import make_images, save_llava, save_llava_next

QUESTIONS = ("whether the people are holding objects?", "what object is held?")


def open_chat(folder: Path, questions=QUESTIONS, **options):
    return open_text_encoder(
        str(folder), questions, **{"choices": ("yes", "no"), "device": "cpu", "max_tokens": 8, **options}
    )


def generate(folder: Path, prompt: str, images) -> list[list[int]]:
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    processor.image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    answers = []
    for image in images:
        inputs = processor(images=image, text=prompt, return_tensors="pt")
        made = model.generate(**inputs, do_sample=False, max_new_tokens=8)
        answers.append(made[0, inputs["input_ids"].shape[1] :].tolist())
    return answers


def answers_of(rows, question: int) -> list[list[int]]:
    return [row["tokens"][question, 1 : row["token_count"][question]].tolist() for row in rows]


def test_answers_equal_generate_token_for_token(llava_folder: Path) -> None:
    images = make_images(6)
    encoder = open_chat(llava_folder)
    rows = encoder.encode(images)
    for number, question in enumerate(QUESTIONS):
        prompt = f"USER : <image> {question} ASSISTANT :"
        assert encoder.settings["prompts"][number] == prompt
        assert answers_of(rows, number) == generate(llava_folder, prompt, images)
    assert len({len(a) for a in answers_of(rows, 0)}) > 1, "answers of several lengths are wanted here"


def test_batched_equals_single_and_many_questions_equal_one_by_one(llava_folder: Path) -> None:
    images = make_images(5)
    together = open_chat(llava_folder).encode(images)
    for number, question in enumerate(QUESTIONS):
        alone = open_chat(llava_folder, [question])
        for image, row in zip(images, together, strict=True):
            single = alone.encode([image])[0]
            assert np.array_equal(single["tokens"][0], row["tokens"][number])
            assert json.loads(single["answer"])[0] == json.loads(row["answer"])[number]
            for name in ("log_prob", "choice_prob", "hidden_mean", "hidden_last"):
                np.testing.assert_allclose(single[name][0], row[name][number], rtol=5e-3, atol=1e-3)


def test_the_vision_tower_runs_once_for_all_questions(llava_folder: Path) -> None:
    encoder = open_chat(llava_folder)
    assert encoder.info["shares_vision"]
    calls = []
    encoder._model.model.vision_tower.register_forward_hook(lambda *inputs: calls.append(1))
    encoder.encode(make_images(3))
    assert len(calls) == 1


def test_models_that_cannot_share_the_vision_tower_answer_the_same(llava_folder: Path) -> None:
    images = make_images(4)
    shared = open_chat(llava_folder).encode(images)
    encoder = open_chat(llava_folder)
    encoder._shares_vision = False
    for one, other in zip(shared, encoder.encode(images), strict=True):
        for name in one:
            assert np.array_equal(one[name], other[name])


def test_prompts_of_other_lengths_are_padded_on_the_left(llava_folder: Path) -> None:
    short, long = {"input_ids": torch.tensor([5])}, {"input_ids": torch.tensor([1, 2, 3])}
    padded = chat._pad_left([short, long], pad=9)
    assert padded["input_ids"].tolist() == [[9, 9, 5], [1, 2, 3]]


def test_padding_on_the_left_changes_no_answer(llava_folder: Path) -> None:
    images = make_images(3)
    encoder = open_chat(llava_folder, [QUESTIONS[0]])
    plain = encoder.encode(images)
    prompts = encoder._encode_prompts
    longer = [{k: torch.cat([v.new_zeros(6), v]) for k, v in prompts(images[0].size)[0].items()}]
    encoder._encode_prompts = lambda size: longer
    for one, other in zip(plain, encoder.encode(images), strict=True):
        assert np.array_equal(one["tokens"], other["tokens"])


def test_images_of_other_sizes_in_one_batch_change_no_answer_of_llava_next(tmp_path: Path) -> None:
    """Its prompts are as long as the image has tiles: both the prompts and the tiles of a batch are padded."""
    folder, images = save_llava_next(tmp_path), [*make_images(3), *make_images(2, (64, 30))]
    encoder = open_chat(folder)
    rows = encoder.encode(images)
    for number, prompt in enumerate(encoder.settings["prompts"]):
        assert answers_of(rows, number) == generate(folder, prompt, images)
    lengths = {len(encoder._encode_prompts(image.size)[0]["input_ids"]) for image in images}
    assert len(lengths) == 2


def test_a_processor_without_chat_template_gets_a_plain_prompt(tmp_path: Path) -> None:
    encoder = open_chat(save_llava(tmp_path, template=None), [QUESTIONS[1]])
    assert encoder.settings["prompts"] == ["USER: <image>\nwhat object is held? ASSISTANT:"]
    images = make_images(3)
    assert answers_of(encoder.encode(images), 0) == generate(tmp_path, encoder.settings["prompts"][0], images)


def test_a_chat_template_that_fails_is_one_line(tmp_path: Path) -> None:
    folder = save_llava(tmp_path, template="{{ raise_exception('images are not for me') }}")
    with pytest.raises(ModelError, match="images are not for me") as error:
        open_chat(folder)
    assert "\n" not in str(error.value)


def test_rows_have_the_columns_said(llava_folder: Path) -> None:
    encoder = open_chat(llava_folder)
    row = encoder.encode(make_images(1))[0]
    assert set(row) == {column.name for column in encoder.columns}
    for column in encoder.columns:
        if column.dtype != "utf8":
            assert row[column.name].shape == column.shape and row[column.name].dtype == column.dtype


def test_a_question_longer_than_the_model_takes_is_one_line(llava_folder: Path) -> None:
    with pytest.raises(ModelError, match="tokens with its image"):
        open_chat(llava_folder, ["the people are holding " * 40])


def test_enc_token_is_refused(llava_folder: Path) -> None:
    with pytest.raises(ModelError, match="is for BLIP"):
        open_chat(llava_folder, enc_token=True)


def test_settings_hold_nothing_of_this_machine(llava_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for path in llava_folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    encoder = open_chat(copy)
    assert encoder.settings == open_chat(llava_folder).settings
    assert str(tmp_path) not in json.dumps(encoder.settings) and "cpu" not in json.dumps(encoder.settings)
    assert encoder.info["model"] == str(copy)


def test_a_text_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))
    with pytest.raises(ModelError, match="answers no visual questions"):
        open_chat(tmp_path)


@pytest.mark.parametrize(
    "failure",
    [
        ImportError("\nQwen2VLVideoProcessor requires the Torchvision library but it was not found\n"),
        ValueError(
            "some/model requires `torchvision` to be installed. Please install `torchvision` and try again."
        ),
    ],
)
def test_a_processor_that_needs_what_is_not_installed_names_it(tmp_path: Path, monkeypatch, failure) -> None:
    folder = save_llava(tmp_path)

    def refuse(*args: object, **options: object) -> None:
        raise failure

    monkeypatch.setattr("mmcl_cache.encoders.loading.transformers.AutoProcessor.from_pretrained", refuse)
    with pytest.raises(ModelError, match="needs torchvision, which is not installed: pip install"):
        open_chat(folder)


def test_blip_folders_go_to_blip(blip_folder: Path) -> None:
    assert open_text_encoder(str(blip_folder), QUESTIONS, device="cpu").settings["encoder"] == "blip-vqa"
