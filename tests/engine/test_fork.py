"""Twins: bit for bit the run where nothing is changed, exact when resumed, and refused where they could not be."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from sesame import config
from sesame.data import open_data
from sesame.data.batch import Cursor
from sesame.data.prepare import prepare
from sesame.data.store import TokenStore
from sesame.engine import build, checkpoint, start
from sesame.engine.fork import fork
from sesame.engine.loader import ready
from sesame.engine.run import Run
from sesame.errors import UserError

SMALL = {"layers": 1, "width": 16, "heads": 2, "ffn": 32, "positions": 32}
ENDS = ("sleeps", "waits", "sings", "runs", "reads")
TEXTS = [f"the {a} sees the {b}. it {ENDS[i % 5]}. then the {b} {ENDS[(i + 2) % 5]}." for i, (a, b) in enumerate(
    (a, b) for a in ("cat", "dog", "hen", "owl", "fox") for b in ("man", "boy", "cow", "pig", "bee", "ant")
)]  # fmt: skip
BACKBONES = {
    "bert": config.Transformer(**SMALL, dropout=0.1),
    "gpt": config.Transformer(**SMALL, dropout=0.1, kinds=0, causal=True, norm="pre"),
}
PRETEXTS = {"bert": config.Bert(next_sentence=1.0, unit="word"), "gpt": config.CausalLM()}


def write(path: Path, texts: list[str]) -> str:
    path.write_text("\n\n".join(texts))
    return str(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A text and a run of each kind on it: eight steps, of whose checkpoints the newest two can be gone on from."""
    folder = tmp_path_factory.mktemp("made")
    prepare([write(folder / "text.txt", TEXTS)], folder / "store", vocab=60, held_out=0.1)
    for name, pretext in PRETEXTS.items():
        recipe = config.Recipe(
            name=name, data=config.TextData(store=str(folder / "store"), length=24, rows=4), pretext=pretext,
            backbone=BACKBONES[name], optimizer=config.Optimizer(lr=0.01), steps=8, ema=0.8 if name == "gpt" else 0.0,
            threads=1, device="cpu", eval_every=4, save_every=2, log_every=2,
        )  # fmt: skip
        start.start(recipe, folder / name)
    return {path.name: path for path in folder.iterdir()}


def tensors(run: Path, step: int = 8) -> dict[str, torch.Tensor]:
    found = checkpoint.read(checkpoint.folder_of(run / "checkpoints", step))
    return {**found.objective, **{f"optimizer.{name}": value for name, value in found.optimizer.items()}}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def said(run: Path) -> list[dict]:
    """What the log says, without times and speeds."""
    timed = ("time", "tokens_per_second", "of_limit", "eta", "seconds")
    return [{k: v for k, v in event.items() if k not in timed} for event in Run.open(run).events()]


@pytest.mark.parametrize("at", [0, 6])
@pytest.mark.parametrize("name", PRETEXTS)
def test_a_twin_of_which_nothing_is_changed_is_the_run(made, tmp_path: Path, name: str, at: int) -> None:
    fork(made[name], tmp_path / "twin", at)
    start.resume(tmp_path / "twin")
    assert same(tensors(tmp_path / "twin"), tensors(made[name]))
    assert said(tmp_path / "twin") == said(made[name])


class StopAt:
    """Asks the run to stop, as a user would."""

    def __init__(self, step: int):
        self.step = step

    def __call__(self, training) -> None:
        if training.step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_twin_that_was_stopped_is_the_twin_never_stopped(made, tmp_path: Path) -> None:
    gone = write(tmp_path / "gone.txt", TEXTS[3:9])
    more = write(tmp_path / "more.txt", ["an owl met a hen.", "the bee sings. it waits.", "then it runs."])
    ended = []
    for name, stops in (("one", []), ("two", [3, 5])):
        forked = fork(made["bert"], tmp_path / name, 0, [gone], [more])
        assert forked.left_out == 6 - sum(not trained(made, text) for text in TEXTS[3:9])
        assert forked.added == 3 and forked.times == 1  # 768 places are left, and its text has about 600 tokens
        for stop in stops:
            start.resume(tmp_path / name, extra=[StopAt(stop)])
            assert Run.open(tmp_path / name).state().step == stop + 1  # the step after it is still made
        start.resume(tmp_path / name)
        ended.append(tensors(tmp_path / name))
    assert same(*ended)
    assert not same(ended[0], tensors(made["bert"]))
    assert Run.open(tmp_path / "one").recipe.data.twin.of == str(made["bert"].resolve())


def trained(made, text: str) -> bool:
    """Whether the run is trained on this document."""
    from sesame.data.parallel import document_key

    store = TokenStore.open(made["store"])
    return bool((~store.held_out)[np.flatnonzero(store.keys == np.uint64(document_key(text.encode())))].any())


def test_until_the_fork_both_are_one(made, tmp_path: Path) -> None:
    fork(made["bert"], tmp_path / "twin", 6, [write(tmp_path / "gone.txt", TEXTS[:20])])
    assert same(tensors(tmp_path / "twin", 6), tensors(made["bert"], 6))
    assert (checkpoint.folder_of(tmp_path / "twin" / "checkpoints", 6) / "model").is_dir()
    start.resume(tmp_path / "twin")
    assert not same(tensors(tmp_path / "twin"), tensors(made["bert"]))
    before = [event for event in said(made["bert"]) if event["step"] <= 6]
    assert said(tmp_path / "twin")[: len(before)] == before


@pytest.mark.parametrize("pretext", [PRETEXTS["bert"], config.Bert(), PRETEXTS["gpt"], config.Denoising()])
def test_a_step_of_which_all_is_left_out_has_no_loss(made, tmp_path: Path, pretext) -> None:
    """Rows of nothing but padding go through every task."""
    np.save(tmp_path / "without.npy", TokenStore.open(made["store"]).keys)
    told = config.Twin(of="run", at=0, folder=str(tmp_path), without=("all",))
    data = config.TextData(store=str(made["store"]), length=24, rows=4, twin=told)
    backbone = BACKBONES["gpt" if isinstance(pretext, config.CausalLM) else "bert"]
    if isinstance(pretext, config.Denoising):
        decoder = msgspec.structs.replace(BACKBONES["gpt"], norm="post")
        backbone = config.EncoderDecoder(encoder=msgspec.structs.replace(backbone, kinds=0), decoder=decoder)
    recipe = config.Recipe(name="", data=data, pretext=pretext, backbone=backbone, device="cpu", threads=1)
    opened = open_data(data)
    objective = build.build(build.freeze(recipe, opened), opened)
    step = next(objective.pretext.stream(opened, 0).train(Cursor(), 0, 10, 1))
    loss = objective(ready(step.parts[0], objective.pretext.split, torch.float32))
    assert step.size == 0
    for term in loss.values():
        assert term.count == 0 and float(term.sum.detach()) == 0
    sum(term.sum for term in loss.values()).backward()
    assert all(p.grad is None or not p.grad.any() for p in objective.parameters())


def test_a_twin_whose_documents_were_changed_does_not_go_on(made, tmp_path: Path) -> None:
    fork(made["bert"], tmp_path / "twin", 6, [write(tmp_path / "gone.txt", TEXTS[:20])])
    np.save(tmp_path / "twin" / "data" / "without.npy", np.array([5], np.uint64))
    with pytest.raises(UserError, match=r"store or .*twin/data holds other text than it did"):
        start.resume(tmp_path / "twin")


# ---------------------------------------------------------------------------------------------- refused
def changed(made, folder: Path, change: Callable[[Path], None], name: str = "bert") -> Path:
    path = Path(shutil.copytree(made[name], folder / "changed"))
    change(path)
    return path


def rewritten(**changes: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        told = msgspec.json.decode((path / "config.json").read_bytes())
        told["recipe"] |= changes.pop("recipe", {})
        told |= changes
        (path / "config.json").write_bytes(msgspec.json.encode(told))

    return change


IMAGES = {"data": {"type": "images"}, "backbone": {"type": "convnet"}, "pretext": {"type": "byol"}}


@pytest.mark.parametrize(
    ("change", "at", "words"),
    [
        (lambda path: None, 4, ["no checkpoint of step 4", "0, 6", "--keep"]),
        (lambda path: None, 5, ["no checkpoint of step 5", "0, 6"]),
        (lambda path: None, 8, ["8 steps", "nothing would be left"]),
        (rewritten(recipe=IMAGES | {"name": "byol"}), 6, ["trained on images"]),
        (lambda path: Run.open(path).set_state("imported", 0), 6, ["never was in training"]),
        (rewritten(data="another"), 6, ["holds other text"]),
    ],
)
def test_a_run_that_can_have_no_exact_twin_is_refused(made, tmp_path: Path, change, at: int, words: list[str]) -> None:
    path = changed(made, tmp_path, change)
    with pytest.raises(UserError) as error:
        fork(path, tmp_path / "twin", at)
    assert all(word in str(error.value) for word in words), error.value
    assert sorted(p.name for p in tmp_path.iterdir()) == ["changed"]


def test_a_run_in_training_and_a_twin_are_not_forked(made, tmp_path: Path) -> None:
    path = changed(made, tmp_path, lambda path: None)
    live = Run.open(path)
    live.lock()
    with pytest.raises(UserError, match="in training now"):
        fork(path, tmp_path / "twin", 6)
    live.close()
    fork(path, tmp_path / "twin", 6)
    with pytest.raises(UserError, match=f"is a twin of {path}"):
        fork(tmp_path / "twin", tmp_path / "third", 6)
    with pytest.raises(UserError, match="is a run already"):
        fork(path, tmp_path / "twin", 6)


@pytest.mark.parametrize(
    ("without", "added", "words"),
    [
        (["text nobody wrote."], [], ["none of its 1 documents", "--document"]),
        ("held out", [], ["holds them out"]),
        (TEXTS, [], ["nothing would be left"]),
        ([], ["one more cat."], ["one document", "next sentences"]),
    ],
)
def test_documents_that_make_no_twin_are_refused(made, tmp_path: Path, without, added, words: list[str]) -> None:
    without = [text for text in TEXTS if not trained(made, text)] if without == "held out" else without
    sources = [[write(tmp_path / f"{i}.txt", texts)] if texts else [] for i, texts in enumerate((without, added))]
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError) as error:
        fork(made["bert"], tmp_path / "twin", 6, *sources)
    assert all(word in str(error.value) for word in words), error.value
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(UserError, match="no such file"):
        fork(made["bert"], tmp_path / "twin", 6, [], ["nowhere.txt"])
