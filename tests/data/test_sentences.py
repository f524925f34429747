"""Sentence starts in English, Chinese and hard-wrapped text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame.data import sentences

CASES = [
    "It rains.| He stays.",
    "Dr. Smith met J. R. Tolkien, e.g. in Oxford.| They talked!| Why?| Nobody knows…| The end.",
    '"Come in," he said.| "Why?"| She left.',
    "Version 3.11 is out.| It is 2.5 times as fast, see example.com for more.",
    "the file is opened. then it is read",  # lower case goes on
    "It was he and I.| We went.",
    "Anarchism|\nAnarchism is a philosophy.|\nIt is old.",
    "A paragraph that was wrapped\nby hand at some width.| It has two sentences.",
    "他来了。|我走了！|“好吗？”|她问。 |",
    "（是的。）|後來改名為「東京」。|\n其後",
    "¿Qué?| ¡No!| Sí.",
    "Short.  |",
]


@pytest.mark.parametrize("marked", CASES)
def test_sentences_are_cut_where_a_reader_would(marked: str) -> None:
    marked = marked.removesuffix("|")
    assert sentences.split(marked.replace("|", "")) == marked.split("|")


def test_empty_text_has_no_sentence() -> None:
    assert sentences.starts("") == []


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=" \n.!?。！”\"'(abAB中1é", max_size=60))
def test_sentences_joined_are_the_text_and_none_is_empty(text: str) -> None:
    found = sentences.split(text)
    assert "".join(found) == text
    assert all(found)
    assert sentences.starts(text) == sorted(set(sentences.starts(text)))
