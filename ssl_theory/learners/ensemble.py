"""The training loop: E members of one learner, trained at once as one batched computation.

Members never mix: parameters carry a leading axis E, the loss returns one number a member, the optimiser is
elementwise, and each member draws from generators of its own. So member e is the run one would get with its
seed alone.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ssl_theory.learners import storage
from ssl_theory.learners.compiled import Compiled, Loss
from ssl_theory.learners.fitted import Fitted, build
from ssl_theory.learners.learner import Learner
from ssl_theory.learners.members import Members
from ssl_theory.learners.memory import Buffer
from ssl_theory.learners.parallel import ALONE, Fabric, Ranks
from ssl_theory.learners.pieces import Pieces
from ssl_theory.learners.streams import Batch, Sampler, Streams

Progress = Callable[[int, int], None]


def fit(
    learner: Learner | Sequence[Learner],
    data: Sampler | Sequence[Sampler],
    *,
    steps: int,
    seeds: Iterable[int],
    batch_size: int = 128,
    views: int = 2,
    device: str | torch.device = "auto",
    dtype: torch.dtype = torch.float32,
    log_every: int = 50,
    progress: Progress | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 500,
    fabric: Fabric | None = None,
    compile: bool = False,
) -> Fitted:
    """Train one member a seed with Adam (Kingma & Ba 2015, arXiv 1412.6980) and return them all.

    `data` is one sampler, from which each member draws its own numbers, or a sequence of one sampler a seed.
    Each step sees `batch_size` fresh data points of `views` views. `device="auto"` takes a GPU where there is
    one.

    A sequence of learners that differ in hyperparameters of their loss (a temperature, a variance) trains as one
    ensemble too: every learner with every seed, members ordered learner by learner, see `Fitted.members`.

    The loss is recorded every `log_every` steps and `progress(step, steps)` called. A member whose loss is
    NaN or infinite is stopped, the others go on; see `Fitted.divergences`. With `checkpoint` (a file), the
    state is written every `checkpoint_every` steps, at the end and on Ctrl-C; where the file exists the run
    goes on from it, to the same numbers (bit for bit on the CPU) as if it had never stopped.

    Where memory runs out, the networks take their rows in halves, quarters, ..., with a warning: the same batch and
    loss, hence the same numbers up to rounding (not with batch normalisation, several processes or `compile`).

    With `fabric` (Lightning's, launched: see `parallel.launch`) the networks' work is divided among its processes, on
    its devices and in its precision; every process returns the same members, the first one writes the checkpoint.

    With `compile` the loss goes through `torch.compile(mode="reduce-overhead")`: forward and backward become one
    program, on a GPU recorded as CUDA graphs. That takes some ten seconds and rounds otherwise; where it fails, for
    want of a compiler say, a warning says so and the loss runs as it is.

    >>> fitted = fit(SimCLR(latent_dim=10), world, steps=2000, seeds=range(10))
    >>> fitted.transform(x).shape  # x: (n, 16)
    torch.Size([10, n, 10])
    """
    members = Members.of(learner, seeds)
    samplers = _samplers(data, members)
    _require(steps=(steps, 0), batch_size=(batch_size, 1), log_every=(log_every, 1))
    _require(views=(views, members.learners[0].minimum_views), checkpoint_every=(checkpoint_every, 1))
    ranks, place = _ranks(fabric, batch_size), _device(device, fabric)
    if compile and fabric is not None:
        raise ValueError("expected compile or a Fabric, found both; leave one out")
    run = Training(members, samplers, batch_size, views, place, dtype, log_every, ranks, compile)
    path = None if checkpoint is None else Path(checkpoint)
    resumes = path is not None and path.exists()
    ranks.require_agreement(run=(run.configuration, steps), checkpoint=resumes)  # all look before the first one writes
    if path is not None and resumes:
        run.load(path)
        if run.step > steps:
            raise ValueError(
                f"expected at least {run.step} steps, as {path} has, found {steps}; ask for more or delete it"
            )
    elif path is not None:
        run.save(path)  # at once, so that a place that cannot be written costs no training
    run.advance_to(steps, progress, path, checkpoint_every)
    return run.fitted()


class Training:
    """The whole state of a run: networks, optimiser, streams, losses since the last row, history, step."""

    def __init__(
        self,
        members: Members,
        samplers: Sequence[Sampler],
        batch_size: int,
        views: int,
        device: torch.device,
        dtype: torch.dtype,
        log_every: int,
        ranks: Ranks = ALONE,
        compile: bool = False,
    ) -> None:
        self.members, self.device, self.log_every, self.ranks = members, device, log_every, ranks
        learner, seeds = members.stacked(device, dtype), members.seeds
        self.learner = learner
        self.streams = Streams(
            _placed(samplers, device),
            seeds,
            batch_size=batch_size,
            views=views,
            noise_shape=learner.noise_shape(views),
            target=learner.target,
            device=device,
            dtype=dtype,
        )
        self.modules = build(learner, self.streams.shape, seeds).to(device=device, dtype=dtype)
        kept = [module for module in self.modules.modules() if isinstance(module, Buffer)]
        self.loss: Loss = Compiled(self._loss, kept) if compile else self._loss
        self.pieces = Pieces(self.modules, able=ranks.size == 1 and not compile)
        self.parameters = [p for p in self.modules.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(self.parameters, lr=learner.learning_rate, fused=True)
        self.step = 0
        self.trace = torch.zeros(log_every, len(seeds), dtype=dtype, device=device)
        self.history: list[tuple[int, np.ndarray]] = []
        self.failed_at = np.zeros(len(seeds), dtype=np.int64)  # 0: never
        self.last_finite = np.full(len(seeds), np.nan)
        self.configuration = {
            "learner": [storage.describe(one) for one in members.learners],
            "seeds": list(members.each),
            "shape": list(self.streams.shape),
            "batch_size": batch_size,
            "views": views,
            "dtype": ranks.precision(dtype) + (", compiled" if compile else ""),
            "log_every": log_every,
            "data": self.streams.fingerprint,
        }

    def advance_to(self, steps: int, progress: Progress | None, path: Path | None, every: int) -> None:
        """Train until `steps` steps are done or every member has diverged; keep the checkpoint on the way."""
        self.modules.train()
        with deferred_interrupt() as interrupted, self.ranks.sharing(self.modules), self.pieces.watching():
            while self.learner.trains and self.step < steps and not self.failed_at.all():
                self.advance()
                last = self.step == steps or bool(self.failed_at.all())
                due = last or self.step % self.log_every == 0
                if progress is not None and due and self.ranks.rank == 0:
                    progress(self.step, steps)
                # Several processes stop at the same step, and ask each other only when a row is due.
                stop = self.ranks.any(interrupted()) if due or self.ranks.size == 1 else False
                if path is not None and (last or stop or self.step % every == 0):
                    self.save(path)
                if stop:
                    raise KeyboardInterrupt

    def advance(self) -> None:
        """One step of every member; waits for the device only when a row of the history is due."""
        batch, row = self.streams.batch(self.step), self.step % self.log_every
        self.pieces.attempt(partial(self._differentiate, batch, row))
        self._update()
        if row == self.log_every - 1:
            self._find_diverged(row)
            self.history.append((self.step + 1, self._interval(self.log_every)))
        self.step += 1

    def _differentiate(self, batch: Batch, row: int) -> None:
        """The losses, into the trace, and their gradients."""
        label = {} if batch.label is None else {"label": batch.label}
        drawn = torch.get_rng_state() if self.step == 0 else None
        losses = self.loss(batch.x, batch.noise, **label)
        if drawn is not None:
            self._require_own_numbers(drawn)
        self._require_losses(losses)
        self.trace[row] = losses.detach()
        if self.device.type == "cpu" and not torch.isfinite(self.trace[row]).all():
            self._find_diverged(row)  # before the update, so that the member keeps its last parameters
        if self.failed_at.any():
            losses = torch.where(torch.as_tensor(self.failed_at == 0, device=self.device), losses, 0.0)
        self._backward(losses.sum())

    def _require_losses(self, losses: Any) -> None:
        """ValueError where the loss is not one number a member that gradients can be taken of."""
        if isinstance(losses, Tensor) and losses.shape == self.trace.shape[1:] and losses.requires_grad:
            return
        if not isinstance(losses, Tensor):
            found = f"a {type(losses).__name__}"
        elif losses.shape != self.trace.shape[1:]:
            found = str(tuple(losses.shape))
        else:
            found = "losses that depend on no parameter"
        method = type(self.learner).__name__
        raise ValueError(f"expected a loss a member, ({len(self.members.seeds)},), found {found}; mend {method}.loss")

    def _require_own_numbers(self, before: Tensor) -> None:
        """ValueError where the loss has drawn from torch's own generator, so that a member would depend on what else
        is computed in its process; on the CPU alone, since of another device that is not asked.
        """
        if not torch.equal(before, torch.get_rng_state()):
            method = type(self.learner).__name__
            raise ValueError(
                f"expected {method}.loss to take its random numbers from `noise`, found that it draws from torch's "
                "generator, which is no member's own; say by `noise_shape` how many a data point needs"
            )

    def _loss(self, x: Tensor, noise: Tensor | None, **label: Tensor) -> Any:
        return self.learner.loss(self.modules, x, noise, **label)

    def _update(self) -> None:
        if self.failed_at.any():
            self._freeze(torch.as_tensor(self.failed_at > 0, device=self.device))
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.learner.after_step(self.modules)

    def _backward(self, loss: Tensor) -> None:
        (loss if self.ranks.size == 1 else loss / self.ranks.size).backward()
        self.ranks.sum_gradients(self.parameters)

    @torch.no_grad()
    def _freeze(self, members: Tensor) -> None:
        """Leave the optimiser nothing to move these members with: neither gradient nor momentum."""
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad[members] = 0.0
            if "exp_avg" in self.optimiser.state[parameter]:
                self.optimiser.state[parameter]["exp_avg"][members] = 0.0

    def _find_diverged(self, row: int) -> None:
        """Read the losses since the last row of the history; note each member's first bad one."""
        losses, before = self.trace[: row + 1].double().cpu().numpy(), self.step - row
        for member in np.flatnonzero(self.failed_at == 0):
            bad = np.flatnonzero(~np.isfinite(losses[:, member]))
            finite = losses[: bad[0], member] if len(bad) else losses[:, member]
            if len(finite):
                self.last_finite[member] = finite[-1]
            if len(bad):
                self.failed_at[member] = before + bad[0] + 1

    def _interval(self, rows: int) -> np.ndarray:
        """Mean loss of each member over the present interval; NaN once it has diverged."""
        mean = self.trace[:rows].double().mean(0).cpu().numpy()
        return np.where(self.failed_at == 0, mean, np.nan)

    # The state, out and in.

    def save(self, path: Path) -> None:
        """Write everything that the steps to come depend on; of several processes the first one does."""
        if self.ranks.rank > 0:
            return
        tensors = {f"modules.{name}": t for name, t in self.modules.state_dict().items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
        tensors |= {f"generators.{name}": t for name, t in self.streams.state(self.step).items()}
        rows = np.array([row for _, row in self.history]).reshape(-1, len(self.members.seeds))
        tensors |= {
            "trace": self.trace,
            "history.step": torch.tensor([step for step, _ in self.history], dtype=torch.int64),
            "history.loss": torch.from_numpy(rows),
            "failed_at": torch.from_numpy(self.failed_at),
            "last_finite": torch.from_numpy(self.last_finite),
        }
        storage.write(path, tensors, {"configuration": self.configuration, "step": self.step})

    def load(self, path: Path) -> None:
        """Take up the run that `save` wrote; refuses one of another configuration."""
        tensors, said = storage.read(path)
        found = said.get("configuration", {})
        for name, expected in self.configuration.items():
            if found.get(name) != expected:
                raise ValueError(
                    f"expected a checkpoint with {name} {expected}, found {found.get(name)} in {path}; "
                    "delete it or name another file"
                )
        self.modules.load_state_dict(_under(tensors, "modules"))
        self._load_optimiser(_under(tensors, "optimiser"))
        self.streams.restore(_under(tensors, "generators"))
        self.trace.copy_(tensors["trace"])
        losses = tensors["history.loss"].numpy()
        self.history = list(zip(tensors["history.step"].tolist(), losses, strict=True))
        self.failed_at = tensors["failed_at"].numpy().copy()
        self.last_finite = tensors["last_finite"].numpy().copy()
        self.step = said["step"]

    def _load_optimiser(self, tensors: dict[str, Tensor]) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})

    def fitted(self) -> Fitted:
        """The members as they are now; steps since the last row make one more row of the history."""
        rows, history = self.step % self.log_every, list(self.history)
        if rows:
            self.step -= 1
            self._find_diverged(rows - 1)
            self.step += 1
            history.append((self.step, self._interval(rows)))
        return Fitted(
            learner=self.learner,
            members=self.members,
            modules=self.modules.eval(),
            shape=self.streams.shape,
            steps=self.step,
            history=self._history_table(history),
            divergences=self._divergence_table(),
            diverged=self.failed_at > 0,
        )

    def _history_table(self, history: list[tuple[int, np.ndarray]]) -> pd.DataFrame:
        who, rows = self.members.table(), len(history)
        table = who.iloc[np.tile(np.arange(len(who)), rows)].reset_index(drop=True)
        steps = np.array([step for step, _ in history], dtype=np.int64)
        table.insert(0, "step", np.repeat(steps, len(who)))
        table["loss"] = np.concatenate([row for _, row in history]) if rows else np.zeros(0)
        return table

    def _divergence_table(self) -> pd.DataFrame:
        failed = self.failed_at > 0
        table = self.members.table()[failed].reset_index(drop=True)
        table.insert(0, "method", type(self.learner).__name__)
        return table.assign(step=self.failed_at[failed], last_finite_loss=self.last_finite[failed])


@contextlib.contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Hold Ctrl-C back until the step at hand is done, so that a whole step is saved; a second one is not."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    seen: list[int] = []
    previous = signal.getsignal(signal.SIGINT)

    def note(signum: int, frame: FrameType | None) -> None:
        seen.append(signum)
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(seen)
    finally:
        signal.signal(signal.SIGINT, previous)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


def _placed(samplers: Sequence[Sampler], device: torch.device) -> list[Sampler]:
    """The samplers on the training device where they can be moved, so that nothing crosses from the host; one that
    several members share is moved once, since it may hold a whole data set."""
    each = {id(sampler): sampler for sampler in samplers}
    if device.type != "cpu":
        each = {key: sampler.to(device) if hasattr(sampler, "to") else sampler for key, sampler in each.items()}
    return [each[id(sampler)] for sampler in samplers]


def _samplers(data: Sampler | Sequence[Sampler], members: Members) -> Sequence[Sampler]:
    total, each = len(members.seeds), len(members.each)
    if not isinstance(data, Sequence):
        return [data] * total
    if len(data) not in (total, each):
        raise ValueError(f"expected one sampler a seed, {each}, found {len(data)}; pass as many, or a single one")
    return list(data) * (total // len(data))


def _ranks(fabric: Fabric | None, batch_size: int) -> Ranks:
    ranks = Ranks(fabric)
    if batch_size % ranks.size:
        found = f"found {batch_size}; choose a multiple"
        raise ValueError(f"expected a batch_size that divides among {ranks.size} processes, {found}")
    return ranks


def _device(wanted: str | torch.device, fabric: Fabric | None) -> torch.device:
    if fabric is None:
        return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted)
    if wanted != "auto" and torch.device(wanted).type != fabric.device.type:
        raise ValueError(f"expected device='auto' or the Fabric's, {fabric.device}, found {wanted}; leave it out")
    return fabric.device


def _require(**bounds: tuple[int, int]) -> None:
    for name, (value, least) in bounds.items():
        if not isinstance(value, int | np.integer):
            raise ValueError(f"expected a whole number of {name}, found {value!r}; round it")
        if value < least:
            raise ValueError(f"expected {name} of at least {least}, found {value}; pass {name}={least} or more")
