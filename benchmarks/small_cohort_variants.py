"""What else was tried for small cohorts: variants of the small network, trained and judged alike.

    python benchmarks/small_cohort_variants.py --mechanisms dose_height event_core

Each variant changes one thing of the recipe `small_cohort` (its network alone, all three volumes): EMA of the
weights; scalars of the dose and of intensities as further targets (auxiliary) or as what scales the features
(FiLM); the whole head beside the crop; first weights from reconstructing hidden blocks of all volumes of the
pool, whose labels are not used. Trained on draws of n subjects in five folds, judged on phantoms that nobody
trained on. A variant would be kept if it gained on every mechanism. Prints a table and a figure a variant.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from figure import report
from phantom_inputs import make_inputs
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from small_cohorts import FOLDS, JUDGED_SEED, POOL_SEED, RECIPE

from ricenet.config.params import Params, read_params
from ricenet.phantom.mechanism import MECHANISMS
from ricenet.phantom.phantom_subject import Cause, draw_cause
from ricenet.preprocessing.network_input import read_volumes
from ricenet.runtime.execution import run_tasks
from ricenet.runtime.randomness import generator_for, seed_for
from ricenet.training.augmentation import augment, draw_augmentation, varied_mris
from ricenet.training.input_features import input_features
from ricenet.training.networks import SmallCnn
from ricenet.training.sampler import draw_epoch, in_batches
from ricenet.vocabulary import PAPER_VOLUMES

VARIANTS = ("recipe", "ema", "auxiliary", "film", "head beside", "pretrained")
EMA, AUXILIARY = 0.98, 0.3
HIDDEN, BLOCK_VOXELS = 0.5, 4
OF_SET = "post_op+event+dose"


@dataclass(frozen=True)
class Seen:
    """Subjects: crops and heads (N, 3, X, Y, Z), scalars (N, S), classes (N,)."""

    crop: torch.Tensor
    head: torch.Tensor
    scalars: torch.Tensor
    classes: torch.Tensor

    @classmethod
    def read(cls, folder: Path, causes: Sequence[Cause], params: Params) -> Seen:
        """Of what was prepared."""
        names, grids = PAPER_VOLUMES.names, params.preprocessing.grids

        def volumes(grid: str) -> torch.Tensor:
            read = [read_volumes(folder / c.subject, c.subject, names, grids[grid]) for c in causes]  # type: ignore[index]
            return torch.from_numpy(np.stack(read).astype(np.float32))

        crop = volumes("crop")
        groups = [g.values for g in input_features(crop.numpy(), names) if g.name.endswith("intensities")]
        scalars = torch.from_numpy(np.concatenate(groups, axis=1).astype(np.float32))
        classes = torch.tensor([int(c.label == "rice") for c in causes])
        return cls(crop, volumes("head"), scalars, classes)

    def at(self, places: Sequence[int]) -> Seen:
        """Some of them."""
        return Seen(*(values[places] for values in vars(self).values()))

    def standardised_by(self, others: Seen) -> Seen:
        """With the scalars of others at mean 0 and SD 1."""
        mean, sd = others.scalars.mean(0), others.scalars.std(0).clamp_min(1e-6)
        return Seen(self.crop, self.head, (self.scalars - mean) / sd, self.classes)


class Variant(torch.nn.Module):
    """The small network with what a variant adds. Answers (N, 2 + further targets)."""

    def __init__(self, kind: str, widths: Sequence[int], scalars: int) -> None:
        super().__init__()
        self.kind = kind
        self.crop = SmallCnn(3, list(widths), 0).features
        self.head = SmallCnn(3, list(widths), 0).features if kind == "head beside" else None
        self.film = torch.nn.Linear(scalars, 2 * widths[-1]) if kind == "film" else None
        features = widths[-1] * (2 if self.head else 1)
        self.answer = torch.nn.Linear(features, 2 + (scalars if kind == "auxiliary" else 0))

    def forward(self, seen: Seen) -> torch.Tensor:
        """Logits, then predicted scalars."""
        features = self.crop(seen.crop).mean(dim=(2, 3, 4))
        if self.head is not None:
            features = torch.cat([features, self.head(seen.head).mean(dim=(2, 3, 4))], dim=1)
        if self.film is not None:
            scale, shift = self.film(seen.scalars).chunk(2, dim=1)
            features = features * (1 + scale) + shift
        answers: torch.Tensor = self.answer(features)
        return answers


@dataclass(frozen=True)
class Training:
    """One fold of one variant on one draw."""

    kind: str
    mechanism: str
    draw: int
    fold: int
    n: int
    judged: int
    work: Path


def causes_of(mechanism: str, seed: int, count: int) -> list[Cause]:
    """The first of a cohort."""
    return [draw_cause(f"sub-{k:03d}", seed, MECHANISMS[mechanism]) for k in range(1, count + 1)]


def answers(params: Params, pool: int, task: Training) -> np.ndarray:
    """Logits (judged,) of one training."""
    torch.set_num_threads(1)
    work = task.work / task.mechanism
    everyone = Seen.read(work / f"pool-{POOL_SEED}", causes_of(task.mechanism, POOL_SEED, pool), params)
    order = generator_for("small cohorts", pool).permutation(pool)[task.draw * task.n :][: task.n]
    labels = everyone.classes[order].numpy()
    divider = StratifiedKFold(FOLDS, shuffle=True, random_state=task.draw)
    inside = list(divider.split(order, labels))[task.fold][0]
    training = everyone.at(order[inside].tolist())
    judged_causes = causes_of(task.mechanism, JUDGED_SEED, task.judged)
    judged = Seen.read(work / f"judged-{JUDGED_SEED}", judged_causes, params).standardised_by(training)
    torch.manual_seed(seed_for("variant", task.draw, task.fold))
    network = Variant(task.kind, params.by_recipe[RECIPE].network.widths, judged.scalars.shape[1])  # type: ignore[union-attr]
    if task.kind == "pretrained":
        pretrain(network.crop, everyone.crop, task)
    trained = train(network, training.standardised_by(training), params, task).eval()
    with torch.inference_mode():
        logits = trained(judged)[:, :2]
    return (logits[:, 1] - logits[:, 0]).double().numpy()


def train(network: Variant, training: Seen, params: Params, task: Training) -> Variant:
    """400 steps of AdamW with cosine decay, as the recipe has it."""
    recipe = params.by_recipe[RECIPE]
    settings = recipe.training
    grids = params.preprocessing.grids
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    averaged = copy.deepcopy(network)
    labels = ["rice" if c else "recurrence" for c in training.classes.tolist()]
    epochs = settings.epochs_for(len(labels))
    draws = partial(generator_for, "variant", task.draw, task.fold)
    for epoch in range(epochs):
        places = in_batches(draw_epoch(labels, draws("order", epoch)), settings.batch_size)  # type: ignore[arg-type]
        for step, batch in enumerate(places):
            progress = (epoch + step / len(places)) / epochs
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * (1 + math.cos(math.pi * progress)) / 2
            seen = training.at(batch.tolist())
            drawn = [
                draw_augmentation(recipe.augmentation, 2, draws("augmentation", epoch, step, place))
                for place in range(len(batch))
            ]
            varied = varied_mris(PAPER_VOLUMES, OF_SET)
            crop = augment(seen.crop.clone(), varied, drawn, grids["crop"].spacing_mm)
            head = seen.head
            if network.head is not None:
                head = augment(head.clone(), varied, drawn, grids["head"].spacing_mm)
            found = network.train()(Seen(crop, head, seen.scalars, seen.classes))
            loss = torch.nn.functional.cross_entropy(found[:, :2], seen.classes)
            if network.kind == "auxiliary":
                loss = loss + AUXILIARY * torch.nn.functional.mse_loss(found[:, 2:], seen.scalars)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            follow(averaged, network)
    return averaged if network.kind == "ema" else network


@torch.no_grad()
def follow(averaged: torch.nn.Module, network: torch.nn.Module) -> None:
    """Move the averaged weights towards the network's; running statistics are copied."""
    for mean, now in zip(averaged.parameters(), network.parameters(), strict=True):
        mean.lerp_(now, 1 - EMA)
    for mean, now in zip(averaged.buffers(), network.buffers(), strict=True):
        mean.copy_(now)


def pretrain(features: torch.nn.Module, volumes: torch.Tensor, task: Training) -> None:
    """400 steps of reconstructing what hidden blocks hold, from unlabelled crops."""
    width = next(p for p in reversed(list(features.parameters())) if p.ndim == 5).shape[0]
    decoder = torch.nn.Sequential(
        torch.nn.ConvTranspose3d(width, 16, 2, 2), torch.nn.ReLU(), torch.nn.ConvTranspose3d(16, 3, 2, 2)
    )
    parameters = [*features.parameters(), *decoder.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.05)
    for step in range(400):
        draws = generator_for("pretraining", task.draw, task.fold, step)
        batch = volumes[draws.choice(len(volumes), 16, replace=False)]
        size = [s // BLOCK_VOXELS for s in batch.shape[2:]]
        hidden = torch.from_numpy((draws.random((16, 1, *size)) < HIDDEN).astype(np.float32))
        mask = torch.nn.functional.interpolate(hidden, scale_factor=BLOCK_VOXELS)
        restored = decoder(features(batch * (1 - mask)))
        loss = ((restored - batch) ** 2 * mask).sum() / (3 * mask.sum())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def main() -> None:
    """Train every variant, print the table, then the gains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("work/small_cohorts"))
    parser.add_argument(
        "--mechanisms", nargs="+", choices=list(MECHANISMS), default=["dose_height", "event_core"]
    )
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--subjects", type=int, default=40)
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--judged", type=int, default=200)
    arguments = parser.parse_args()
    params, pool = read_params(), arguments.subjects * 3
    gains: dict[str, list[float]] = {}
    for mechanism in arguments.mechanisms:
        for name, seed, count in (("pool", POOL_SEED, pool), ("judged", JUDGED_SEED, arguments.judged)):
            folder = arguments.work / mechanism / f"{name}-{seed}"
            make_inputs(folder, params, causes_of(mechanism, seed, count), seed)
        is_rice = np.array([c.label == "rice" for c in causes_of(mechanism, JUDGED_SEED, arguments.judged)])
        places = [(draw, fold) for draw in range(arguments.draws) for fold in range(FOLDS)]
        for kind in arguments.variants:
            tasks = [
                Training(kind, mechanism, draw, fold, arguments.subjects, arguments.judged, arguments.work)
                for draw, fold in places
            ]
            outcomes = run_tasks(
                partial(answers, params, pool), tasks, "processes", params.execution.workers, 1, kind
            )
            if failed := [o.error for o in outcomes if o.error]:
                raise SystemExit("\n".join(failed))
            logits = np.array([o.result for o in outcomes]).reshape(arguments.draws, FOLDS, -1).mean(axis=1)
            aucs = [roc_auc_score(is_rice, z) for z in logits]
            macro_f1 = np.mean([f1_score(is_rice, z >= 0, average="macro") for z in logits])
            gains.setdefault(kind, []).append(float(np.mean(aucs)))
            print(f"{mechanism}, {kind:<12} macro-F1 {macro_f1:.3f}, AUC {np.mean(aucs):.3f}", flush=True)
    for kind, of_mechanisms in gains.items():
        if kind != "recipe" and "recipe" in gains:
            differences = np.subtract(of_mechanisms, gains["recipe"])
            report(
                f"small_cohort_variants/{kind}/auc_gained",
                float(differences.mean()),
                "none",
                f"least over {len(differences)} mechanisms {differences.min():.3f}; same subjects and folds",
                True,
            )


if __name__ == "__main__":
    main()
