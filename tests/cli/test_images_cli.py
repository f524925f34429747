"""Images through the command line: the demo, what it goes on with, and mistakes."""

import base64
import json

import numpy as np
import pytest

from sesame.cli.main import find, main
from sesame.data.images import digits
from sesame.tasks import frozen


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """A demo of a second or two, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(frozen, "EPOCHS", 2)
    monkeypatch.setattr("sesame.cli.demo_images.PROBES", ("alignment",))
    tuning = ("--epochs", "0.1", "--min-steps", "1", "--evaluations", "1", "--workers", "1", "--threads", "1")
    monkeypatch.setattr("sesame.cli.demo_images.TUNING", tuning)
    return tmp_path


def test_the_demo_evaluates_what_it_pretrained_and_goes_on_with_an_earlier_one(quick, capsys):
    words = ["demo", "images", "--methods", "simclr", "--steps", "2", "--seeds", "2", "--json"]
    assert main(words) == 0
    result = json.loads(capsys.readouterr().out)
    found = result["tasks"]["simclr, digits"]
    assert found["kind"] == "images" and list(found["labels"]) == ["100"]
    assert "random network, linear" in found["also"] and "pretrained, frozen over random network" in found["gains"]
    page = (quick / "demo-images" / "report.html").read_text()
    for said in ("random network, linear", "pretrained, frozen over raw input", "uniformity"):
        assert said in page
    drawn = base64.b64encode((quick / "demo-images" / "simclr" / "examples.png").read_bytes()).decode()
    assert f'<img src="data:image/png;base64,{drawn}"' in page
    for absent in ("TF-IDF", "embeddings"):  # images have neither, so no column or line is theirs
        assert absent not in page.partition("<main>")[2].partition('<section id="settings">')[0]
    before = (quick / "demo-images" / "simclr-digits" / "result.json").read_bytes()
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["tasks"] == result["tasks"]
    assert (quick / "demo-images" / "simclr-digits" / "result.json").read_bytes() == before

    # What the demo made is put to work on an array of images.
    pixels, label = digits()
    np.savez(quick / "some.npz", images=pixels[:20, 0], labels=label[:20])
    model = "demo-images/simclr-digits/digits"
    assert main(["predict", model, "some.npz", "--out", "guesses.tsv"]) == 0
    lines = (quick / "guesses.tsv").read_text().splitlines()
    assert len(lines) == 21 and set(line.split("\t")[1] for line in lines[1:]) <= set("0123456789")
    capsys.readouterr()
    assert main(["evaluate", model, "some.npz", "--json"]) == 0
    right = [line.split("\t")[1] == str(n) for line, n in zip(lines[1:], label[:20], strict=True)]
    assert json.loads(capsys.readouterr().out)["metrics"]["accuracy"] == pytest.approx(np.mean(right))


def test_the_longer_of_two_verbs_is_meant():
    assert find(["demo", "images", "--out", "x"]).words == ("demo", "images")
    assert find(["demo", "--out", "x"]).words == find(["demo"]).words == ("demo",)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["demo", "images", "--methods", "simcrl"], "simclr-digits"),
        (["demo", "images", "--seeds", "0"], "above 0"),
        (["pretrain", "simclr-digits", "--out", "new", "--steps", "2", "--accumulate", "2"], "--accumulate 1"),
        (["pretrain", "simclr-cifar", "--out", "new", "--steps", "2"], "No images were named"),
    ],
)
def test_a_use_that_makes_no_sense(quick, capsys, words, said):
    assert main(words) == 2
    assert said in capsys.readouterr().err
