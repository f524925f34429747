"""Synthesised speech: what is asked for, keyed; and, where the wheel is installed, what is heard."""

import importlib.util
import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import soundfile

from sesame.config import Espeak, SpeechData
from sesame.data import espeak
from sesame.data.espeak import VARIANTS, wanted
from sesame.data.espeak_process import PHONEME, WORD, spans
from sesame.data.prompts import ACTIONS, OBJECTS, prompts
from sesame.data.utterance import Utterance
from sesame.data.utterances import utterances
from sesame.errors import UserError

installed = pytest.mark.skipif(
    not (importlib.util.find_spec("espeakng_loader") and importlib.util.find_spec("soxr")),
    reason="needs the extra speech",
)


def asked(**options: Any) -> SpeechData:
    return SpeechData(source="espeak", espeak=Espeak(**options))


# ------------------------------------------------------------------------------------- what is asked for
def test_utterances_are_keyed_by_seed_and_number() -> None:
    ten, more = wanted(Espeak(utterances=10)), wanted(Espeak(utterances=300))
    assert more[:10] == ten
    assert sum(a != b for a, b in zip(more, wanted(Espeak(utterances=300, seed=1)), strict=True)) > 290


def test_every_speaker_manner_and_language_occurs_about_as_often() -> None:
    found = wanted(Espeak(utterances=3000, speakers=10))
    for name, kinds in (("speaker", 10), ("tempo", 3), ("height", 3), ("melody", 3), ("language", 2)):
        counts = Counter(getattr(one, name) for one in found)
        assert len(counts) == kinds
        assert max(abs(n - 3000 / kinds) for n in counts.values()) < 5 * (3000 / kinds) ** 0.5


def test_a_speaker_has_one_pitch_and_rate_to_which_the_manner_is_added() -> None:
    for speaker in VARIANTS[:5]:
        of = [one for one in wanted(Espeak(utterances=800, speakers=5)) if one.speaker == speaker]
        assert len({one.pitch - espeak.HEIGHT[one.height] for one in of}) == 1
        assert len({one.rate for one in of}) == 3
        assert all(0 <= one.pitch <= 99 for one in of)


def test_an_order_says_its_action_object_and_place() -> None:
    for prompt in prompts("commands", 200, 0):
        fields = prompt.fields
        assert any(verb in prompt.text for verb in ACTIONS[fields["action"]]) and fields["label"] == fields["action"]
        assert f"the {fields['object']}" in prompt.text and fields["object"] in OBJECTS
        assert (f"in the {fields['place']}" in prompt.text) == (fields["place"] != "anywhere")


def test_sentences_of_pydocs_come_all_before_one_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sesame.data.prompts._plain_sentences", lambda: [f"Sentence {i}." for i in range(30)])
    texts = [p.text for p in prompts("pydocs", 70, 5)]
    assert len(set(texts[:30])) == len(set(texts[30:60])) == 30 and texts[:30] != texts[30:60]


def test_more_speakers_than_there_are_voices_are_refused() -> None:
    assert len(VARIANTS) == len(set(VARIANTS)) == 40
    with pytest.raises(UserError, match="40 speakers, not 41"):
        wanted(Espeak(speakers=41))


def test_events_become_phones_that_fill_the_utterance_and_words_without_silence() -> None:
    heard = [(WORD, 0.0, 1, 2, ""), (PHONEME, 0.1, 1, 0, "ˈs"), (PHONEME, 0.2, 1, 0, "oʊ"), (WORD, 0.28, 4, 4, "")]
    heard += [(PHONEME, 0.3, 4, 0, "w"), (PHONEME, 0.5, 4, 0, "ˌɛ"), (PHONEME, 0.6, 4, 0, ""), (PHONEME, 0.7, 4, 0, "")]
    phones, words = spans(heard, 0.9, "so well")
    assert phones == [
        *(["sil", 0.0, 0.1], ["s", 0.1, 0.2], ["oʊ", 0.2, 0.3]),
        *(["w", 0.3, 0.5], ["ɛ", 0.5, 0.6], ["sil", 0.6, 0.9]),
    ]
    assert words == [["so", 0.1, 0.3], ["well", 0.3, 0.6]]


def test_without_the_wheel_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs the wheel espeakng-loader.*sesame-ssl\[speech\]"):
        utterances(asked())


# ------------------------------------------------------------------------------------- what is heard
@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def spoken(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[Utterance]:
    monkeypatch.setenv("SESAME_CACHE", str(cache))
    return utterances(asked(utterances=12, speakers=4))


@installed
def test_phones_and_words_stand_where_the_sound_is(spoken: list[Utterance]) -> None:
    assert len(spoken) == 12 and {u.rate for u in spoken} == {16000}
    for utterance in spoken:
        phones = utterance.phones
        assert phones[0].start == 0 and all(a.end == b.start for a, b in pairwise(phones))
        assert phones[-1].end == pytest.approx(utterance.seconds, abs=1e-3)
        assert " ".join(w.name for w in utterance.words) == utterance.text
        assert all(a.end <= b.start for a, b in pairwise(utterance.words))
        sound, rate = soundfile.read(utterance.path)
        silent = [
            sound[int(p.start * rate) : int(p.end * rate)] for p in phones if p.name == "sil" and p.end - p.start > 0.1
        ]
        vowels = [sound[int(p.start * rate) : int(p.end * rate)] for p in phones if p.name[0] in "aeɪɑæɔʌɛ"]
        assert max(s[len(s) // 2 :].std() for s in silent) < 0.1 * min(v.std() for v in vowels)


@installed
def test_the_same_is_spoken_again_to_the_bit_and_only_once(
    spoken: list[Utterance], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder,) = cache.iterdir()
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}
    utterances(asked(utterances=12, speakers=4))
    assert before == {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}
    shutil.rmtree(folder)
    utterances(asked(utterances=12, speakers=4))
    assert {n: b for n, (b, _) in before.items()} == {p.name: p.read_bytes() for p in folder.iterdir()}


@installed
def test_an_utterance_sounds_the_same_whatever_is_said_before_it(
    spoken: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(espeak, "wanted", lambda c, whole=wanted: whole(c)[5:])
    monkeypatch.setenv("SESAME_CACHE", str(tmp_path))
    later = utterances(asked(utterances=12, speakers=4))
    assert [u.key for u in later] == [u.key for u in spoken[5:]]
    assert [u.phones for u in later] == [u.phones for u in spoken[5:]]


@installed
def test_slow_is_slower_and_high_is_higher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESAME_CACHE", str(tmp_path))
    found = utterances(asked(utterances=120, speakers=1, says="words", languages=("en-us",)))
    seconds: dict[tuple[str, str], list[float]] = {}
    for utterance in found:
        spoken = sum(p.end - p.start for p in utterance.phones if p.name != "sil")
        seconds.setdefault((utterance.text, utterance.fields["tempo"]), []).append(spoken)
    words = {word for word, _ in seconds if {(word, "slow"), (word, "fast")} <= set(seconds)}
    assert len(words) > 5 and all(min(seconds[w, "slow"]) > max(seconds[w, "fast"]) for w in words)


@installed
def test_a_language_that_is_not_spoken_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESAME_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"no language 'en-uss'\. Did you mean en-us"):
        utterances(asked(languages=("en-uss",)))
