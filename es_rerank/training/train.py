"""The training loop: steps, checkpoints, early stopping. What is trained is a task.

A run lives in a folder and goes on where it was stopped: every step draws its randomness from the
seed and its own number alone, so that a run that was killed ends as one that was not.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from es_rerank.errors import ConfigError
from es_rerank.training.adapt import prune_ranks, trained
from es_rerank.training.dataset import Dataset, Say
from es_rerank.training.devices import Team
from es_rerank.training.groups import Group
from es_rerank.training.recipe import Recipe
from es_rerank.training.track import open_trackers

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
LOG = "log.jsonl"
APART = 10**12
"""What parts the processes' seeds of dropout."""


@dataclass
class Run:
    """A network under training, with `encoder` and `closeness`. cosine: the weight of the plain
    cosine. doubt: log variances of the two losses, where lambda is learned. average: the averaged
    weights, by name."""

    network: Any
    cosine: Tensor
    doubt: Tensor
    average: dict[str, Tensor]
    step: int = 0
    best: float = -math.inf
    stale: int = 0


@dataclass(frozen=True)
class Measured:
    """How good a run is on what was held out. best: what is gone by. text: the same for people.
    held: the same for trackers, by name."""

    best: float
    text: str
    held: Mapping[str, float]


class Task(Protocol):
    """What is trained, and by what loss."""

    @property
    def recipe(self) -> Recipe: ...

    @property
    def data(self) -> Dataset: ...

    @property
    def team(self) -> Team: ...

    def start(self) -> Run:
        """A run at its first step, on the team's device."""

    def draw(self, part: Sequence[Group], chance: random.Random) -> Sequence[int]:
        """What chance decides of a part; drawn for every part, in every process alike."""

    def lose(
        self, run: Run, part: Sequence[Group], drawn: Sequence[int], told: dict[str, float]
    ) -> Tensor:
        """The groups' losses, summed; adds each term to `told`."""

    def measure(self, run: Run) -> Measured:
        """Judge the network as it is by what was held out."""


def train(task: Task, folder: Path, say: Say) -> Run:
    """Train, or go on. Returns the run with the best averaged weights loaded.

    Raises ConfigError for a step that cannot be parted among so many processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recipe, team = task.recipe, task.team
    plan = recipe.schedule
    if plan.groups_per_step < team.size:
        raise ConfigError(
            f"[schedule] groups_per_step = {plan.groups_per_step} cannot be parted among "
            f"{team.size} processes: raise it, or start fewer"
        )
    torch.set_num_threads(plan.threads)
    run = task.start()
    if plan.checkpointing:
        encoder = run.network.encoder
        name = "activation_checkpointing_enable"  # older transformers know it by another
        enable = getattr(encoder, name, encoder.gradient_checkpointing_enable)
        enable({"use_reentrant": False})
    optimizer = make_optimizer(recipe, run)
    resume(run, optimizer, folder, say)
    if not team.leads:
        go_on(task, run, optimizer, folder, say)
    else:
        with (
            (folder / LOG).open("a") as log,
            open_trackers(recipe, folder, run.step, say) as trackers,
        ):

            def note(step: int, part: str, values: Mapping[str, float]) -> None:
                if part == "train":
                    log.write(json.dumps(values) + "\n")
                    log.flush()
                named = {f"{part}/{name}": float(value) for name, value in values.items()}
                for each in trackers:
                    each.log(step, named)

            go_on(task, run, optimizer, folder, say, note)
    team.wait()
    if (folder / BEST).is_file():
        best = torch.load(folder / BEST, weights_only=True, map_location=team.device)
        load_weights(run, best["average"])
    return run


def go_on(
    task: Task,
    run: Run,
    optimizer: torch.optim.Optimizer,
    folder: Path,
    say: Say,
    note: Callable[[int, str, Mapping[str, float]], None] = lambda *_: None,
) -> None:
    """Step until the end. note: takes a step's figures, of training or of what is held out."""
    plan = task.recipe.schedule
    began, before = time.monotonic(), run.step
    while run.step < plan.steps and run.stale < plan.patience:
        told = take_step(task, run, optimizer)
        if run.step % 10 == 0 or run.step == plan.steps:
            pace = (time.monotonic() - began) / (run.step - before)
            told |= {"step": run.step, "seconds_per_step": round(pace, 3)}
            note(run.step, "train", told)
        if run.step % plan.evaluate_every == 0 or run.step == plan.steps:
            if task.team.leads:
                note(run.step, "held", validate(task, run, folder, say).held)
            run.best, run.stale = task.team.agree((run.best, run.stale))
        if task.team.leads and (run.step % plan.checkpoint_every == 0 or run.step == plan.steps):
            save(run, optimizer, folder)


def make_optimizer(recipe: Recipe, run: Run) -> torch.optim.Optimizer:
    """AdamW or SGD; matrices decay, the rest does not."""
    plan = recipe.schedule
    named = trained(run.network)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in named.values() if p.ndim > 1], "weight_decay": plan.weight_decay},
        {"params": [p for p in named.values() if p.ndim == 1], "weight_decay": 0.0},
        {"params": [run.network.closeness, run.cosine], "weight_decay": 0.0, "scale": 100.0},
    ]
    if run.doubt.requires_grad:
        groups.append({"params": [run.doubt], "weight_decay": 0.0})
    if plan.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=plan.learning_rate, momentum=0.9)
    return torch.optim.AdamW(groups, lr=plan.learning_rate)


def take_step(task: Task, run: Run, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """One step of the optimizer. Returns its losses, meaned over its groups."""
    recipe, data, team = task.recipe, task.data, task.team
    plan = recipe.schedule
    torch.manual_seed(plan.seed * 1_000_003 + run.step + team.rank * APART)
    chance = random.Random(plan.seed * 1_000_003 + run.step)
    first = run.step * plan.groups_per_step
    taken = [data.train[(first + i) % len(data.train)] for i in range(plan.groups_per_step)]
    for each in optimizer.param_groups:
        each["lr"] = plan.learning_rate * pace_of(recipe, run.step) * each.get("scale", 1.0)
    run.network.train()
    optimizer.zero_grad(set_to_none=True)
    told: dict[str, float] = {}
    size = math.ceil(len(taken) / (plan.accumulate * team.size))
    parts = [taken[begin : begin + size] for begin in range(0, len(taken), size)]
    drawn = [(part, task.draw(part, chance)) for part in parts]
    for part, chosen in team.own(drawn):
        (task.lose(run, part, chosen, told) / len(taken)).backward()  # type: ignore[no-untyped-call]
    team.add_gradients([p for each in optimizer.param_groups for p in each["params"]])
    torch.nn.utils.clip_grad_norm_(list(trained(run.network).values()), plan.clip)
    optimizer.step()
    run.step += 1
    prune_ranks(run.network, run.step)
    keep = min(plan.average, run.step / (run.step + 10))
    for name, p in trained(run.network).items():
        run.average[name].mul_(keep).add_(p.detach(), alpha=1 - keep)
    told = {name: round(value / len(taken), 4) for name, value in team.add_up(told).items()}
    return {
        **told,
        "cosine": round(float(run.cosine.detach()), 3),
        "closeness": round(float(run.network.closeness.detach()), 3),
    }


def pace_of(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then a cosine down to a twentieth."""
    plan = recipe.schedule
    warm = max(1, round(plan.warmup * plan.steps))
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / max(plan.steps - warm, 1)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def validate(task: Task, run: Run, folder: Path, say: Say) -> Measured:
    """Measure the averaged weights on what is held out, and keep them when they are the best."""
    own = {name: p.detach().clone() for name, p in trained(run.network).items()}
    load_weights(run, run.average)
    found = task.measure(run)
    load_weights(run, own)
    say(f"step {run.step}: {found.text}")
    if found.best > run.best + 1e-4:
        run.best, run.stale = found.best, 0
        kept = {"average": run.average, "step": run.step, "held": dict(found.held)}
        torch.save(kept, folder / BEST)
    else:
        run.stale += 1
    return found


def load_weights(run: Run, weights: Mapping[str, Tensor]) -> None:
    """Put weights, by name, into the network."""
    with torch.no_grad():
        for name, p in trained(run.network).items():
            p.copy_(weights[name])


def save(run: Run, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Write a checkpoint; the old one stays whole until the new one is."""
    state = {
        "weights": {name: p.detach() for name, p in trained(run.network).items()},
        "average": run.average,
        "cosine": run.cosine.detach(),
        "doubt": run.doubt.detach(),
        "optimizer": optimizer.state_dict(),
        "step": run.step,
        "best": run.best,
        "stale": run.stale,
    }
    torch.save(state, folder / f"{CHECKPOINT}.new")
    (folder / f"{CHECKPOINT}.new").replace(folder / CHECKPOINT)


def resume(run: Run, optimizer: torch.optim.Optimizer, folder: Path, say: Say) -> None:
    """Load the folder's checkpoint, where there is one."""
    if not (folder / CHECKPOINT).is_file():
        return
    state = torch.load(folder / CHECKPOINT, weights_only=True, map_location=run.cosine.device)
    load_weights(run, state["weights"])
    with torch.no_grad():
        run.cosine.copy_(state["cosine"])
        run.doubt.copy_(state["doubt"])
    run.average = state["average"]
    optimizer.load_state_dict(state["optimizer"])
    run.step, run.best, run.stale = state["step"], state["best"], state["stale"]
    say(f"Going on from step {run.step} ...")
