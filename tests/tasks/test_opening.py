"""Tasks by name: task files, folders, the hub; and what is said where one cannot be opened."""

import gzip
import json
from pathlib import Path

import pytest
from small_task import examples

from sesame import config
from sesame.errors import UserError
from sesame.tasks.base import keyed_order
from sesame.tasks.opening import open_task
from sesame.tasks.tables import TextExample


def write_table(path: Path, count: int, first: int = 0, names: tuple[str, str] = ("text", "label")) -> Path:
    lines = ["\t".join(names), *(f"{e.text}\t{e.label}" for e in examples(count, first))]
    content = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Train, dev and test tables in a folder called `sentiment`."""
    made = tmp_path / "sentiment"
    made.mkdir()
    for number, (name, count) in enumerate((("train.tsv", 30), ("dev.tsv", 6), ("test.tsv.gz", 5))):
        write_table(made / name, count, 100 * number)
    return made


def test_a_folder_is_a_task(folder):
    data = open_task(str(folder))
    assert (data.name, data.task.kind, data.task.labels) == ("sentiment", "classification", ("no", "yes"))
    assert [len(part) for part in (data.train, data.dev, data.test)] == [30, 6, 5]
    assert data.test[0].text == examples(1, 200)[0].text
    assert not data.notes.counts


def test_fields_name_kind_columns_and_metric(tmp_path):
    (tmp_path / "train.csv").write_text("a,b,score\n" + "".join(f"the list,a value {i},{i}.5\n" for i in range(20)))
    data = open_task(str(tmp_path), kind="regression", text="a", pair="b", label="score", metric="spearman", key=None)
    assert data.task.config == config.Regression(
        train=str(tmp_path / "train.csv"), text="a", pair="b", label="score", metric="spearman"
    )
    assert data.train[0].pair.startswith("a value")


def test_without_dev_a_tenth_is_held_out_and_without_test_dev_is_reported_and_both_are_said(folder, caplog):
    (folder / "dev.tsv").unlink()
    (folder / "test.tsv.gz").unlink()
    with caplog.at_level("INFO"):
        data = open_task(str(folder))
    assert [len(part) for part in (data.train, data.dev, data.test)] == [27, 3, 3]
    assert data.test == data.dev
    assert not {e.key for e in data.train} & {e.key for e in data.dev}
    assert data.notes.counts == {"held out of train as dev": 3, "dev, reported for want of a test file": 3}
    assert "3 of 30 training examples are held out" in caplog.text
    assert "no test file" in caplog.text
    assert [e.key for e in open_task(str(folder)).dev] == [e.key for e in data.dev]


def test_examples_about_the_same_are_held_out_together_and_others_as_if_there_were_none_such(tmp_path):
    def held_out(rows: list[str]) -> list[str]:
        (tmp_path / "train.tsv").write_text("text\tlabel\n" + "".join(rows))
        data = open_task(str(tmp_path))
        assert not {e.text for e in data.train} & {e.text for e in data.dev}
        return [e.text for e in data.dev]

    rows = [f"text {i}\t{'ab'[i % 2]}\n" for i in range(40)]
    by_key = [f"text {i}" for i in sorted(keyed_order(examples_of_lines(40), "held-out dev")[:4].tolist())]
    assert held_out(rows) == by_key
    again = held_out([*rows, *([f"{by_key[0]}\ta\n"] * 2), "text 99\ta\n"])  # the tenth of 43 is 4
    assert again.count(by_key[0]) == 3 and len(again) == 4
    assert by_key[1] not in held_out([*rows, *([f"{by_key[1]}\ta\n"] * 30)])  # more than a tenth


def test_of_few_large_groups_the_smallest_is_held_out_and_of_one_none(tmp_path):
    def opened(sizes: dict[str, int]):
        rows = [f"{text}\t{'ab'[i % 2]}\n" for text, size in sizes.items() for i in range(size)]
        (tmp_path / "train.tsv").write_text("text\tlabel\n" + "".join(rows))
        return open_task(str(tmp_path))

    assert [e.text for e in opened({"one": 8, "two": 4, "three": 9}).dev] == ["two"] * 4
    with pytest.raises(UserError, match=r"all 20 examples are about one text. Name a dev file"):
        opened({"one": 20})


def test_questions_about_one_paragraph_are_held_out_together(tmp_path):
    paragraphs = [
        {"context": f"Number {p} is here.",
         "qas": [{"id": f"{p}-{q}", "question": f"Which of {q}?", "answers": [{"text": "Number", "answer_start": 0}]}
                 for q in range(2)]}
        for p in range(20)
    ]  # fmt: skip
    (tmp_path / "train.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    data = open_task(str(tmp_path))
    assert len(data.dev) == 4
    assert not {q.context for q in data.train} & {q.context for q in data.dev}


def test_examples_of_dev_and_test_that_train_has_too_are_counted(folder):
    with (folder / "dev.tsv").open("a") as file:
        file.writelines(f"{e.text}\t{e.label}\n" for e in examples(2))
    data = open_task(str(folder))
    assert len(data.dev) == 8
    assert data.notes.counts == {"dev examples whose text is in train too": 2}


def examples_of_lines(count: int) -> list[TextExample]:
    """With the keys of the rows of a table, which are their lines."""
    return [TextExample(str(line), "", "") for line in range(2, count + 2)]


def test_parts_are_found_by_the_words_of_their_names(folder):
    for name, new in (
        ("train.tsv", "en_my-Train.v2.tsv"),
        ("dev.tsv", "validation.tsv"),
        ("test.tsv.gz", "my_test.tsv.gz"),
    ):
        (folder / name).rename(folder / new)
    write_table(folder / "validation_out_of_domain.tsv", 3)
    assert [len(part) for part in (lambda d: (d.train, d.dev, d.test))(open_task(str(folder)))] == [30, 6, 5]


def test_a_task_file_counts_its_paths_from_its_folder_and_options_outweigh_it(folder, tmp_path, monkeypatch):
    write_table(folder / "columns.tsv", 30, names=("said", "mood"))
    task = {"kind": "classification", "train": "sentiment/columns.tsv", "dev": str(folder / "columns.tsv"),
            "text": "said", "label": "else", "metric": "macro_f1"}  # fmt: skip
    (tmp_path / "mood.json").write_text(json.dumps(task))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    data = open_task("../mood.json", label="mood")
    assert (data.name, data.task.metric, len(data.train)) == ("mood", "macro_f1", 30)


TASK_FILES = {
    "not json": ('{"kind": "classification",\n "train" "x"}', r"task.json:2: not JSON \(Expecting ':' delimiter"),
    "no kind": ('{"train": "train.tsv"}', r"names no kind. Write one of classification, regression"),
    "squad data": ('{"version": "1.1", "data": []}', r"give a folder with train"),
    "unknown kind": (
        '{\n"kind": "clasification"}',
        r"task.json:2: there is no kind of task 'clasification'. Did you mean classi",
    ),
    "unknown field": (
        '{"kind": "tagging",\n "train": "x",\n "colunm": "upos"}',
        r"task.json:3: a task of kind tagging has no field 'colunm'. Did you mean column",
    ),
    "wrong value": (
        '{"kind": "classification",\n "metric": "f1"}',
        r"task.json:2: metric 'f1': invalid enum value",
    ),
    "wrong type": ('{"kind": "span-qa",\n\n "stride": 0}', r"task.json:3: stride 0: expected `int` >= 1"),
    "no train": ('{"kind": "tagging"}', r"nothing to learn from"),
    "lost file": ('{"kind": "classification", "train": "lost.tsv"}', r"lost.tsv: no such file"),
}


@pytest.mark.parametrize("name", TASK_FILES)
def test_a_task_file_that_cannot_be_used_is_named_with_the_line(tmp_path, name):
    content, message = TASK_FILES[name]
    (tmp_path / "task.json").write_text(content)
    with pytest.raises(UserError, match=message):
        open_task(str(tmp_path / "task.json"))


def test_what_is_no_task_is_said(tmp_path, folder):
    with pytest.raises(UserError, match=r"nowhere: no such task. Give pydocs/NAME"):
        open_task("nowhere")
    with pytest.raises(UserError, match=r"holds no training file \(found: none"):
        open_task(str(tmp_path))
    with pytest.raises(UserError, match=r"has no field 'colum'.* "):
        open_task(str(folder), colum="x")
    with pytest.raises(UserError, match=r"pydocs/area is built in, and its label cannot"):
        open_task("pydocs/area", label="x")
    (folder / "train.conllu").write_text("")
    (folder / "train.tsv").rename(folder / "old_train.tsv")
    with pytest.raises(UserError, match=r"are of several kinds \(classification, tagging\). Choose with --kind"):
        open_task(str(folder))
    (folder / "train.conllu").rename(folder / "new_train.conllu")
    with pytest.raises(UserError, match=r"new_train.conllu, old_train.tsv could each be the train file"):
        open_task(str(folder))


def test_where_all_examples_of_a_label_are_held_out_there_is_nothing_to_learn(tmp_path):
    def opened(rare: int):
        rows = [f"a text with number {i}\t{'b' if i == rare else 'a'}\n" for i in range(20)]
        (tmp_path / "train.tsv").write_text("text\tlabel\n" + "".join(rows))
        return open_task(str(tmp_path))

    held = [int(e.key) - 2 for e in opened(0).dev]
    assert len(held) == 2 and 0 not in held
    with pytest.raises(UserError, match=r"no dev file, and 2 examples are held out.*18 .* label 'a'.* Name a dev file"):
        opened(held[0])


def test_so_few_examples_that_all_are_alike_are_refused(folder):
    data = open_task(str(folder))
    assert len(data.learned_from(12).train) == 12
    with pytest.raises(UserError, match=r"sentiment, 1 training examples: .*nothing to tell apart.* Ask for more"):
        data.learned_from(1)
    assert data.notes.counts == {"training examples left unused": 18}


def test_too_few_examples_to_spare_any_for_dev(tmp_path):
    write_table(tmp_path / "train.tsv", 9)
    with pytest.raises(UserError, match=r"no dev file and only 9 training examples"):
        open_task(str(tmp_path))


def test_a_faulty_row_is_refused_with_its_line_or_counted(folder):
    rows = (folder / "train.tsv").read_text().splitlines()
    rows[4] = " \tyes"
    (folder / "train.tsv").write_text("\n".join(rows) + "\n")
    with pytest.raises(UserError, match=r"train.tsv:5: "):
        open_task(str(folder))
    data = open_task(str(folder), skip_bad=True)
    assert len(data.train) == 29
    assert sum(data.notes.counts.values()) == 1


def test_a_label_of_dev_that_training_never_saw_is_refused_with_its_line(folder):
    with (folder / "dev.tsv").open("a") as file:
        file.write("the list\tmaybe\n")
    with pytest.raises(UserError, match=r"dev.tsv:8: .*'maybe'"):
        open_task(str(folder))


def test_a_hub_data_set_is_read_by_its_splits_and_its_labels_have_names(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"said": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    for part, first, count in (("train", 0, 12), ("validation", 50, 4), ("test", 90, 3)):
        made = examples(count, first)
        labels = [-1 if part == "test" else ["no", "yes"].index(e.label) for e in made]
        rows = {"said": [e.text for e in made], "label": labels}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / f"{part}-0.parquet"))
    data = open_task(f"hf:{tmp_path}", text="said")
    assert data.task.labels == ("no", "yes")
    assert [e.label for e in data.train] == [e.label for e in examples(12)]
    assert (len(data.dev), data.test) == (4, data.dev)  # the labels of test are not given away
    assert data.name == tmp_path.name
    with pytest.raises(UserError, match=rf"hf:{tmp_path} train.jsonl:1: there is no field 'say'.* said"):
        open_task(f"hf:{tmp_path}", text="say")
