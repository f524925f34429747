"""A text for a text: what the two sides read, the loss, greedy decoding, learning, and using what was learned."""

import copy
import json
import pickle
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_model import WORDS
from small_model import make as make_bert
from small_seq2seq import make

from sesame import config
from sesame.config import FineTune
from sesame.data.batch import Rows
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.tasks.arms import network_of, with_dropout
from sesame.tasks.base import Notes, TaskData
from sesame.tasks.comparison import compare
from sesame.tasks.finetune import encode, fine_tune, layer_rates
from sesame.tasks.folder import tuned_of
from sesame.tasks.greedy import greedy
from sesame.tasks.opening import open_task
from sesame.tasks.seq2seq import Seq2Seq
from sesame.tasks.tables import TextExample
from sesame.tasks.tuned import open_tuned
from sesame.tasks.writer import Writer

ONE_WORD = WORDS.split()


@pytest.fixture(scope="module")
def model() -> Model:
    torch.set_num_threads(1)
    return make()


def examples(count: int = 12) -> list[TextExample]:
    """The target is the second word of the source, said twice."""
    random = np.random.default_rng(0)
    made = []
    for n in range(count):
        words = random.choice(ONE_WORD, random.integers(2, 9)).tolist()
        made.append(TextExample(str(n), f"f:{n}", " ".join(words), label=f"{words[1]} {words[1]}"))
    return made


def task(**settings) -> Seq2Seq:
    return Seq2Seq(config.Seq2Seq(**settings))


def data_of(train: list[TextExample], **settings) -> TaskData:
    return TaskData("second", task(**settings), train, train[:6], train[:6], Notes())


# ------------------------------------------------------------------------------------------- sequences, loss
def test_sources_and_targets_are_framed_and_cut_and_what_is_cut_is_counted(model: Model) -> None:
    v, notes = model.vocabulary, Notes()
    pair = TextExample("1", "f:1", "return the list of a value", label="sorted list of a value")
    found = task(longest=3).encode([pair], v, 6, notes)
    word = {w: v.encode_batch([w])[0][0] for w in ONE_WORD}
    assert found.ids.tolist() == [v.cls, *(word[w] for w in ["return", "the", "list", "of"]), v.sep]
    assert found.given.tolist() == [v.sep, v.cls, word["sorted"], word["list"], word["of"]]
    assert found.written.tolist() == [-1, word["sorted"], word["list"], word["of"], -1]  # its end is not its end
    assert notes.counts == {"cut to 6 tokens": 1, "targets cut to 3 tokens in training": 1}
    whole = task(longest=5).encode([pair], v, 12, notes)
    assert whole.written.tolist()[-1] == v.sep and len(whole.given) == len(whole.written) == 7
    with pytest.raises(UserError, match="2 tokens are too few"):
        task().encode([pair], v, 2, notes)


@torch.no_grad()
def test_the_loss_of_a_batch_is_that_of_its_pairs_alone(model: Model) -> None:
    t, backbone = task(), model.objective.backbone
    pairs = t.encode(examples(), model.vocabulary, 14, Notes())
    network = Writer(backbone).eval()
    chosen = np.random.default_rng(0).permutation(12)
    batch = network.batch(pairs, chosen, model.vocabulary.pad)
    assert len(batch.rows[0].x) < 12
    total, count = 0.0, 0
    for i in chosen:
        source = rows_of(pairs.ids[pairs.offsets[i] : pairs.offsets[i + 1]])
        here = slice(pairs.written_offsets[i], pairs.written_offsets[i + 1])
        states = backbone((source, rows_of(pairs.given[here]))).last[0]
        logits, target = states @ backbone.encoder.embed.token.weight.T, torch.from_numpy(pairs.written[here])
        total += float(F.cross_entropy(logits, target, ignore_index=-1, reduction="sum"))
        count += int((target >= 0).sum())
    term = t.loss(network(batch), batch)
    assert (float(term.sum), term.count) == (pytest.approx(total, rel=1e-5), count)


def rows_of(ids: np.ndarray) -> Rows:
    x = torch.from_numpy(ids)[None]
    return Rows(x, torch.arange(len(ids))[None], torch.zeros_like(x), torch.zeros_like(x))


@torch.no_grad()
def test_greedy_decoding_is_the_likeliest_token_again_and_again(model: Model) -> None:
    """Against the whole model run anew for every token of every text by itself."""
    v, backbone, most = model.vocabulary, model.objective.backbone, 6
    pairs = task().encode(examples(), v, 14, Notes())
    sources = [pairs.ids[a:b] for a, b in zip(pairs.offsets, pairs.offsets[1:], strict=False)]
    alone = []
    for source in sources:
        ids = [v.sep, v.cls]
        while len(ids) < 2 + most:
            states = backbone((rows_of(source), rows_of(np.array(ids)))).last[0, -1]
            token = int((states @ backbone.encoder.embed.token.weight[: v.size].T).argmax())
            if token == v.sep:
                break
            ids.append(token)
        alone.append(ids[2:])
    assert greedy(backbone, v, sources, most) == alone
    assert len({len(ids) for ids in alone}) > 1, "texts of several lengths were to be written"
    table = Writer(backbone).scores(replace(pairs, most=most), v.pad)
    assert [row[row >= 0].tolist() for row in table] == alone


# ------------------------------------------------------------------------------------------------- learning
def test_it_learns_to_write_and_what_is_saved_writes_the_same(model: Model, tmp_path: Path) -> None:
    train = examples(24)
    settings = FineTune(lr=1e-2, epochs=30, min_steps=0, rows=8, dropout=0.0, evaluations=2)
    compared = compare(make(init=0.02), data_of(train, longest=4, metric="exact"), settings, seeds=1)
    result = compared.result
    assert compared.best.best.dev["exact"] > 0.8
    assert result.embeddings is None and result.pretrained.n == result.scratch.n == 1
    assert result.copied == 0.0 and result.tfidf > 0.8  # every test example is a training example
    before = compared.best.test(compared.encoded)
    tuned_of(compared, model.vocabulary, settings).save(tmp_path / "second")
    (tmp_path / "new.jsonl").write_text("".join(json.dumps({"source": e.text}) + "\n" for e in train[:6]))
    gold = "".join(json.dumps({"source": e.text, "target": e.label}) + "\n" for e in train[:6])
    (tmp_path / "gold.jsonl").write_text(gold)
    opened = open_tuned(tmp_path / "second")
    count, metrics = opened.evaluate(tmp_path / "gold.jsonl")
    assert count == 6 and metrics == before
    assert opened.predict(tmp_path / "new.jsonl", tmp_path / "out.jsonl") == 6
    said = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [list(row) for row in said] == [["source", "prediction"]] * 6
    right = np.mean([row["prediction"] == e.label for row, e in zip(said, train, strict=False)])
    assert right == before["exact"]


def test_both_stacks_share_one_embedding_through_copies_and_processes(model: Model) -> None:
    for network in (network_of("pretrained", model, task(), 0, 0.1), network_of("scratch", model, task(), 0, 0.1)):
        for copied in (network, copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
            backbone = copied.backbone
            assert backbone.decoder.embed.token is backbone.encoder.embed.token
            assert backbone.config.decoder.dropout == backbone.decoder.blocks[0].dropout == 0.1
            assert len(list(copied.parameters())) == len(list(model.objective.backbone.parameters()))
    assert model.objective.backbone.config.encoder.dropout == 0.0


def test_layers_further_from_what_is_written_learn_more_slowly(model: Model) -> None:
    rates = layer_rates(network_of("pretrained", model, task(), 0, 0.0), 0.5)
    order = [
        "decoder.blocks.1.ffn.up",
        "decoder.blocks.0.cross.q",
        "encoder.blocks.1.ffn.up",
        "encoder.blocks.0.ffn.up",
    ]
    assert [rates[f"backbone.{name}.weight"] for name in order] == [0.5, 0.25, 0.125, 0.0625]
    assert rates["backbone.encoder.embed.token.weight"] == rates["backbone.decoder.embed.position.weight"] == 0.5**5


def test_dropout_is_that_of_every_layer(model: Model) -> None:
    network = Writer(with_dropout(model.objective.backbone, 0.5))
    pairs = task().encode(examples(), model.vocabulary, 14, Notes())
    batch = network.batch(pairs, np.arange(4), 0)
    network.train()
    assert not torch.equal(network(batch)[0], network(batch)[0])


# ------------------------------------------------------------------------------------------------- mistakes
def test_what_does_not_fit_is_said(model: Model, tmp_path: Path) -> None:
    train = examples()
    with pytest.raises(UserError, match="tiny is no encoder-decoder"):
        encode(make_bert(), data_of(train))
    from sesame.tasks.classification import Classification

    classes = TaskData("c", Classification(config.Classification(), ("a",)), train, train, train, Notes())
    with pytest.raises(UserError, match="tiny is no Transformer over text"):
        encode(model, classes)
    with pytest.raises(UserError, match="--freeze trains the head alone"):
        encoded = encode(model, data_of(train))
        fine_tune(network_of("pretrained", model, encoded.data.task, 0, 0.0), encoded, FineTune(freeze=True))
    with pytest.raises(UserError, match="has 40 positions"):
        encode(model, data_of(train), 41)
    (tmp_path / "train.csv").write_text("body,summary\nmuch text,little\n" * 2)
    with pytest.raises(UserError, match="no column 'source'"):
        open_task(str(tmp_path), kind="seq2seq")
    with pytest.raises(UserError, match="kind seq2seq has no field 'label'"):
        open_task(str(tmp_path), kind="seq2seq", label="summary")


def test_a_folder_and_a_task_file_name_the_columns(tmp_path: Path) -> None:
    rows = "".join(f"{n} words,{n}\n" for n in range(20))
    (tmp_path / "train.csv").write_text("body,summary\n" + rows)
    folder = open_task(str(tmp_path), kind="seq2seq", source="body", target="summary", metric="bleu")
    c = config.Seq2Seq(train="train.csv", source="body", target="summary", metric="bleu")
    (tmp_path / "task.json").write_bytes(msgspec.json.encode(c))
    file = open_task(str(tmp_path / "task.json"))
    assert folder.task.metric == file.task.metric == "bleu"
    assert [e.label for e in folder.train] == [e.label for e in file.train] and len(folder.dev) == 2
