"""Linear probes of every layer, solved together, against one forward pass and one training by Adam for each layer.

    python bench/linear_probes.py RUN GOLD.conllu.gz                 the weights of a run, or of a published folder
    python bench/linear_probes.py RUN GOLD.conllu.gz --fresh 12x768  fresh ones of another shape, with its tokenizer

Parts of speech on a keyed tenth of the sentences (--share), of which a quarter is asked about. Ours is what the probe
`linear` does: one packed forward pass, and all layers' regressions by L-BFGS to within 1e-4 nats of their minimum.
Theirs is the protocol of Chiang, Huang & Lee (2020): for every layer the whole model is run over the sentences (packed
like ours, so that only the probing differs) and a linear layer is trained on that layer's states by Adam at 1e-4 with
batches of 1,024, at most 30,000 steps. A tenth of the sentences that are learned from serves as dev: it is evaluated
every 250 steps (--evaluate-every), training ends where it has not been better for 10 evaluations, and the best weights
count. With --learn the probes learn from the first so many words alone, and are asked as much as before: a tenth of a
treebank, with a quarter of all of it to ask about, tells accuracies apart that a quarter of the tenth cannot. With
--same-problem Adam minimises what ours does, features standardised and weights held to 0 by as much, over the same
words, none of them dev, for as many steps as it may take: what is left between the two is how near the minimum it
comes. With --layers theirs takes these alone, which tells as much about its speed. Speed is layers a second; what both
get right of the asked words is shown by layer, with the time of the parts. Each measurement is a process of its own, in
turn. Fresh weights say how fast it is, and nothing about accuracy.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from compare import alternate, peak_memory, show

LR, BATCH, STEPS, PATIENCE = 1e-4, 1024, 30_000, 10


def opened(a: argparse.Namespace) -> tuple[Any, Any, Any]:
    """The model, the words of the chosen sentences as it reads them, and what is asked about them."""
    import msgspec
    import numpy as np
    import torch

    from sesame.engine import build as building
    from sesame.probes.linear import gold, word_tasks
    from sesame.probes.states import laid_out, spelled
    from sesame.probes.words import keyed_order
    from sesame.tasks.base import Notes

    torch.set_num_threads(a.threads)
    model = building.load(a.run)
    if a.fresh:
        assert model.recipe is not None, "a published folder has no recipe to change"
        layers, width = map(int, a.fresh.split("x"))
        shape = {"layers": layers, "width": width, "heads": width // 64, "ffn": 4 * width}
        recipe = msgspec.structs.replace(model.recipe, backbone=msgspec.structs.replace(model.recipe.backbone, **shape))
        model = building.Model(building.build(recipe, model), model.vocabulary, recipe, 0)
    model.objective.eval()
    every = list({sentence.key: sentence for sentence in gold(a.gold)}.values())
    order = keyed_order([sentence.key for sentence in every])
    sentences = [every[i] for i in order[: round(a.share * len(every))]]
    (task, *_) = word_tasks(sentences, full=False, warnings=[])
    if a.learn:
        kept = np.r_[: min(a.learn, task.known), task.known : len(task.label)]
        task = replace(task, thing=task.thing[kept], label=task.label[kept], known=min(a.learn, task.known))
    tokens = spelled(model, [sentence.words for sentence in sentences], Notes())
    return model, laid_out(model, tokens), task


def ours(model: Any, words: Any, task: Any) -> tuple[list[float], dict[str, float]]:
    import torch

    from sesame.engine import machine, products
    from sesame.probes.linear import told_right
    from sesame.probes.states import word_states

    products.use(products.fastest(torch.get_num_threads()))  # as `sesame watch` does
    machine.keep_freed_memory()
    began = time.perf_counter()
    states = word_states(model, words)
    read = time.perf_counter()
    right = told_right(task, states, torch.from_numpy(words.sentence).to(states.device))
    ended = time.perf_counter()
    return [float(of_layer.mean()) for of_layer in right], {"forward": read - began, "probes": ended - read}


def theirs(
    model: Any, words: Any, task: Any, every: int, most: int, layers: list[int], lr: float, same: bool
) -> tuple[list[float], dict[str, float]]:
    import torch

    from sesame.probes.linear import ridge
    from sesame.probes.states import word_states
    from sesame.tasks.softmax_regression import standardised

    found, spent = [], {"forward": 0.0, "probes": 0.0, "steps": 0.0}
    for layer in layers or range(model.objective.backbone.config.layers + 1):
        began = time.perf_counter()
        states = word_states(model, words)[layer]
        read = time.perf_counter()
        x, label = states[torch.from_numpy(task.thing)], torch.from_numpy(task.label)
        known, width = slice(task.known), x.shape[1]
        x = standardised(x, task.known) if same else x
        with torch.enable_grad():
            if same:
                probe, steps = minimised(x[known], label[known], len(task.names), most, lr, ridge(task.known, width))
            else:
                probe, steps = by_adam(x[known], label[known], len(task.names), every, most, lr)
        said = probe(x[task.known :]).argmax(1)
        found.append(float((said == label[task.known :]).float().mean()))
        spent["forward"] += read - began
        spent["probes"] += time.perf_counter() - read
        spent["steps"] += steps
        print(f"layer {layer}: {steps} steps, {found[-1]:.4f}", file=sys.stderr, flush=True)
    return found, spent


def by_adam(x: Any, label: Any, labels: int, every: int, most: int, lr: float) -> tuple[Any, int]:
    """A linear layer that is best on dev, and how many steps were taken."""
    import torch

    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(x), generator=generator)
    dev, train = order[: len(x) // 10], order[len(x) // 10 :]
    torch.manual_seed(0)
    probe = torch.nn.Linear(x.shape[1], labels)
    optimizer = torch.optim.Adam(probe.parameters(), lr=lr)
    best, kept, waited, step = -1.0, {}, 0, 0
    while step < most and waited < PATIENCE:
        for batch in train[torch.randperm(len(train), generator=generator)].split(BATCH):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(probe(x[batch]), label[batch]).backward()
            optimizer.step()
            step += 1
            if step % every == 0 or step == most:
                with torch.no_grad():
                    score = float((probe(x[dev]).argmax(1) == label[dev]).float().mean())
                waited = 0 if score > best else waited + 1
                if score > best:
                    best, kept = score, {name: p.clone() for name, p in probe.state_dict().items()}
                if waited == PATIENCE or step == most:
                    break
    probe.load_state_dict(kept)
    return probe, step


def minimised(x: Any, label: Any, labels: int, steps: int, lr: float, ridge: float) -> tuple[Any, int]:
    """A linear layer after so many steps of Adam on what ours minimises; one feature of `x` is always 1."""
    import torch

    generator = torch.Generator().manual_seed(0)
    probe = torch.nn.Linear(x.shape[1], labels, bias=False)
    optimizer = torch.optim.Adam(probe.parameters(), lr=lr)
    for _ in range(steps):
        batch = torch.randint(len(x), (BATCH,), generator=generator)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(probe(x[batch]), label[batch])
        (loss + ridge / 2 * probe.weight.square().sum()).backward()
        optimizer.step()
    return probe, steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("gold", metavar="GOLD", type=Path)
    parser.add_argument("--fresh", default="", metavar="LAYERSxWIDTH")
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--learn", type=int, default=0, metavar="WORDS", help="of those to learn from; 0 for all")
    parser.add_argument("--evaluate-every", type=int, default=250)
    parser.add_argument("--steps", type=int, default=STEPS, help="the most that Adam takes for a layer")
    parser.add_argument("--lr", type=float, default=LR, help="Adam's; the reference's leaves it short of the minimum")
    parser.add_argument("--same-problem", action="store_true", help="Adam minimises what ours does")
    parser.add_argument(
        "--layers", type=int, nargs="+", default=[], help="the other side's; each costs it the same pass"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.side:
        import torch

        with torch.no_grad():
            model, words, task = opened(a)
            if a.side == "ours":
                accuracy, spent = ours(model, words, task)
            else:
                accuracy, spent = theirs(model, words, task, a.evaluate_every, a.steps, a.layers, a.lr, a.same_problem)
        speed = len(accuracy) / (spent["forward"] + spent["probes"])
        print(json.dumps({"speed": speed, "memory": peak_memory(), "spent": spent, "accuracy": accuracy}))
        return
    same = [__file__, a.run, str(a.gold), "--share", str(a.share), "--threads", str(a.threads), "--fresh", a.fresh,
            "--steps", str(a.steps), "--evaluate-every", str(a.evaluate_every), "--lr", str(a.lr),
            "--learn", str(a.learn)]  # fmt: skip
    same += ["--layers", *map(str, a.layers)] if a.layers else []
    same += ["--same-problem"] if a.same_problem else []
    name = f"{a.share:g} of {a.gold.name}, {a.fresh or Path(a.run).name}"
    case = alternate(name, *([*same, "--side", side] for side in ("ours", "theirs")), a.rounds)
    show([case], "layers/s", a.json)
    first: tuple[dict[str, Any], dict[str, Any]] = case.ours[0], case.theirs[0]
    for layer, other in zip(a.layers or range(len(first[0]["accuracy"])), first[1]["accuracy"], strict=True):
        mine = first[0]["accuracy"][layer]
        print(f"layer {layer}: {mine:.2%} against {other:.2%} ({100 * (mine - other):+.2f})", file=sys.stderr)
    print(f"seconds of ours {first[0]['spent']}, of theirs {first[1]['spent']}", file=sys.stderr)


if __name__ == "__main__":
    main()
