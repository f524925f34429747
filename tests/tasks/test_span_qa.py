"""Span question answering: texts to windows and back, the loss, "no answer", what cannot be read."""

import gzip
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame import config
from sesame.data.tokenizer import BERT_SPECIAL, Vocabulary, train, wordpiece
from sesame.errors import UserError
from sesame.tasks.base import Notes
from sesame.tasks.network import readable
from sesame.tasks.sequences import batch_of
from sesame.tasks.span_qa import NO_ANSWER, Answer, SpanQA, windows
from sesame.tasks.squad import Question

WORDS = ["who", "is", "Ada", "näher", "1815", "engine", "wrote", "of", "note"]
PIECES = [
    *BERT_SPECIAL.values(),
    "who",
    "is",
    "ada",
    "na",
    "##her",
    "18",
    "##15",
    "engine",
    "wrote",
    ".",
    "?",
    "山",
    "水",
]
VOCABULARY = Vocabulary(wordpiece({piece: i for i, piece in enumerate(PIECES)}, lowercase=True), BERT_SPECIAL)
BYTES = train("bytes", lambda: [], 0)


def qa(text: str = "Ada wrote.", answer: str = "", question: str = "who?", key: str = "q", impossible: bool = False):
    answers, starts = ((answer,), (text.index(answer),)) if answer else ((), ())
    return Question(key, f"set.json: question {key}", question, text, answers, starts, impossible)


def task(labels: tuple[str, ...] = (), **changes) -> SpanQA:
    return SpanQA(config.SpanQA(**changes), labels)


@st.composite
def fields(draw) -> list[tuple]:
    """Of questions; answers are some whole words of the text; "of" and "note" are no tokens of the vocabulary."""
    made = []
    for number in range(draw(st.integers(1, 3))):
        words = draw(st.lists(st.sampled_from([*WORDS, "山水", "🌍"]), min_size=1, max_size=30))
        first = draw(st.integers(0, len(words) - 1))
        last = draw(st.integers(first, min(first + 3, len(words) - 1)))
        gap = draw(st.sampled_from([" ", "  ", "\n"]))
        answer, start = gap.join(words[first : last + 1]), len(gap.join([*words[:first], ""]))
        asked = " ".join(draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5)))
        made.append((str(number), "here", asked, gap.join(words), (answer,), (start,)))
    return made


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.integers(2, 60), st.integers(1, 70))
def test_windows_read_every_token_and_stop(tokens, room, stride):
    stride = min(stride, room // 2)
    begin, end = windows(tokens, room, stride)
    assert begin[0] == 0 and end[-1] == tokens
    assert (np.diff(begin) == stride).all()
    assert (end[:-1] - begin[:-1] == room).all() and end[-1] - begin[-1] <= room
    assert (end[:-1] < tokens).all()


@settings(max_examples=40, deadline=None)
@given(fields(), st.integers(30, 60), st.integers(1, 40), st.sampled_from([VOCABULARY, BYTES]))
def test_windows_hold_the_question_and_know_their_text(asked, length, stride, vocabulary):
    asked = [Question(*told) for told in asked]
    notes = Notes()
    longest = 12
    room = task(stride=stride, longest_question=longest)
    made = room.encode(asked, vocabulary, length, notes)
    assert notes.counts["windows"] == len(made) and (made.lengths <= length).all()
    starting = np.zeros(len(asked), int)
    for s, owner in enumerate(made.owner.tolist()):
        text = asked[owner].context
        ids = made.ids[made.offsets[s] : made.offsets[s + 1]]
        kind = made.kind[made.offsets[s] : made.offsets[s + 1]]
        here = slice(made.read_offsets[s], made.read_offsets[s + 1])
        question = vocabulary.encode_batch([asked[owner].question])[0][:longest]
        lead = [vocabulary.cls, *question, vocabulary.sep]
        assert ids[: len(lead)].tolist() == lead and ids[-1] == vocabulary.sep
        assert kind.tolist() == [0] * len(lead) + [1] * (len(ids) - len(lead))
        assert made.read[here].tolist() == [0, *range(len(lead), len(ids) - 1)]
        whole, offsets = vocabulary.encode_with_offsets([text])[0]
        begin, end = made.begin[here], made.end[here]
        assert (begin[0], end[0]) == (0, 0) and not made.may_start[here][0]
        first = next(i for i in range(len(whole)) if (offsets[i : i + len(begin) - 1] == np.c_[begin, end][1:]).all())
        assert whole[first : first + len(begin) - 1].tolist() == ids[len(lead) : -1].tolist()
        starting[owner] += made.may_start[here].sum()
        start, stop = made.target[here].argmax(0)
        assert (made.target[here].sum(0) == 1).all()
        if start:
            assert text[begin[start] : end[stop]].strip() == asked[owner].answers[0]
        else:
            assert stop == 0
    for owner, question in enumerate(asked):
        _, offsets = vocabulary.encode_with_offsets([question.context])[0]
        assert starting[owner] == sum(not question.context[a:b].isspace() for a, b in offsets.tolist())


@settings(max_examples=40, deadline=None)
@given(fields(), st.integers(30, 60), st.sampled_from([VOCABULARY, BYTES]), st.integers(0, 99))
def test_sure_scores_give_the_answers_back_as_they_stand_in_the_text(asked, length, vocabulary, seed):
    asked = [Question(*told) for told in asked]
    room = task(stride=50, longest_question=3, longest_answer=40)  # windows of 24 and more; the stride is half of that
    made = room.encode(asked, vocabulary, length, Notes())
    noise = np.random.default_rng(seed).normal(size=made.target.shape)
    held = made.target & (made.begin < made.end)[:, None]
    found = room.decode(asked, made, (noise + 50 * held).astype(np.float32))
    for owner, (question, answer) in enumerate(zip(asked, found, strict=True)):
        mine = np.repeat(made.owner, np.diff(made.read_offsets)) == owner
        assert answer.text and answer.text in question.context
        if (held[mine, 0] & made.may_start[mine]).any():
            assert answer.text == question.answers[0]
        assert answer.choices[0][0] == answer.text
        assert sum(share for _, share in answer.choices) == pytest.approx(1)


def test_the_loss_is_the_cross_entropy_over_each_window():
    asked = [qa("Ada wrote. " * 12, "wrote"), qa("who is Ada?", "Ada"), qa("山水" * 9, "水山")]
    made = task(stride=5).encode(asked, VOCABULARY, 20, Notes())
    assert len(made) > 5
    chosen = np.array([3, 0, len(made) - 1, 2])
    batch = batch_of(made, chosen, VOCABULARY.pad)
    scores = torch.randn(len(batch.sequence), 2, generator=torch.manual_seed(0), requires_grad=True)
    term = task().loss(scores, batch)
    expected, at = [], 0
    for s in chosen:
        here = slice(made.read_offsets[s], made.read_offsets[s + 1])
        size = here.stop - here.start
        goal = torch.from_numpy(made.target[here].argmax(0))
        expected.append(F.cross_entropy(scores[at : at + size].T, goal))  # two rows: starts and ends
        at += size
    assert term.count == 4
    assert term.sum.item() == pytest.approx(sum(loss.item() for loss in expected), rel=1e-5)
    term.sum.backward()
    assert scores.grad is not None and scores.grad.isfinite().all()


def test_the_head_scores_each_read_position():
    head = task().head(16, 0.1)
    batch = batch_of(task().encode([qa("Ada wrote.", "Ada")], VOCABULARY, 20, Notes()), np.array([0]), VOCABULARY.pad)
    h = torch.randn(len(batch.order), 16)
    with torch.no_grad():
        np.testing.assert_allclose(head(h, batch), h @ head.out.weight.T + head.out.bias, atol=1e-6)


def scored(room: SpanQA, asked: list[Question], null: float) -> list[Answer]:
    made = room.encode(asked, VOCABULARY, 20, Notes())
    scores = np.where((made.begin == made.end)[:, None], null / 2, made.target * 2.0)
    return room.decode(asked, made, scores)


def test_no_answer_is_given_only_above_the_threshold_and_only_where_training_had_such():
    asked = [qa("Ada wrote.", "Ada")]
    (sure,) = scored(task(), asked, null=99)
    assert (sure.text, sure.null_margin) == ("Ada", 0)
    (empty,) = scored(task((NO_ANSWER,)), asked, null=5)
    assert (empty.text, empty.span, empty.null_margin) == ("", "Ada", pytest.approx(1))
    assert empty.choices[0][0] == "" and empty.choices[1][0] == "Ada"
    (kept,) = scored(task((NO_ANSWER,), null_threshold=1.0), asked, null=5)
    assert kept.text == "Ada"


def test_the_threshold_is_that_with_the_best_f1_on_dev():
    dev = [qa("Ada wrote.", "Ada", key="1"), qa("Ada wrote.", key="2", impossible=True), qa("Ada is.", "Ada", key="3")]
    said = [Answer("", "Ada", 1.5), Answer("", "wrote", 3.0), Answer("Ada", "Ada", -1.0)]
    tuned, decided = task((NO_ANSWER,)).tuned(dev, said)
    assert 1.5 <= tuned.config.null_threshold < 3.0
    assert tuned.labels == (NO_ANSWER,)
    assert [answer.text for answer in decided] == ["Ada", "", "Ada"]
    for kept in (task(), task((NO_ANSWER,), null_threshold=0.5)):  # "" is never said; a threshold was set
        assert kept.tuned(dev, said) == (kept, said)


def test_a_token_in_several_windows_starts_answers_where_it_has_most_context():
    asked = [qa("Ada wrote. " * 9, "wrote")]
    room = task(stride=4, longest_question=2, best=99)
    made = room.encode(asked, VOCABULARY, 17, Notes())  # windows of 12 tokens
    token = np.flatnonzero((made.begin == 4) & (made.end == 9))  # the first "wrote": in the first window alone
    assert len(token) == 1 and made.may_start[token[0]]
    later = np.flatnonzero(made.begin == 4 + 3 * 11)  # token 10: last but one of window 0, in the middle of window 1
    assert made.may_start[later].tolist() == [False, True, False]


def test_what_is_cut_or_cannot_be_reached_is_counted():
    notes = Notes()
    asked = [qa("Ada wrote. " * 9, "Ada wrote. Ada", question="who is Ada is Ada?"), qa("Ada.", "Ada")]
    made = task(longest_question=4, longest_answer=3).encode(asked, VOCABULARY, 20, notes)
    assert notes.counts == {
        "questions cut after 4 tokens": 1,
        "windows": len(made),
        "texts read in several windows": 1,
        "answers longer than 3 tokens, never given": 1,
    }


def test_a_question_longer_than_the_window_is_an_error_or_a_counted_skip():
    asked = [qa(key="long", answer="Ada", question="who is Ada " * 6), qa(key="short", answer="wrote")]
    with pytest.raises(UserError, match=r"question long: the question takes 18 tokens, .* window of 22.* 11 or less"):
        task().encode(asked, VOCABULARY, 22, Notes())
    notes = Notes(skip=True)
    room = task()
    made = room.encode(asked, VOCABULARY, 22, notes)
    assert notes.counts["skipped: question longer than the window"] == 1
    assert made.owner.tolist() == [1]
    read, made = readable(asked, made)
    assert read == asked[1:] and made.owner.tolist() == [0]
    assert [answer.text for answer in room.decode(read, made, made.target * 9.0)] == ["wrote"]
    with pytest.raises(UserError, match="none of the 1 questions can be read with 22 tokens"):
        room.encode(asked[:1], VOCABULARY, 22, notes)
    with pytest.raises(UserError, match="finds no token in the text"):
        room.encode([qa("\u200b")], VOCABULARY, 22, Notes())


def test_labels_say_whether_there_may_be_no_answer():
    answered, impossible = qa(answer="Ada"), qa(impossible=True)
    settings = config.SpanQA(train="set.json")
    assert SpanQA.labels_of(settings, [answered]) == ()
    assert SpanQA.labels_of(settings, [answered, impossible]) == (NO_ANSWER,)
    with pytest.raises(UserError, match=r"set.json: none of the 1 training questions has an answer"):
        SpanQA.labels_of(settings, [impossible])


def test_a_question_without_an_answer_where_training_had_none_is_a_fault():
    asked = [qa(answer="Ada"), qa(key="none", impossible=True)]
    with pytest.raises(UserError, match="question none: the text holds no answer"):
        task().check(asked, Notes())
    notes = Notes(skip=True)
    assert task().check(asked, notes) == asked[:1] and notes.counts.total() == 1
    with pytest.raises(UserError, match="no question is left that has an answer"):
        task().check(asked[1:], notes)
    assert task((NO_ANSWER,)).check(asked, Notes()) == asked


def test_metrics_are_means_over_the_questions_and_over_those_with_and_without_an_answer():
    asked = [qa(answer="Ada"), qa("Ada wrote is.", "Ada wrote"), qa(impossible=True), qa(impossible=True)]
    said = [Answer("Ada"), Answer("Ada"), Answer(""), Answer("wrote")]
    assert task().metrics(asked[:2], said[:2]) == {"f1": pytest.approx(5 / 6), "exact": 0.5}
    assert task((NO_ANSWER,)).metrics(asked, said) == {
        "f1": pytest.approx((1 + 2 / 3 + 1) / 4),
        "exact": 0.5,
        "no_answer_exact": 0.5,
        "has_answer_f1": pytest.approx(5 / 6),
        "has_answer_exact": 0.5,
    }
    chinese = [qa("《山水》", "《山水》")]
    assert task(metric="cmrc").metrics(chinese, [Answer("山水")]) == {"f1": 1.0, "exact": 1.0}
    assert task(metric="squad").metrics(chinese, [Answer("山水")]) == {"f1": 0.0, "exact": 0.0}


def test_predictions_are_written_as_squads_script_reads_them(tmp_path):
    path = tmp_path / "predictions.json"
    task().write([qa(key="1"), qa(key="2")], [Answer("山水"), Answer("")], path)
    assert json.loads(path.read_text(encoding="utf-8")) == {"1": "山水", "2": ""}
    assert "山水" in path.read_text(encoding="utf-8")
    packed = tmp_path / "predictions.json.gz"
    task().write([qa(key="1")], [Answer("山水")], packed)
    assert json.loads(gzip.decompress(packed.read_bytes())) == {"1": "山水"}


def test_questions_without_answers_are_read_for_prediction(tmp_path):
    path = tmp_path / "ask.json"
    asked = {"data": [{"paragraphs": [{"context": "Ada wrote.", "qas": [{"id": "1", "question": "who?"}]}]}]}
    path.write_text(json.dumps(asked))
    examples = SpanQA.read(config.SpanQA(), path, Notes(), labelled=False)
    made = task().encode(examples, VOCABULARY, 20, Notes())
    assert made.target is None
    assert task().decode(examples, made, np.eye(len(made.read), 2, -1))[0].text in "Ada wrote."
