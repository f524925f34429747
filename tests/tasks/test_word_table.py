"""What the vectors of words are asked, against brute force; and files that cannot be read."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from small_model import PIECES, make
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers import models as tokenizers

from sesame import config, models, pretext
from sesame.data.tokenizer import BERT_SPECIAL, Vocabulary, train, word_level
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.pretext.base import Objective
from sesame.tasks.embed import embed
from sesame.tasks.word_table import (
    Section,
    WordTable,
    read_pairs,
    read_questions,
    semantic_and_syntactic,
    total,
)

WORDS = [f"w{i}" for i in range(30)]
VOCABULARY = Vocabulary(word_level({w: i for i, w in enumerate([*BERT_SPECIAL.values(), *WORDS])}, True), BERT_SPECIAL)


def word_table(width: int = 4) -> WordTable:
    vectors = np.random.default_rng(0).standard_normal((VOCABULARY.size, width)).astype(np.float32)
    vectors[:5] = 0
    return WordTable(VOCABULARY, vectors)


def cosine(table: WordTable, a: str, b: str) -> float:
    x, y = (table.vectors[5 + WORDS.index(w.lower())].astype(float) for w in (a, b))
    return float(x @ y / np.sqrt(x @ x) / np.sqrt(y @ y))


def test_the_nearest_words_are_those_of_all_cosines() -> None:
    table = word_table()
    ranked = sorted((w for w in WORDS if w != "w3"), key=lambda w: -cosine(table, "w3", w))
    near = table.nearest("W3", 6)  # as the tokenizer reads it
    assert [n.word for n in near] == ranked[:6]
    assert [n.cosine for n in near] == pytest.approx([cosine(table, "w3", w) for w in ranked[:6]], abs=1e-6)
    among = [n.word for n in table.nearest("w3", 100, most=10)]
    assert among == [w for w in ranked if int(w[1:]) < 10]
    with pytest.raises(UserError, match=r"'w33' is no word of this vocabulary \(of 30\)"):
        table.nearest("w33")


def test_similarity_is_spearmans_correlation_over_the_known_pairs() -> None:
    table, random = word_table(), np.random.default_rng(1)
    pairs = [(*random.choice(WORDS, 2, replace=False).tolist(), float(random.integers(0, 6))) for _ in range(40)]
    expected = spearmanr([cosine(table, a, b) for a, b, _ in pairs], [s for *_, s in pairs])[0]
    found = table.similarity([*pairs, ("w1", "nobody", 9.0), ("two words", "w2", 0.0)])
    assert (found.pairs, found.unknown) == (40, 2)
    assert found.spearman == pytest.approx(expected, abs=1e-6)
    assert table.similarity([("w1", "w2", 1.0)]).spearman is None


def test_analogies_follow_the_protocol() -> None:
    table, random = word_table(3), np.random.default_rng(2)
    questions = [tuple(random.choice(WORDS, 4, replace=False).tolist()) for _ in range(60)]

    def answer(a: str, b: str, c: str, most: int) -> str:
        unit = {w: table.vectors[5 + i] / np.linalg.norm(table.vectors[5 + i]) for i, w in enumerate(WORDS[:most])}
        goal = unit[b] - unit[a] + unit[c]
        return max((w for w in unit if w not in (a, b, c)), key=lambda w: float(goal @ unit[w]))

    asked = [(*q[:3], answer(*q[:3], 30)) if i % 2 else q for i, q in enumerate(questions)]
    right = sum(answer(*q[:3], 30) == q[3] for q in asked)
    found = table.analogies({"mine": [*asked, ("w1", "w2", "w3", "nobody")], "none": [("x", "y", "z", "w1")]})
    assert found == [Section("mine", right, 60, 1), Section("none", 0, 0, 1)]
    assert 30 <= right < 60
    known = [q for q in asked if all(int(w[1:]) < 20 for w in q)]
    capped = table.analogies({"mine": asked}, most=20)[0]
    assert (capped.questions, capped.unknown) == (len(known), 60 - len(known))
    assert capped.right == sum(answer(*q[:3], 20) == q[3] for q in known)


def test_sections_are_summed_as_papers_do() -> None:
    some = [Section("capital", 1, 2, 3), Section("gram1-adverb", 4, 8, 0), Section("gram2-opposite", 0, 2, 1)]
    assert semantic_and_syntactic(some) == [
        Section("semantic", 1, 2, 3),
        Section("syntactic", 4, 10, 1),
        Section("total", 5, 12, 4),
    ]
    assert semantic_and_syntactic(some[:1]) == [Section("total", 1, 2, 3)]
    assert total("nothing", []).accuracy is None


def test_the_words_of_other_tokenizers_are_their_whole_words() -> None:
    model = make()
    table = WordTable.of(model)
    whole = [piece for piece in PIECES if not piece.startswith(("##", "["))]
    assert [table.spelled[i] for i in table.words] == list(dict.fromkeys(whole))
    np.testing.assert_array_equal(table.vectors, model.objective.backbone.embed.token.weight.detach().numpy())
    assert table.similarity([("list", "lists", 1.0)]).unknown == 1  # list + ##s
    texts = ["the list of the values and the list", "the list is the list and the values"] * 20
    level = train("bytebpe", lambda: texts, 0)
    table = WordTable(level, np.ones((level.size, 2), np.float32))
    assert {"the", "list", "values"} <= {table.spelled[i] for i in table.words}
    assert [id >= 0 for id in table.ids(["list", "lists"], table.words)] == [True, False]


def test_the_words_of_sentencepiece_are_those_that_begin_with_its_mark() -> None:
    pieces = ["<pad>", "</s>", "<unk>", "▁the", "▁list", "ing", "▁go", "▁", "s", "▁lists"]
    unigram = Tokenizer(tokenizers.Unigram([(p, -float(len(pieces) - i)) for i, p in enumerate(pieces)], unk_id=2))
    unigram.pre_tokenizer, unigram.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    unigram.add_special_tokens(pieces[:3])
    vocabulary = Vocabulary(unigram)
    table = WordTable(vocabulary, np.random.default_rng(0).standard_normal((vocabulary.size, 4)).astype(np.float32))
    assert [table.spelled[i] for i in table.words] == ["the", "list", "go", "lists"]
    assert {near.word for near in table.nearest("the")} == {"list", "go", "lists"}
    assert [id >= 0 for id in table.ids(["go", "going", "ing", "s"], table.words)] == [True, False, False, False]


def test_word_vectors_are_the_states_of_their_tokens() -> None:
    backbone = models.build(config.WordVectors(width=4, vocab=VOCABULARY.size))
    objective = Objective(backbone, pretext.build(config.Cbow(), backbone, VOCABULARY))
    c = config.Recipe(name="tiny", data=config.TextData(length=8), backbone=backbone.config, pretext=config.Cbow())
    model = Model(objective, VOCABULARY, c, 0)
    objective.pretext.start(backbone, {})
    vectors = backbone.embed.token.weight.detach().numpy()
    found = embed(model, ["w1 w2 w2", " ".join(WORDS)])
    np.testing.assert_allclose(found[0], (vectors[6] + 2 * vectors[7]) / 5, atol=1e-7)  # [CLS] and [SEP] are zero
    assert found.shape == (2, 4)
    with pytest.raises(UserError, match="no layer 1"):
        embed(model, ["w1"], layer=1)


@pytest.mark.parametrize("name", ["vectors.txt", "vectors.bin"])
def test_what_is_written_is_word2vecs_format(tmp_path: Path, name: str) -> None:
    table = word_table()
    assert table.save(tmp_path / name) == 30
    head, rest = (tmp_path / name).read_bytes().split(b"\n", 1)
    assert head == b"30 4"
    for word, vector in zip(WORDS, table.vectors[5:], strict=True):
        written, rest = rest.split(b" ", 1)
        assert written.decode() == word
        if name.endswith("bin"):
            numbers, rest = np.frombuffer(rest[:16], "<f4"), rest[17:]
        else:
            line, rest = rest.split(b"\n", 1)
            numbers = np.array(line.split(), np.float32)
        np.testing.assert_array_equal(numbers, vector)
    assert not rest


def test_files_are_read_in_the_forms_they_come_in(tmp_path: Path) -> None:
    def file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
        return path

    expected = [("tiger", "cat", 7.35), ("book", "paper", 7.46)]
    assert read_pairs(file("a.tsv.gz", "word1\tword2\tscore\ntiger\tcat\t7.35\nbook\tpaper\t7.46\n")) == expected
    assert read_pairs(file("a.csv", "Word 1,Word 2,Human (mean)\ntiger,cat,7.35\n\nbook,paper,7.46")) == expected
    assert read_pairs(file("a.txt", "tiger cat 7.35\nbook  paper 7.46\n")) == expected
    asked = {"family": [("boy", "girl", "son", "daughter")], "gram8-plural": [("car", "cars", "dog", "dogs")]}
    assert (
        read_questions(file("q.txt", ": family\nboy girl son daughter\n: gram8-plural\ncar cars dog dogs\n")) == asked
    )
    rows = "section\ta\tb\tc\td\nfamily\tboy\tgirl\tson\tdaughter\ngram8-plural\tcar\tcars\tdog\tdogs\n"
    assert read_questions(file("q.tsv.gz", rows)) == asked
    for read, text, said in (
        (read_pairs, "tiger cat 7\nbook paper", r"bad:2: two words and a score were expected, found 'book paper'"),
        (read_pairs, "tiger cat nan", r"bad:1: the score is nan"),
        (read_pairs, "word1 word2 score\n", "no pair was found"),
        (read_questions, ": family\nboy girl son\n", r"bad:2: four words were expected, found 'boy girl son'"),
        (read_questions, "\n", "no question was found"),
    ):
        with pytest.raises(UserError, match=said):
            read(file("bad", text))
    with pytest.raises(UserError, match="no such file"):
        read_pairs(tmp_path / "nowhere.txt")
    (tmp_path / "latin").write_bytes(b"caf\xe9 bar 3")
    with pytest.raises(UserError, match="latin:1: not UTF-8"):
        read_pairs(tmp_path / "latin")


def test_a_model_of_images_has_no_words() -> None:
    backbone = models.build(config.ConvNet())
    with pytest.raises(UserError, match="no Transformer over text"):
        WordTable.of(
            Model(Objective(backbone, pretext.build(config.Byol(hidden=8, out=4), backbone, None)), None, None, 0)
        )
