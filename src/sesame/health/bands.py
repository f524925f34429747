"""What is expected of a run: every threshold in one place, with where it comes from.

Bands are wide. They are there to catch what is wrong, not to rank what is right: a number inside its band may still be
better than another. Where no paper gives one it is a choice, made beside a few short runs of the built-in recipes
(SimCLR and BYOL on digits, BYOL without its predictor, a BERT off the plateau, a GPT and a BART on it); no long run of
speech was among them.
"""

# ------------------------------------------------------------------------------------------------ the loss
PLATEAU = 0.03
"""Share of the way from the level that needs no context down to the lowest loss there is. A masked LM stays at the
entropy of single words, sometimes for thousands of steps, before it begins to use what stands around. The way begins
at the first weights' own loss where that is lower: word counts and a mimetic start are not learned."""
TOO_GOOD = 0.98
"""The same share, of methods without negatives: one output for all images is a perfect answer (Grill et al. 2020,
section 3.1; Chen & He 2021, figure 2, where the loss reaches its minimum at once)."""
RISEN, FAR_RISEN = 0.03, 0.1
"""The held-out loss above its lowest, as a share of the same way."""

# ------------------------------------------------------------------------------------------ repeated data
EPOCHS = 4.0
"""Up to four passes over a text are nearly as good as new text (Muennighoff et al. 2023, 2305.16264, section 5)."""
GAP, WIDE_GAP = 0.1, 0.3
"""The held-out loss above that of training, as a share of it, after more passes than these: what is learned by heart
is missing elsewhere. Where the gap stays small, repeating has done no harm."""

# ------------------------------------------------------------------------------------------ gradient norm
SPIKE = 10.0
"""Times the median of the lines around: losses of large runs spike with such norms (Chowdhery et al. 2022, 5.1)."""
SPIKES = 0.05
"""Share of the lines that may be spikes."""
GROWN, BLOWN_UP = 5.0, 50.0
"""The median of the last quarter over that of the second one: a norm grows severalfold in healthy runs, too."""
STILL = 1e-7
"""A norm in which fp32 weights no longer move."""

# ------------------------------------------------------------------------------------------------ collapse
STD, COLLAPSED = 0.4, 0.15
"""Standard deviation of projections at length 1, of 1/√d (Chen & He 2021, figure 2: near 1, and 0 when collapsed)."""
SPREAD_LEFT, LITTLE_LEFT = 0.2, 0.05
"""Of text and speech, the same of means over an example, of what it is in a random network: such means point much the
same way in every network, so that 1/√d is no level for them."""
UNIFORMITY, POINT = -1.0, -0.25
"""log mean exp(−2d²) of projections: −4 when spread evenly over many directions, 0 in one point (Wang & Isola 2020,
section 4.2). Two points, half of the images in each, have −0.68."""
ALIGNMENT, STRANGERS = 1.0, 1.9
"""Mean squared distance of two views: 2 where they have nothing in common, 1 at a cosine of ½."""

# ---------------------------------------------------------------------------------------------------- rank
RANK, LOW_RANK = 4.0, 2.0
"""Directions in use (RankMe). The measure compares runs and has no level of its own (Garrido et al. 2023); fewer
than two is one direction, and fewer than four tell hardly anything apart."""
RANK_LEFT = 0.25
"""Of the random network's rank: training concentrates states, but not to this."""
ALPHA_LOW, ALPHA_HIGH = 0.4, 2.5
"""Decay of the variances. Good ones lie near 1 (Agrawal et al. 2022); far above, few directions carry all, far below
noise fills all of them."""

# --------------------------------------------------------------------------------------------------- codes
CODES_USED, CODES_LEFT = 0.1, 0.02
"""exp(entropy) of the codes of training frames, as a share of the codes there are: as many equally frequent codes."""

# --------------------------------------------------------------------------------------------------- heads
IDLE_HEADS = 0.5
"""Share of the heads that look mostly at separators or at the token itself. Looking at [SEP] is what a head does that
has nothing to do (Clark et al. 2019, section 3.2), but its values may be near zero there, so it does no harm
(Kobayashi et al. 2020); in trained models a good part of the heads are such, hence no number of them is ill."""

# --------------------------------------------------------------------------------------------------- gains
ERRORS = 2.0
"""Standard errors of the difference beyond which a gain is clear."""
CEILING = 0.9
"""Features that need no network and tell so many labels right leave little to gain."""
