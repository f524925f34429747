"""RoBERTa and ALBERT from the command line: trained, resumed, exported, opened by transformers, imported."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from sesame.cli.main import main
from sesame.data.prepare import prepare
from sesame.data.text import examples_of, rows_of
from sesame.engine import build

ARCHITECTURES = {"roberta-tiny": "RobertaForMaskedLM", "albert-tiny": "AlbertForPreTraining"}
transformers.utils.logging.disable_progress_bar()


@pytest.fixture
def stories(tmp_path: Path) -> Path:
    """Documents of a few sentences about a few things."""
    places, deeds = ("the sea", "the hill", "the old town", "a wood"), ("walked to", "looked at", "dreamt of")
    lines = [
        f"The {who} {deed} {place}. It was late. The {who} {deeds[n % 3]} {places[(n + 1) % 4]} again.\n\n"
        for n, (who, deed, place) in enumerate(
            (w, d, p) for w in ("cat", "dog", "fox", "hen") for d in deeds for p in places
        )
    ]
    (tmp_path / "text").mkdir()
    for n in range(12):
        (tmp_path / "text" / f"{n}.txt").write_text("".join(lines[4 * n : 4 * n + 4]) * 2)
    return tmp_path / "text"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_train_resume_export_and_open(name: str, stories: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    kind = "bytebpe" if name.startswith("roberta") else "wordpiece"
    prepare((str(stories),), str(tmp_path / "data"), tokenizer=kind, vocab=0)
    run, small = tmp_path / "run", ["--data.length", "32", "--data.rows", "4", "--backbone.layers", "2"]
    words = ["pretrain", name, "--data", str(tmp_path / "data"), "--out", str(run), "--steps", "4", "--save-every", "2"]
    assert main([*words, *small, "--keep", "9", "--json"]) == 0
    whole = build.load(run).objective.state_dict()
    # as it was after two steps, killed there
    for folder in (run / "checkpoints").iterdir():
        if folder.name > "step-00000002":
            for path in sorted(folder.rglob("*"), reverse=True):
                path.unlink() if path.is_file() else path.rmdir()
            folder.rmdir()
    state = json.loads((run / "state.json").read_text())
    (run / "state.json").write_text(json.dumps(state | {"state": "running", "step": 2, "pid": 2**22 + 1}))
    assert main(["pretrain", "--resume", str(run), "--json"]) == 0
    again = build.load(run)
    assert all(torch.equal(again.objective.state_dict()[n], whole[n]) for n in whole)

    capsys.readouterr()
    assert main(["export", str(run), "--out", str(tmp_path / "model"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["architecture"] == ARCHITECTURES[name]
    model = getattr(transformers, ARCHITECTURES[name]).from_pretrained(tmp_path / "model").eval()
    ids = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")("The cat walked to the sea.")["input_ids"]
    assert again.vocabulary is not None
    batch, _ = examples_of(again.vocabulary.encode_batch(["The cat walked to the sea."]), again.vocabulary, 32)
    assert batch.ids[0].tolist() == ids
    with torch.no_grad():
        h = again.objective.backbone(rows_of(batch)).last[0]
        out = model(input_ids=torch.tensor([ids]))
        theirs = out.prediction_logits if hasattr(out, "prediction_logits") else out.logits
        ours = again.objective.pretext.logits(again.objective.backbone, h)
    torch.testing.assert_close(ours, theirs[0], atol=1e-4, rtol=1e-4)

    assert main(["import", str(tmp_path / "model"), "--out", str(tmp_path / "imported")]) == 0
    more = ["pretrain", name, "--from", str(tmp_path / "imported"), "--data", str(tmp_path / "data"), "--steps", "1"]
    assert main([*more, *small[:4], "--out", str(tmp_path / "more"), "--json"]) == 0
