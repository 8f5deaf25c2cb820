"""Where training runs: one process, or several that torchrun started and that share each step.

Data parallel: every process has the whole network, runs its share of a step's parts and adds its
gradients to the others', once a step, however many parts there were. So the result is that of one
process which accumulates as many parts. Torch's own wrapper is not used: its hooks would add up
after every part, and know nothing of parameters outside the network.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from es_rerank.errors import ConfigError
from es_rerank.models.runtime import choose_device

T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this process measures, writes and speaks for all."""
        return self.rank == 0

    def own(self, parts: Sequence[T]) -> Sequence[T]:
        """The parts that this process runs."""
        return parts[self.rank :: self.size]

    def add_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Make each gradient the sum of all processes'; one that nobody has stays None."""
        if self.size == 1:
            return
        had = torch.tensor([float(p.grad is not None) for p in parameters], device=self.device)
        own = [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in parameters]
        flat = torch.cat([had, *own])
        dist.all_reduce(flat)
        had, sums = flat[: len(parameters)], flat[len(parameters) :]
        parts = torch.split(sums, [p.numel() for p in parameters])
        for p, known, values in zip(parameters, had.tolist(), parts, strict=True):
            p.grad = values.view_as(p).clone() if known else None

    def add_up(self, told: dict[str, float]) -> dict[str, float]:
        """Figures added up over all processes, by name."""
        if self.size == 1:
            return told
        every: list[dict[str, float] | None] = [None] * self.size
        dist.all_gather_object(every, told)
        found: dict[str, float] = {}
        for each in every:
            for name, value in (each or {}).items():
                found[name] = found.get(name, 0.0) + value
        return found

    def agree(self, value: T) -> T:
        """The leader's value, in every process."""
        if self.size == 1:
            return value
        told: list[T] = [value]
        dist.broadcast_object_list(told)
        return told[0]

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.size > 1:
            dist.barrier()

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """The leader goes through the block before the others, who find what it left on disk."""
        if not self.leads:
            self.wait()
        yield
        if self.leads:
            self.wait()


@contextmanager
def join(device: str) -> Iterator[Team]:
    """Join the processes that torchrun started, or be alone.

    device: `cpu`, `auto` or `cuda`; with several processes on a machine each has its own card.
    Raises ConfigError for a card that is not there.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    where = choose_device(device)
    if where == "cuda":
        place = int(os.environ.get("LOCAL_RANK", "0"))
        if place >= torch.cuda.device_count():
            raise ConfigError(
                f"process {place} of this machine has no card, there are "
                f"{torch.cuda.device_count()}: torchrun --nproc-per-node as many, or "
                "[schedule] device = 'cpu'"
            )
        torch.cuda.set_device(place)
        where = f"cuda:{place}"
    if size == 1:
        yield Team(device=torch.device(where))
        return
    dist.init_process_group("nccl" if where.startswith("cuda") else "gloo")
    try:
        yield Team(rank, size, torch.device(where))
    finally:
        dist.destroy_process_group()
