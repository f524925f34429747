"""How well written texts agree with those that were asked for."""

import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer

from sesame.tasks.text_metrics import Words, bleu, exact, rouge

GOLD = ["Return the list of items.", "Nothing at all is left of it.", "A set is a finite container."]
WRITTEN = ["return the sorted list .", "nothing", "a set is a finite , iterable container ."]


def test_rouge_is_the_librarys_on_english() -> None:
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    for ours, theirs in {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}.items():
        each = [scorer.score(g, w)[theirs].fmeasure for g, w in zip(GOLD, WRITTEN, strict=True)]
        assert rouge(GOLD, WRITTEN)[ours] == approx(sum(each) / 3)


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(max_codepoint=127)))
def test_words_of_english_are_the_librarys(text: str) -> None:
    assert Words().tokenize(text) == DefaultTokenizer(use_stemmer=False).tokenize(text)


def test_other_writing_has_words_too() -> None:
    assert Words().tokenize("Größe, 苹果 ﬁn_x") == ["größe", "苹", "果", "ﬁn", "x"]
    assert rouge(["苹果很好"], ["苹果好"])["rouge_1"] == approx(2 * 1 * 0.75 / 1.75)


def test_bleu_is_sacrebleus() -> None:
    assert bleu(GOLD, WRITTEN) == approx(sacrebleu.corpus_bleu(WRITTEN, [GOLD]).score / 100)
    lower = sacrebleu.corpus_bleu(WRITTEN, [GOLD], lowercase=True).score / 100
    assert bleu(GOLD, WRITTEN, cased=False) == approx(lower) and lower > bleu(GOLD, WRITTEN)


def test_exact_match_knows_no_white_space_and_case_only_where_it_is_told() -> None:
    assert exact(["A list.", "a"], ["a list .", "b"], cased=False) == 0.5
    assert exact(["A list.", "a"], ["a list .", "a"], cased=True) == 0.5
