"""Every layout of a BERT folder opens to the same weights; what is wrong with one is said by name."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_bert import VOCAB, WORDS, bert, shaken
from torch import Tensor

from sesame import config, interop
from sesame.data.batch import Rows
from sesame.data.tokenizer import Vocabulary
from sesame.errors import UserError

transformers.utils.logging.disable_progress_bar()
WEIGHTS = "model.safetensors"
Tensors = dict[str, Tensor]


# ------------------------------------------------------------------------------------------ layouts
def halves(tensors: Tensors) -> tuple[Tensors, Tensors]:
    names = sorted(tensors)
    return {n: tensors[n] for n in names[::2]}, {n: tensors[n] for n in names[1::2]}


def as_shards(folder: Path, tensors: Tensors, stem: str, ending: str, save: Callable) -> None:
    places = {}
    for number, part in enumerate(halves(tensors), 1):
        name = f"{stem}-{number:05d}-of-00002.{ending}"
        save(part, folder / name)
        places |= dict.fromkeys(part, name)
    (folder / f"{stem}.{ending}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


LAYOUTS: dict[str, Callable[[Path, Tensors], None]] = {
    "safetensors": lambda folder, tensors: save_file(tensors, folder / WEIGHTS),
    "safetensors in shards": lambda folder, tensors: as_shards(folder, tensors, "model", "safetensors", save_file),
    "bin": lambda folder, tensors: torch.save(tensors, folder / "pytorch_model.bin"),
    "bin in shards": lambda folder, tensors: as_shards(folder, tensors, "pytorch_model", "bin", torch.save),
}


def with_old_names(tensors: Tensors) -> Tensors:
    """As the first BERTs were published: TensorFlow's names of a norm's parameters, buffers and tied copies kept."""
    old = {n.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): t for n, t in tensors.items()}
    return old | {
        "bert.embeddings.position_ids": torch.arange(24)[None],
        "cls.predictions.decoder.weight": tensors["bert.embeddings.word_embeddings.weight"].clone(),
        "cls.predictions.decoder.bias": tensors["cls.predictions.bias"].clone(),
    }


@pytest.mark.parametrize("renamed", [dict, with_old_names], ids=["today", "gamma and beta"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_opens_to_the_same_weights(
    folder: Path, layout: str, renamed: Callable[[Tensors], Tensors]
) -> None:
    expected = interop.open_model(folder).state
    tensors = renamed(load_file(folder / WEIGHTS))
    (folder / WEIGHTS).unlink()
    LAYOUTS[layout](folder, tensors)
    assert_equal(interop.open_model(folder).state, expected)


def test_half_precision_weights_open_in_fp32(folder: Path) -> None:
    tensors = {name: tensor.half() for name, tensor in load_file(folder / WEIGHTS).items()}
    save_file(tensors, folder / WEIGHTS)
    state = interop.open_model(folder).state
    assert {t.dtype for t in state.values()} == {torch.float32}
    assert torch.equal(state["backbone.embed.token.weight"], tensors["bert.embeddings.word_embeddings.weight"].float())


ARCHITECTURES = {  # architecture -> (pretext, heads that start fresh, tensors that are left out)
    "BertForPreTraining": (config.Bert(next_sentence=1.0), set(), set()),
    "BertForMaskedLM": (config.Bert(), set(), set()),
    "BertForNextSentencePrediction": (config.Bert(masked_lm=0.0, next_sentence=1.0), set(), set()),
    "BertModel": (config.Bert(), {"pretext.masked_lm"}, set()),
    "BertForSequenceClassification": (config.Bert(), {"pretext.masked_lm"}, {"classifier.weight", "classifier.bias"}),
    "BertForTokenClassification": (config.Bert(), {"pretext.masked_lm"}, {"classifier.weight", "classifier.bias"}),
    "BertForQuestionAnswering": (config.Bert(), {"pretext.masked_lm"}, {"qa_outputs.weight", "qa_outputs.bias"}),
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_bert_of_transformers_opens_with_its_encoder_and_says_what_is_fresh_or_left_out(
    tmp_path: Path, vocabulary: Vocabulary, caplog: pytest.LogCaptureFixture, architecture: str
) -> None:
    task, fresh, left_out = ARCHITECTURES[architecture]
    shape = {"vocab_size": VOCAB, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = getattr(transformers, architecture)(transformers.BertConfig(**shape, intermediate_size=12))
    shaken(model, seed=3).eval().save_pretrained(tmp_path)
    vocabulary.save(tmp_path)

    opened = interop.open_model(tmp_path)
    assert opened.pretext == task
    assert set(opened.left_out) == left_out
    assert all(name in caplog.text for name in left_out)
    caplog.clear()
    objective = opened.objective().eval()
    assert all(head in caplog.text for head in fresh)
    assert fresh or not [r for r in caplog.records if r.levelno >= logging.WARNING]

    ids = torch.arange(7)[None]
    rows = Rows(ids, ids, torch.zeros_like(ids), torch.zeros_like(ids), alone=True)
    encoder = model if architecture == "BertModel" else model.bert
    with torch.no_grad():
        torch.testing.assert_close(objective.backbone(rows).last, encoder(input_ids=ids).last_hidden_state)


# --------------------------------------------------------------------------------------- round trip
@pytest.mark.parametrize("pair", [{}, {"next_sentence": 1.0}, {"sentence_order": 1.0}], ids=["none", "nsp", "sop"])
def test_a_model_written_and_opened_again_is_bit_for_bit_the_same(
    tmp_path: Path, vocabulary: Vocabulary, pair: dict
) -> None:
    objective = bert(vocabulary, task=config.Bert(**pair), dropout=0.1, attention_dropout=0.2, kinds=3, init=0.05)
    assert interop.save_model(objective, vocabulary, tmp_path / "model")
    opened = interop.open_model(tmp_path / "model")
    assert opened.backbone == objective.backbone.config
    assert opened.pretext == objective.pretext.config
    assert opened.vocabulary.hash == vocabulary.hash
    assert_equal(opened.state, objective.state_dict())
    assert_equal(opened.objective().state_dict(), objective.state_dict())


def test_other_weights_than_the_objectives_own_can_be_written(tmp_path: Path, vocabulary: Vocabulary) -> None:
    average = {name: 2 * tensor for name, tensor in bert(vocabulary).state_dict().items()}
    interop.save_model(bert(vocabulary), vocabulary, tmp_path / "model", average)
    assert_equal(interop.open_model(tmp_path / "model").state, average)


def test_the_folder_opens_with_autotokenizer_and_says_pt(folder: Path, vocabulary: Vocabulary) -> None:
    text = "abc d [MASK] f"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == vocabulary.encode_batch([text], special=True)[0]
    with safe_open(folder / WEIGHTS, "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_a_model_that_transformers_does_not_have_is_not_written(tmp_path: Path, vocabulary: Vocabulary) -> None:
    objective = bert(vocabulary, norm="pre")
    assert "norm pre" in interop.obstacle(objective)
    assert interop.save_model(objective, vocabulary, tmp_path / "model") is False
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_never_overwritten(folder: Path, vocabulary: Vocabulary) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UserError, match="not empty"):
        interop.save_model(bert(vocabulary, seed=1), vocabulary, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


# ---------------------------------------------------------------------------------------- bad input
def change_tensors(change: Callable[[Tensors], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS)

    return spoil


def change_config(**fields: object) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return spoil


def cut_short(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[: len(whole) // 2])


def lose_a_shard(folder: Path) -> None:
    LAYOUTS["safetensors in shards"](folder, load_file(folder / WEIGHTS))
    (folder / WEIGHTS).unlink()
    (folder / "model-00002-of-00002.safetensors").unlink()


def as_bin(value: object) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        torch.save(value, folder / "pytorch_model.bin")
        (folder / WEIGHTS).unlink()

    return spoil


def cut_bin_short(folder: Path) -> None:
    as_bin(load_file(folder / WEIGHTS))(folder)
    whole = (folder / "pytorch_model.bin").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(whole[: len(whole) // 2])


def only_tensorflow(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "tf_model.h5")


def more_tokens(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in [*WORDS, *"0123456789"]))


QUERY = "bert.encoder.layer.1.attention.self.query.weight"
FAULTS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "weights cut short": (cut_short, (WEIGHTS, "damaged or cut short")),
    "bin cut short": (cut_bin_short, ("pytorch_model.bin", "damaged or cut short")),
    "a shard lost": (lose_a_shard, ("model-00002-of-00002.safetensors", "not there")),
    "a pickle with code": (as_bin({"path": Path("x")}), ("pytorch_model.bin", "run code", "safetensors")),
    "a pickle that is no dictionary": (as_bin([torch.zeros(1)]), ("pytorch_model.bin", "state dict", "list")),
    "a pickle with a number": (as_bin({"step": 3}), ("pytorch_model.bin", "step", "no tensor")),
    "no weights": (only_tensorflow, ("tf_model.h5", WEIGHTS)),
    "a tensor lost": (change_tensors(lambda t: t.pop(QUERY)), ("missing", QUERY)),
    "half a head": (change_tensors(lambda t: t.pop("cls.predictions.bias")), ("missing", "cls.predictions.bias")),
    "no pooler under a pair head": (
        change_tensors(lambda t: [t.pop(f"bert.pooler.dense.{end}") for end in ("weight", "bias")]),
        ("missing", "bert.pooler.dense.weight", "bert.pooler.dense.bias"),
    ),
    "a tensor of another shape": (
        change_tensors(lambda t: t.update({QUERY: torch.zeros(16, 9)})),
        (f"{QUERY} [16, 9] instead of [16, 16]",),
    ),
    "an unknown tensor": (
        change_tensors(lambda t: t.update({"bert.encoder.layer.0.adapter.weight": torch.zeros(2)})),
        ("unknown", "bert.encoder.layer.0.adapter.weight"),
    ),
    "a layer too many": (change_config(num_hidden_layers=1), ("unknown", QUERY)),
    "an untied projection": (
        change_tensors(lambda t: t.update({"cls.predictions.decoder.weight": torch.zeros(VOCAB, 16)})),
        ("cls.predictions.decoder.weight differs from bert.embeddings.word_embeddings.weight",),
    ),
    "no config.json": (lambda folder: (folder / "config.json").unlink(), ("config.json", "no such file")),
    "config.json cut short": (
        lambda folder: (folder / "config.json").write_text('{"model_type": '),
        ("config.json", "JSON"),
    ),
    "another architecture": (
        change_config(model_type="xlnet"),
        ("config.json", "'xlnet'", "albert, bart, bert, gpt2, roberta, t5"),
    ),
    "weights of another architecture": (change_config(model_type="gpt2"), ("weights of another architecture", "GPT-2")),
    "relative positions": (
        change_config(position_embedding_type="relative_key"),
        ("position_embedding_type", '"relative_key"', '"absolute"'),
    ),
    "an unknown activation": (change_config(hidden_act="silu"), ("hidden_act", '"silu"', '"gelu"')),
    "a decoder": (change_config(is_decoder=True), ("is_decoder is true",)),
    "a size that is no number": (change_config(hidden_size="wide"), ("config.json", "hidden_size")),
    "heads that do not divide": (change_config(num_attention_heads=3), ("num_attention_heads 3",)),
    "a tokenizer of another model": (more_tokens, (f"{len(WORDS) + 10} tokens", str(VOCAB))),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_a_folder_is_said_by_name(folder: Path, fault: str) -> None:
    spoil, said = FAULTS[fault]
    spoil(folder)
    with pytest.raises(UserError) as caught:
        interop.open_model(folder)
    assert str(folder) in str(caught.value)
    for part in said:
        assert part in str(caught.value)


def test_weights_of_another_shape_are_not_loaded_into_a_model(folder: Path, vocabulary: Vocabulary) -> None:
    with pytest.raises(UserError, match=r"backbone\.blocks\.0\.ffn\.up\.weight"):
        interop.open_model(folder).load_into(bert(vocabulary, ffn=32))
    with pytest.raises(UserError, match=r"backbone\.blocks\.2\.ffn\.up\.weight"):
        interop.open_model(folder).load_into(bert(vocabulary, layers=3))
    with pytest.raises(UserError, match=r"backbone\.blocks\.1\.ffn\.up\.weight"):
        interop.open_model(folder).load_into(bert(vocabulary, layers=1))


# ---------------------------------------------------------------------------------------------- hub
@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


def test_a_hub_name_opens_from_the_cache(folder: Path, cache: Path) -> None:
    revision = "0123456789abcdef0123456789abcdef01234567"
    repository = cache / "models--acme--bert-small-test"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    shutil.copytree(folder, repository / "snapshots" / revision)
    assert_equal(interop.open_model("acme/bert-small-test").state, interop.open_model(folder).state)


@pytest.mark.parametrize("name", ["acme/bert-small-test", "bert-nowhere"])
def test_a_hub_that_cannot_be_reached_names_the_local_way(cache: Path, name: str) -> None:
    with pytest.raises(UserError, match="give the path of its folder") as caught:
        interop.open_model(name)
    assert str(caught.value).startswith(f"{name}: ")


@pytest.mark.parametrize("path", ["./nowhere", "/nowhere/model", "a/b/c"])
def test_a_path_that_is_not_there_is_not_asked_of_the_hub(cache: Path, path: str) -> None:
    with pytest.raises(UserError, match="no such folder"):
        interop.open_model(path)


def assert_equal(found: Tensors, expected: Tensors) -> None:
    assert found.keys() == expected.keys()
    different = [name for name in expected if not torch.equal(found[name], expected[name])]
    assert not different
