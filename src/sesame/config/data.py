"""What is read, and how it is cut."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from sesame.config.types import Count, Positive, Rate


class Phase(Struct, frozen=True, kw_only=True):
    """A stretch of training with its own length; BERT trains 90% of its steps at 128 and the rest at 512."""

    share: Rate
    """Share of all steps that this phase lasts."""
    length: Positive
    """Positions in a row."""
    rows: Positive
    """Rows in one optimiser step, over all processes and micro-batches."""


class Twin(Struct, frozen=True, kw_only=True):
    """What a run reads otherwise than the one that it was forked from (`sesame fork`)."""

    of: str
    """The run folder that it was forked from."""
    at: Count
    """The step from which on it reads otherwise."""
    folder: str
    """Where `without.npy` and `added` are: its own run folder."""
    without: tuple[str, ...] = ()
    """Sources whose documents are left out; without.npy has their content keys."""
    added: tuple[str, ...] = ()
    """Sources whose documents are read in addition, …"""
    times: Positive = 1
    """… so often each, evenly over the steps that are left; `added` is their token store."""


class TextData(Struct, frozen=True, kw_only=True, tag="text"):
    """A prepared token store, cut into examples and packed into rows."""

    tokenized: ClassVar[bool] = True
    """Whether a tokenizer belongs to them."""
    store: str = ""
    """Folder made by `sesame data prepare`; filled in from --data."""
    length: Positive = 128
    """Positions in a row, and so the longest example."""
    rows: Positive = 32
    """Rows in one optimiser step, over all processes and micro-batches."""
    phases: tuple[Phase, ...] = ()
    """A length schedule; empty means `length` and `rows` throughout."""
    short_rate: Rate = 0.0
    """Share of examples cut shorter at random (BERT's short_seq_prob is 0.1)."""
    tokenizer: Literal["wordpiece", "bytebpe", "chars", "bytes", "words"] = "wordpiece"
    """Kind of tokenizer that is trained where --data gives raw text and no tokenizer."""
    vocab: Count = 0
    """Pieces of that tokenizer; 0 for 8,192, or as many as the text fills."""
    sample_exponent: Rate = 1.0
    """Sources (languages) are drawn with probability proportional to size**exponent; multilingual BERT used 0.7."""
    sentinels: Count = 0
    """Tokens <extra_id_0> … that the run's tokenizer has at least, for span corruption; T5 has 100."""
    twin: Twin | None = None
    """Set by `sesame fork`."""

    @property
    def schedule(self) -> tuple[Phase, ...]:
        """The stretches of training one after another, the only one where no lengths are scheduled."""
        return self.phases or (Phase(share=1.0, length=self.length, rows=self.rows),)

    @property
    def longest(self) -> int:
        """Positions in the longest row."""
        return max(phase.length for phase in self.schedule)


class ImageData(Struct, frozen=True, kw_only=True, tag="images"):
    """Images, decoded once into bytes that are memory-mapped; `digits` is built in."""

    tokenized: ClassVar[bool] = False
    longest: ClassVar[int] = 0
    """An image is no row of positions."""
    source: str = "digits"
    """A folder with a folder per class, or of images alone; such a folder in a .zip; .npz, .npy, IDX (MNIST) or CIFAR's
    binary files; .parquet files or hf:NAME[/CONFIG] with a column of images; digits."""
    rows: Positive = 256
    """Images in one optimiser step."""
    size: Count = 0
    """Height and width that images are brought to (the shorter side, then the middle); 0 for the commonest of theirs
    where that is at most 128, and 224 where it is more."""
    channels: Literal[0, 1, 3] = 0
    """1 for grey, 3 for colours; 0 for what the images are."""
    image_field: str = "image"
    """Column of Parquet files and hub data sets that holds the image, …"""
    label_field: str = "label"
    """… and the one that holds its label; data may have none."""
    skip_bad: bool = False
    """Leave out what cannot be read, count and report it, instead of stopping."""
    cache: str = ""
    """Folder for the decoded bytes; empty for the user's own (~/.cache/sesame, or what XDG_CACHE_HOME says)."""

    @property
    def schedule(self) -> tuple[Phase, ...]:
        """All of training, an image counting as one position."""
        return (Phase(share=1.0, length=1, rows=self.rows),)


class Espeak(Struct, frozen=True, kw_only=True):
    """What the built-in source `espeak` says, and in whose voice; every choice is drawn by `seed`."""

    utterances: Positive = 500
    says: Literal["commands", "words", "pydocs"] = "commands"
    """Orders to a house (with action, object, place; the label is the action), short words, or sentences of pydocs."""
    languages: tuple[str, ...] = ("en-us", "en-gb")
    """As espeak-ng names them. The words are English whatever the language; its phones and its melody are not."""
    speakers: Positive = 12
    """Voices: a variant of espeak-ng's, with a pitch and a rate of its own. At most 40."""
    seed: Count = 0


class SpeechData(Struct, frozen=True, kw_only=True, tag="speech"):
    """Sound, as frames of features; one utterance is one example."""

    tokenized: ClassVar[bool] = False
    source: str = ""
    """A folder of .wav, .flac, .ogg, .opus, .mp3 or .aiff files (LibriSpeech, Speech Commands and VoxCeleb are
    recognised); a manifest (.tsv, .jsonl) with the columns path, start, end, text, speaker, label, split; or espeak
    (built in)."""
    features: Literal["logmel", "fbank", "whisper", "mfcc", "wave"] = "logmel"
    """logmel: HTK's scale, Hann windows; fbank and mfcc: Kaldi's; whisper: Whisper's; wave: the samples themselves."""
    deltas: Annotated[int, Meta(ge=0, le=2)] = 0
    """Beside the features their slopes (1), and the slopes of these (2)."""
    cmvn: bool = True
    """Every feature of an utterance is given mean 0 and variance 1, which takes out the loudness and the channel."""
    stack: Positive = 1
    """So many frames on end become one, without overlap (MelHuBERT 2, BEST-RQ 4); what is left over is dropped."""
    sample_rate: Positive = 16000
    """Other sounds are resampled."""
    mels: Count = 0
    """Mel bands; 0 for 80, of mfcc 23 as in Kaldi."""
    cepstra: Positive = 13
    """Coefficients that mfcc keeps."""
    length: Positive = 512
    """The longest row in steps of 10 ms; longer utterances are cut."""
    rows: Positive = 8
    """Utterances in one optimiser step, over all processes and micro-batches."""
    bucket: Positive = 16
    """Steps whose utterances are sorted by length together, so that little of a row is padding; 1 for none."""
    label: str = "label"
    """Column of the manifest, or field of `pattern`, that is the label: emotion, say."""
    pattern: str = ""
    """What a file's name says, where it does: {digit}_{speaker}_{take}."""
    skip_bad: bool = False
    """Leave out what cannot be used, count and report it, instead of stopping."""
    espeak: Espeak = Espeak()
    """What the source espeak says."""

    @property
    def bands(self) -> int:
        """Mel bands."""
        return self.mels or (23 if self.features == "mfcc" else 80)

    @property
    def width(self) -> int:
        """Numbers in a frame."""
        one = {"wave": 1, "mfcc": self.cepstra}.get(self.features, self.bands)
        return one * self.repeats

    @property
    def repeats(self) -> int:
        """How often the bands stand side by side in a frame."""
        return (1 + self.deltas) * self.stack

    @property
    def schedule(self) -> tuple[Phase, ...]:
        """All of training."""
        return (Phase(share=1.0, length=self.length, rows=self.rows),)

    @property
    def longest(self) -> int:
        """Frames in the longest row: steps of 10 ms, and of `wave` samples."""
        return self.length * (self.sample_rate // 100 if self.features == "wave" else 1) // self.stack


Data = TextData | ImageData | SpeechData
