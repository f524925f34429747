"""A process of its own that speaks with espeak-ng (GPL-3, in the wheel espeakng-loader); imports nothing of ours.

Says first {"version", "languages"}. Reads a request a line from stdin: {"language", "variant", "rate", "pitch",
"range", "text"}. Writes for each a line {"rate", "samples", "phones", "words"} (names and times in seconds), and after
it the samples, 16 bits each.
espeak-ng carries chance over from one sentence to the next, so each is spoken by a fork that has spoken nothing: a
request alone says what is heard.
"""

import ctypes
import json
import os
import sys

SYNCHRONOUS, PHONEME_EVENTS, PHONEME_IPA, DONT_EXIT = 2, 1 << 0, 1 << 1, 1 << 15
RATE, PITCH, RANGE = 1, 3, 4
WORD, PHONEME = 1, 7
UTF8, END_PAUSE = 1, 0x1000
STRESS = "ˈˌ"
SILENCE = "sil"


class Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", Id),
    )


class Voice(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))


def main() -> None:
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_Info.restype = ctypes.c_char_p
    flags = PHONEME_EVENTS | PHONEME_IPA | DONT_EXIT
    sample_rate = library.espeak_Initialize(SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), flags)
    voices = voices_of(library)
    answer({"version": library.espeak_Info(None).decode(), "languages": sorted(voices)})
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                speak(library, voices, sample_rate, json.loads(line))
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit(1)


def voices_of(library: ctypes.CDLL) -> dict:
    """The file of each language, by the language's tag."""
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(Voice))
    found: dict = {}
    listed, place = library.espeak_ListVoices(None), 0
    while listed[place]:
        voice = listed[place].contents
        if not voice.identifier.startswith(b"mb/"):  # MBROLA's, which are not there
            tag = ctypes.string_at(voice.languages + 1).decode()  # before it stands a byte of priority
            found.setdefault(tag, voice.identifier)
        place += 1
    return found


def speak(library: ctypes.CDLL, voices: dict, sample_rate: int, request: dict) -> None:
    sound, found = bytearray(), []

    def heard(samples, count, events):  # type: ignore[no-untyped-def]
        if samples and count:
            sound.extend(ctypes.string_at(samples, 2 * count))
        place = 0
        while (event := events[place]).type:
            name = event.id.string.decode(errors="ignore") if event.type == PHONEME else ""
            found.append((event.type, event.sample / sample_rate, event.text_position, event.length, name))
            place += 1
        return 0

    callback = Callback(heard)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voices[request["language"]] + b"+" + request["variant"].encode()):
        raise ValueError(f"espeak-ng cannot set the voice {request['language']}+{request['variant']}")
    for parameter, name in ((RATE, "rate"), (PITCH, "pitch"), (RANGE, "range")):
        library.espeak_SetParameter(parameter, request[name], 0)
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # breathy voices take theirs from the clock
    text = request["text"].encode() + b"\0"
    library.espeak_Synth(text, len(text), 0, 1, 0, UTF8 | END_PAUSE, None, None)
    phones, words = spans(found, len(sound) / 2 / sample_rate, request["text"])
    answer({"rate": sample_rate, "samples": len(sound) // 2, "phones": phones, "words": words}, bytes(sound))


def spans(found: list, seconds: float, text: str) -> tuple[list, list]:
    """Phones, silences among them, which fill the utterance; and words without the silence around them.

    What espeak-ng says in one breath, "in the", is one word.
    """
    begun = [(at, name.strip(STRESS) or SILENCE) for kind, at, _, _, name in found if kind == PHONEME]
    if not begun or begun[0][0] > 0:
        begun.insert(0, (0.0, SILENCE))
    phones: list = []
    for (at, name), (end, _) in zip(begun, [*begun[1:], (seconds, "")], strict=True):
        if phones and name == SILENCE == phones[-1][0]:
            phones[-1][2] = end
        elif end > at:
            phones.append([name, at, end])
    words: list = []
    begun_words = [(at, place - 1) for kind, at, place, _, _ in found if kind == WORD]
    for (at, first), (following, after) in zip(begun_words, [*begun_words[1:], (seconds, len(text))], strict=True):
        inside = [(start, end) for name, start, end in phones if name != SILENCE and at <= start < following]
        if inside:  # the event itself comes a little early
            words.append([text[first:after].strip(" .,!?"), inside[0][0], inside[-1][1]])
    return phones, words


def answer(told: dict, sound: bytes = b"") -> None:
    sys.stdout.buffer.write(json.dumps(told).encode() + b"\n" + sound)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
