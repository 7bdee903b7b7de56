"""Questions and templates."""

from __future__ import annotations

import pytest

from mmcl_cache.encoders import DEFAULT_QUESTION, parse_question, write_question
from mmcl_cache.errors import ModelError


def test_the_published_question_is_its_template_filled() -> None:
    assert write_question("whether", target="people", action="holding objects") == DEFAULT_QUESTION
    assert write_question("describe", target="person") == "please describe the person."


def test_templates_can_be_typed_and_other_text_is_left_alone() -> None:
    assert parse_question("whether:target=people,action=holding objects") == DEFAULT_QUESTION
    assert parse_question("what is this: a cup?") == "what is this: a cup?"


def test_unknown_templates_and_wrong_words_are_named() -> None:
    with pytest.raises(ModelError, match="whether, describe"):
        write_question("why", target="people")
    with pytest.raises(ModelError, match="takes target, action; got target"):
        write_question("whether", target="people")
    with pytest.raises(ModelError, match="got action, target"):
        parse_question("describe:target=people,action=x")
