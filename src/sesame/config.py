"""The typed values that fix a run. Imports nothing of ours and no torch, so that the command line stays quick.

Every value is a frozen `msgspec.Struct`: msgspec reads and writes it as JSON and names the path of what is wrong,
`tyro` turns it into options. Where a room has a choice the structs are tagged, and the tag stands in `config.json`.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Rate = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Above0 = Annotated[float, Meta(gt=0.0)]


# ---------------------------------------------------------------------------------------------- data
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


class ImageData(Struct, frozen=True, kw_only=True, tag="images"):
    """Images in memory; `digits` is built in."""

    source: str = "digits"
    rows: Positive = 256
    """Images in one optimiser step."""


class SpeechData(Struct, frozen=True, kw_only=True, tag="speech"):
    """A folder of audio files, as log-mel frames; one utterance is one example."""

    source: str = ""
    sample_rate: Positive = 16000
    mels: Positive = 80
    length: Positive = 512
    """Frames (10 ms each) in a row; longer utterances are cut."""
    rows: Positive = 8


Data = TextData | ImageData | SpeechData


# -------------------------------------------------------------------------------------------- models
class Transformer(Struct, frozen=True, kw_only=True, tag="transformer"):
    """One stack of Transformer blocks; the switches cover the published families (see models/zoo.py)."""

    layers: Positive = 12
    width: Positive = 768
    heads: Positive = 12
    head_width: Count = 0
    """Width of a head; 0 for width / heads (T5 11B's heads are wider than that)."""
    ffn: Positive = 3072
    gated: bool = False
    """The activated numbers of the feed-forward layer are multiplied by as many that are not (T5 1.1)."""
    groups: Count = 0
    """Groups of layers, each with one set of weights for all its layers (ALBERT has one); 0: each layer has its own."""
    inner: Positive = 1
    """Layers in that set, taken in turn."""
    bias: bool = True
    """Linear layers have biases; T5's have none."""
    input: Literal["tokens", "frames"] = "tokens"
    vocab: Count = 0
    """Size of the vocabulary; 0 takes the tokenizer's. For frames: unused."""
    features: Count = 0
    """Width of an input frame; 0 takes the data's. For tokens: unused."""
    embedding: Count = 0
    """Width of the embeddings, which a matrix then brings to `width` (ALBERT); 0 for `width`."""
    scale_embedding: bool = False
    """Token embeddings are multiplied by the root of their width (Vaswani et al. 2017, 3.4)."""
    positions: Count = 512
    """Rows of the learned position table; where positions are relative, what is read of a text at once."""
    kinds: Count = 2
    """Segment (token type) embeddings; 0 for none."""
    position: Literal["learned", "relative", "none"] = "learned"
    """relative: what attention scores gain by the distance of two positions, learned in buckets (T5)."""
    buckets: Positive = 32
    """Of relative positions: distances told apart."""
    farthest: Positive = 128
    """Distances from this one on are one bucket."""
    norm: Literal["post", "pre"] = "post"
    norm_kind: Literal["layer", "rms"] = "layer"
    """rms: RMSNorm, without mean and bias (T5)."""
    norm_eps: Above0 = 1e-12
    embedding_norm: bool = True
    scale_scores: bool = True
    """Attention scores are divided by the root of a head's width; T5's are not."""
    output: Literal["tied", "scaled", "untied"] = "tied"
    """What states are projected onto for words: the embeddings; the same, by states divided by the root of the width
    (T5); a matrix of its own (T5 1.1)."""
    causal: bool = False
    activation: Literal["gelu", "gelu_tanh", "relu"] = "gelu"
    dropout: Rate = 0.0
    attention_dropout: Rate = 0.0
    init: Above0 = 0.02
    """Standard deviation of the normal start of weights and embeddings."""
    start: Literal["normal", "mimetic"] = "normal"
    """mimetic: beside that, positions start as sinusoids and attention near the identity (Trockman & Kolter 2023)."""


class EncoderDecoder(Struct, frozen=True, kw_only=True, tag="encoder-decoder"):
    """Two stacks that share an embedding; the second also attends to the first (BART)."""

    encoder: Transformer
    decoder: Transformer


class ConvNet(Struct, frozen=True, kw_only=True, tag="convnet"):
    """A small residual conv net for images on a CPU."""

    channels: tuple[Positive, ...] = (32, 64, 128)
    in_channels: Positive = 1


class WordVectors(Struct, frozen=True, kw_only=True, tag="word-vectors"):
    """A vector for every token, whatever stands beside it."""

    width: Positive = 100
    vocab: Count = 0
    """Size of the vocabulary; 0 takes the tokenizer's."""

    @property
    def layers(self) -> int:
        """Above the embeddings."""
        return 0

    @property
    def position(self) -> str:
        return "none"


class Elmo(Struct, frozen=True, kw_only=True, tag="elmo"):
    """Words from their characters, and LSTMs over them from both sides (Peters et al. 2018)."""

    filters: tuple[tuple[Positive, Positive], ...] = (
        (1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512), (7, 1024),
    )  # fmt: skip
    """Convolutions over characters: (width, how many)."""
    character_width: Positive = 16
    longest: Annotated[int, Meta(ge=3)] = 50
    """Characters of a word, its begin and its end included; what is longer is cut."""
    highways: Count = 2
    width: Positive = 512
    """Of a word's vector and of each direction's states."""
    layers: Positive = 2
    cell: Positive = 4096
    clip: Annotated[float, Meta(ge=0)] = 3.0
    """Cells and states are kept within plus and minus this; 0 for never."""
    dropout: Rate = 0.1
    """Of what each layer reads."""
    vocab: Count = 0
    """Words whose spelling is known, and that are predicted; 0 takes the tokenizer's."""

    @property
    def position(self) -> str:
        return "none"


Backbone = Transformer | EncoderDecoder | ConvNet | WordVectors | Elmo


# ------------------------------------------------------------------------------------------- pretext
class Bert(Struct, frozen=True, kw_only=True, tag="bert"):
    """Masked LM with any weighted mixture of next-sentence and sentence-order prediction (Devlin 2019, Lan 2020)."""

    rate: Rate = 0.15
    """Share of each example's tokens that is hidden."""
    mask: Rate = 0.8
    """Share of the hidden tokens replaced by [MASK]."""
    random: Rate = 0.1
    """Share of the hidden tokens replaced by a random one; the rest stay as they are."""
    unit: Literal["token", "word", "span", "ngram"] = "token"
    """What is hidden together: tokens, whole words, SpanBERT's spans of words, ALBERT's n-grams of words."""
    masked_lm: Annotated[float, Meta(ge=0)] = 1.0
    """Weight of the masked LM loss."""
    next_sentence: Annotated[float, Meta(ge=0)] = 0.0
    """Weight of the next-sentence loss; above 0, examples are sentence pairs."""
    sentence_order: Annotated[float, Meta(ge=0)] = 0.0
    """Weight of the sentence-order loss; above 0, examples are sentence pairs."""
    pairs: bool = False
    """Examples are sentence pairs also where no pair loss has a weight; all are neighbours then."""
    embeddings: Literal["normal", "counts"] = "normal"
    """counts: the first embeddings come from what stands near what in the text (PPMI, SVD), in seconds."""


class CausalLM(Struct, frozen=True, kw_only=True, tag="causal-lm"):
    """Predict the next token from those before it (Radford et al. 2018)."""


class TokenMasking(Struct, frozen=True, kw_only=True, tag="token-masking"):
    """Single tokens become [MASK] (Lewis et al. 2020, 2.2); with `random` 0.1 it is BERT style (Raffel et al., 3.3)."""

    rate: Rate = 0.15
    """Share of each example's tokens that is hidden."""
    random: Rate = 0.0
    """Share of the hidden tokens replaced by a random one instead of [MASK]."""


class TokenDeletion(Struct, frozen=True, kw_only=True, tag="token-deletion"):
    """Single tokens are left out, and nothing says where (Lewis et al. 2020, 2.2; Raffel et al. 2020, 3.3)."""

    rate: Rate = 0.15
    """Share of each example's tokens that is left out."""


class TextInfilling(Struct, frozen=True, kw_only=True, tag="text-infilling"):
    """Spans of Poisson length, none included, become one [MASK] each (Lewis et al. 2020, 2.2)."""

    rate: Rate = 0.3
    """Share of each example's tokens inside hidden spans."""
    span: Above0 = 3.0
    """Mean span length (Poisson)."""


class SentencePermutation(Struct, frozen=True, kw_only=True, tag="sentence-permutation"):
    """The sentences come in a random order (Lewis et al. 2020, 2.2)."""


class DocumentRotation(Struct, frozen=True, kw_only=True, tag="document-rotation"):
    """The text begins with a random one of its tokens; what was before it comes at the end (Lewis et al. 2020, 2.2)."""


class TokenShuffling(Struct, frozen=True, kw_only=True, tag="token-shuffling"):
    """The tokens come in a random order: T5's deshuffling (Raffel et al. 2020, 3.3)."""


class SpanCorruption(Struct, frozen=True, kw_only=True, tag="span-corruption"):
    """Hidden spans become one sentinel each, a different one for every span (Raffel et al. 2020, 3.1.4)."""

    rate: Rate = 0.15
    """Share of each example's tokens that is hidden."""
    span: Above0 = 3.0
    """Mean span length."""
    independent: bool = False
    """Each token is hidden by itself; what happens to stand together is one span, and `span` is not used."""


class FragmentMasking(Struct, frozen=True, kw_only=True, tag="fragment-masking"):
    """One run of tokens is hidden, each behind [MASK], another token or itself: MASS (Song et al. 2019, 3.1, 4.1)."""

    rate: Rate = 0.5
    """Share of each example's tokens in the fragment."""
    mask: Rate = 0.8
    """Share of the hidden tokens replaced by [MASK]."""
    random: Rate = 0.1
    """Share of the hidden tokens replaced by a random one; the rest stay as they are."""


class PrefixSplit(Struct, frozen=True, kw_only=True, tag="prefix-split"):
    """The text ends at a random place; what follows is hidden: the prefix LM (Raffel et al. 2020, 3.3)."""


Corruption = (
    TokenMasking
    | TokenDeletion
    | TextInfilling
    | SentencePermutation
    | DocumentRotation
    | TokenShuffling
    | SpanCorruption
    | FragmentMasking
    | PrefixSplit
)


class Denoising(Struct, frozen=True, kw_only=True, tag="denoising"):
    """An encoder reads damaged text, a decoder writes what it was (BART, MASS, T5)."""

    corruptions: tuple[Corruption, ...] = (TextInfilling(),)
    """What is done to a text, one after the other."""
    target: Literal["original", "missing"] = "original"
    """What is written: the whole text, or only the tokens that the last corruption hides."""


class Byol(Struct, frozen=True, kw_only=True, tag="byol"):
    """Predict a slow copy's projection of another view of the image (Grill et al. 2020)."""

    hidden: Positive = 256
    out: Positive = 64
    decay: Rate = 0.99
    """Decay of the slow copy at the start; rises to 1 along a cosine."""
    shift: Count = 1
    """Views are the image shifted by up to this many pixels, …"""
    jitter: Rate = 0.4
    """… with brightness and contrast changed by up to this factor, …"""
    noise: Annotated[float, Meta(ge=0)] = 0.05
    """… and Gaussian noise of this size (pixels in 0..1)."""


class Apc(Struct, frozen=True, kw_only=True, tag="apc"):
    """Autoregressive predictive coding: predict the frame `ahead` steps on from the past (Chung et al. 2019)."""

    ahead: Positive = 5


class WordWindow(Struct, frozen=True, kw_only=True):
    """Words and their neighbours, told from words drawn by chance (Mikolov et al. 2013)."""

    window: Positive = 5
    """Words to each side; every position takes a number of its own, uniform from 1 to this."""
    negative: Positive = 5
    """Words drawn by chance beside each true one, …"""
    exponent: Rate = 0.75
    """… with probability proportional to count**exponent."""
    sample: Annotated[float, Meta(ge=0)] = 1e-3
    """Words with a greater share of the text are left out now and then; 0 keeps every word."""


class Cbow(WordWindow, frozen=True, kw_only=True, tag="cbow"):
    """The mean of a word's neighbours predicts it."""


class SkipGram(WordWindow, frozen=True, kw_only=True, tag="skip-gram"):
    """Each neighbour of a word predicts it."""


class BidirectionalLM(Struct, frozen=True, kw_only=True, tag="bidirectional-lm"):
    """Predict the next word from those before it, and the word before from those after (Peters et al. 2018)."""


Pretext = Bert | CausalLM | Denoising | Byol | Apc | Cbow | SkipGram | BidirectionalLM


# -------------------------------------------------------------------------------------------- engine
class Optimizer(Struct, frozen=True, kw_only=True):
    """AdamW everywhere, or Muon on the blocks' matrices with AdamW on the rest; or plain gradient descent.

    sgd changes weights by rate times gradient and nothing else (no momentum, no decay); it changes those rows of a
    table alone that a step has read, which is how word vectors are trained.
    """

    name: Literal["adamw", "muon", "sgd"] = "adamw"
    lr: Above0 = 1e-3
    """Peak learning rate of AdamW, or of sgd."""
    muon_lr: Above0 = 0.02
    beta1: Rate = 0.9
    beta2: Rate = 0.98
    eps: Above0 = 1e-6
    weight_decay: Annotated[float, Meta(ge=0)] = 0.01
    """Decoupled; not applied to biases and norms."""
    warmup: Rate = 0.06
    """Share of all steps over which the rate rises linearly from 0."""
    decay: Literal["linear", "cosine", "constant"] = "linear"
    floor: Rate = 0.0
    """The rate at the last step, as a share of the peak."""
    clip: Annotated[float, Meta(ge=0)] = 1.0
    """Gradient norm above which gradients are scaled down; 0 for never."""


class Probe(Struct, frozen=True, kw_only=True):
    """A measurement of what the model has learned, which does not change it."""

    name: str
    """One of `sesame watch --help`, or a file of your own: my_probe.py."""
    source: str = ""
    """What it is measured on (--probe NAME=FILE); empty for what the probe brings itself, or the held-out data."""


class Watch(Struct, frozen=True, kw_only=True):
    """What is measured while a run trains, and when. Measuring changes no weight."""

    probes: tuple[Probe, ...] = ()
    """Given with --probe NAME or --probe NAME=FILE."""
    every: Count = 0
    """Measured at 0, 1, 2, 4, 8 … until these lie so far apart, then every so many; 0: as the budget allows."""
    at: tuple[Count, ...] = ()
    """Measured here and nowhere else, whatever it takes."""
    unit: Literal["steps", "tokens"] = "steps"
    """What `every` and `at` count."""
    budget: Rate = 0.05
    """Share of the planned training time that may be spent on measuring."""
    seconds: Annotated[float, Meta(ge=0)] = 0.0
    """That share in seconds; 0: worked out at the start from the measured speed, and frozen."""


class Recipe(Struct, frozen=True, kw_only=True):
    """Everything that fixes a run. What is measured (threads, steps from minutes) is frozen here at the start."""

    name: str
    data: Data
    backbone: Backbone
    pretext: Pretext
    optimizer: Optimizer = Optimizer()
    steps: Count = 10_000
    """Optimiser steps in all."""
    max_minutes: Annotated[float, Meta(ge=0)] = 0.0
    """Above 0: the speed is measured at the start and `steps` set to what fits; evaluation and saving included."""
    max_tokens: Count = 0
    """Above 0: `steps` is set to what sees so many tokens (positions; images for images)."""
    accumulate: Positive = 1
    """Micro-batches in an optimiser step; the loss is the exact mean over the whole step."""
    seed: int = 0
    precision: Literal["auto", "fp32", "bf16", "fp64"] = "auto"
    """auto: bf16 on CUDA, fp32 elsewhere (bf16 products are slow on CPUs without AVX-512 or AMX)."""
    compile: bool = False
    threads: Count = 0
    """0: as many as there are cores; frozen at the start."""
    products: Literal["auto", "torch", "onednn"] = "auto"
    """How fp32 matrices are multiplied on a CPU: by torch's own library or by oneDNN; auto: whichever is measured to
    be faster, frozen at the start."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    deterministic: bool = False
    """On CUDA: only deterministic kernels, so that resuming is bit-exact there too."""
    ema: Rate = 0.0
    """Above 0: decay of a running average of the weights, evaluated and saved as the model."""
    eval_every: Count = 0
    """Steps between evaluations on held-out examples; 0: twenty times in the run."""
    eval_rows: Positive = 256
    """Held-out rows (images, utterances) that an evaluation reads."""
    save_every: Count = 0
    """Steps between checkpoints; 0: ten times in the run."""
    save_early: bool = False
    """Also at steps 1, 2, 4, 8 … before the first of these, to see afterwards how it began (as Pythia's are saved)."""
    save_minutes: Annotated[float, Meta(ge=0)] = 10.0
    """A checkpoint also when so many minutes have passed since the last; 0 for never."""
    keep: Positive = 2
    """Newest checkpoints kept whole; the others keep their weights only."""
    log_every: Positive = 10
    watch: Watch = Watch()


# ---------------------------------------------------------------------------------------- generation
class Generate(Struct, frozen=True, kw_only=True):
    """How a model writes on."""

    max_tokens: Positive = 100
    """Tokens written at most."""
    samples: Positive = 1
    """Texts for each prompt."""
    temperature: Annotated[float, Meta(ge=0)] | None = None
    """Scores are divided by it before one token is drawn; 0 takes the likeliest each time. Unset: 0.8."""
    top_k: Count = 0
    """Draw among so many likeliest tokens only; 0 for all."""
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Draw among the fewest likeliest tokens that have this probability together (Holtzman et al. 2020)."""
    min_p: Rate = 0.0
    """Draw among tokens with at least this share of the likeliest one's probability (Nguyen et al. 2025)."""
    repetition_penalty: Above0 = 1.0
    """Scores of tokens that are there already, the prompt's too, are divided by it where positive and multiplied where
    negative (Keskar et al. 2019)."""
    beams: Positive = 1
    """Above 1: beam search in place of drawing."""
    length_penalty: float = 1.0
    """Beams are ranked by log-probability / length**penalty; above 0 favours long texts."""
    stop: tuple[str, ...] = ()
    """Texts at which writing ends; they are not part of the result."""
    seed: int = 0
    """What is drawn depends on it, the prompt, the number of the sample and the place, and on nothing else."""
    long: Literal["refuse", "window"] = "refuse"
    """Where the context ends. refuse: a longer prompt is an error, and writing ends. window: the newer half is read
    anew; the source of an encoder-decoder is cut."""


# --------------------------------------------------------------------------------------------- tasks
class TaskFiles(Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Where the labelled examples of a task are."""

    train: str = ""
    dev: str = ""
    test: str = ""
    """Files; without a test file the dev file is reported too, and it is said."""


class Table(TaskFiles, frozen=True, kw_only=True):
    """Rows of a TSV, CSV or JSONL file."""

    text: str = "text"
    """Column of the text."""
    pair: str = ""
    """Column of the second text, for pairs."""
    label: str = "label"
    key: str = ""
    """Column that identifies a row; empty for the line number."""
    pooling: Literal["auto", "mean", "first", "last"] = "auto"
    """What a head reads: the mean over all positions; the first ([CLS]), which BERT trains by next sentences; or the
    last, which alone has seen the whole text where a model reads from left to right. auto: last for such, else mean."""


class Classification(Table, frozen=True, kw_only=True, tag="classification"):
    """A class for a text, or for a pair of texts."""

    metric: Literal["accuracy", "macro_f1", "matthews"] = "accuracy"


class Regression(Table, frozen=True, kw_only=True, tag="regression"):
    """A number for a text, or for a pair of texts."""

    metric: Literal["pearson", "spearman"] = "pearson"


class Tagging(TaskFiles, frozen=True, kw_only=True, tag="tagging"):
    """A tag for every word, from CoNLL columns or CoNLL-U."""

    column: str = ""
    """Column of the tag: a name of CoNLL-U (upos, xpos, deprel), or a number from 1; empty for upos, or the last."""
    piece: Literal["auto", "first", "last"] = "auto"
    """Which sub-word of a word the head reads. auto: last where a model reads from left to right, else first."""
    metric: Literal["auto", "accuracy", "entity_f1"] = "auto"
    """auto: entity F1 where the tags are B-, I-, E-, S- and O, accuracy elsewhere."""


class SpanQA(TaskFiles, frozen=True, kw_only=True, tag="span-qa"):
    """The answer to a question as a span of a text, from SQuAD 1.1 or 2.0 JSON (also CMRC 2018, DRCD)."""

    metric: Literal["squad", "cmrc"] = "squad"
    """SQuAD's English scores, or CMRC's, which read Chinese."""
    stride: Positive = 128
    """Tokens from the start of one window of a long text to the start of the next; at most half of what fits."""
    longest_question: Positive = 64
    """Tokens after which a question is cut."""
    longest_answer: Positive = 30
    """Tokens an answer may have."""
    best: Positive = 20
    """Starts, and ends, of each window that are considered."""
    null_threshold: float = 0.0
    """"No answer" is given where its score exceeds the best answer's by more than this (SQuAD 2.0)."""


class Seq2Seq(TaskFiles, frozen=True, kw_only=True, tag="seq2seq"):
    """A text for a text, from rows of a TSV, CSV or JSONL file; for encoder-decoders."""

    source: str = "source"
    """Column of the text that is read."""
    target: str = "target"
    """Column of the text that is to be written."""
    key: str = ""
    """Column that identifies a row; empty for the line number."""
    metric: Literal["rouge_l", "rouge_1", "rouge_2", "bleu", "exact"] = "rouge_l"
    longest: Positive = 64
    """Tokens that are written at most; longer targets are cut in training, and scored whole."""
    cased: bool = False
    """Exact match and BLEU tell upper from lower case; a model whose tokenizer writes lower case cannot."""


Task = Classification | Regression | Tagging | SpanQA | Seq2Seq


class FineTune(Struct, frozen=True, kw_only=True):
    """How a head and a backbone are trained on a task."""

    epochs: Above0 = 8.0
    min_steps: Count = 200
    """Optimiser steps at least: few examples need more epochs, above all from scratch (Zhang et al. 2021)."""
    rows: Positive = 32
    """Sequences in an optimiser step."""
    lr: Above0 = 5e-4
    """Peak rate; warmed up over a tenth of the steps, then linearly to 0."""
    sweep: tuple[Above0, ...] = ()
    """Rates that are tried on one seed; the best on dev is taken for all."""
    layer_decay: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Factor of the rate for each layer further from the head (Howard & Ruder 2018; Clark et al. 2020)."""
    freeze: bool = False
    """Train the head alone."""
    mix: bool = False
    """The head reads a learned mix of all layers in place of the last one (as ELMo is used, frozen)."""
    dropout: Rate = 0.1
    weight_decay: Annotated[float, Meta(ge=0)] = 0.01
    patience: Count = 0
    """Evaluations on dev without a better score after which training stops; 0 for never."""
    evaluations: Positive = 8
    """On dev, evenly over the steps; the best one's weights are kept."""
    labels: tuple[Positive, ...] = ()
    """Numbers of training examples that are tried beside all of them; a smaller choice is part of every larger one."""
    length: Count = 0
    """Tokens a sequence may have; 0 for what the model reads."""
    seed: int = 0
    threads: Count = 0
