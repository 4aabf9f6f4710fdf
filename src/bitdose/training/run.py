"""One training run from data to model card, in a folder that can be resumed."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import tomli_w

from bitdose.data.base import Case
from bitdose.data.read import read_case
from bitdose.errors import BitdoseError, CaseError, UsageError, argument
from bitdose.hashing import file_digest
from bitdose.image import Image
from bitdose.lock import lock_folder
from bitdose.models.torch import weights_sidecar
from bitdose.models.weights import load_start
from bitdose.training import checkpoint
from bitdose.training.batches import FAILED_FILE, Failures, Loader
from bitdose.training.card import CardFacts, write_card
from bitdose.training.device import Device
from bitdose.training.export import write_model
from bitdose.training.loop import Tick, Trainer, Watch
from bitdose.training.loss import class_weights
from bitdose.training.networks import Network, build_network
from bitdose.training.recipe import Choices, Recipe
from bitdose.training.samples import SampleReader
from bitdose.training.split import Splits, make_splits
from bitdose.training.teacher import Teacher

PLAN = "train.toml"
CACHE_MB = 2048

_COMPARED = 8


@dataclass(frozen=True)
class Options:
    """Environment of a training run, besides its recipe.

    Not compared on resume; another device or number of threads changes the last bits.

    Parameters
    ----------
    out : pathlib.Path
        The run folder.
    device : {"auto", "cpu", "cuda"}
        Where to train.
    threads : int or None
        Threads of the CPU; None takes all cores.
    loaders : int
        Number of reader threads.
    cache_mb : int
        Cache size for samples, in bytes.
    max_failures : float
        Share of cases that may be unreadable.
    resume : bool
        Whether to resume an existing run.
    """

    out: Path
    device: str = "auto"
    threads: int | None = None
    loaders: int = 2
    cache_mb: int = CACHE_MB
    max_failures: float = 0.2
    resume: bool = False


@dataclass(frozen=True)
class TrainingJob:
    """Identity of a training run: written to ``train.toml`` and compared on resume.

    Parameters
    ----------
    choices : Choices
        Network, and deviations from its recipe.
    data : pathlib.Path
        Folder or table.
    split : str or None
        Split for training.
    classes : dict
        Data label to label; empty for none.
    weights : pathlib.Path or None
        Initial weights.
    """

    choices: Choices
    data: Path
    split: str | None = None
    classes: dict[str, str] = field(default_factory=dict)
    weights: Path | None = None

    def document(self, splits: Splits) -> dict[str, Any]:
        """Return the identity of the run as TOML values."""
        recipe = self.choices.recipe()
        files = {"weights": self.weights, "teacher": Path(recipe.teacher) if recipe.teacher else None}
        given = {name: path for name, path in files.items() if path and path.is_file()}
        start = {f"{name}_sha256": file_digest(path) for name, path in given.items()}
        data = {"path": str(self.data), "classes": self.classes, "cases_sha256": splits.digest()}
        data["file_sizes_sha256"] = splits.sizes_digest()
        if self.split is not None:
            data["split"] = self.split
        return {"recipe": recipe.to_dict(), "data": data, **start}


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Parameters
    ----------
    folder : pathlib.Path
        Holds ``model.onnx``, ``model.pt``, ``model.json`` and ``model.md``.
    epochs, best_epoch : int
        Number of epochs, and the one with the selected weights.
    validation_f1 : float
        Macro F1 on the validation split.
    difference : float
        Largest difference of a probability between ONNX file and PyTorch.
    test : dict
        Estimates on the test split as JSON values; empty without a test split.
    """

    folder: Path
    epochs: int
    best_epoch: int
    validation_f1: float
    difference: float
    test: dict[str, Any]


def train(job: TrainingJob, options: Options, *, announce: Watch, watch: Watch, tick: Tick) -> Trained:
    """Train or resume training, and write model, ONNX file and card.

    Parameters
    ----------
    job : TrainingJob
        What.
    options : Options
        Where.
    announce : callable
        Called once with the plan.
    watch, tick : callable
        Called with each epoch's record, and with the number of optimiser steps so far.

    Raises
    ------
    BitdoseError
        If training fails; the last checkpoint stays in the folder.
    UsageError
        If data, recipe, weights or folder are invalid.
    """
    recipe = job.choices.recipe()
    splits = make_splits(
        job.data, split=job.split, share=recipe.validation, seed=recipe.seed, classes=job.classes or None
    )
    loader = Loader(options.loaders, Failures(len(splits.fit) + len(splits.validation), options.max_failures))
    try:
        trainer = _trainer(job, options, splits, loader)
        with closing(_taken_folder(job, options, splits)):
            last = options.out / checkpoint.LAST
            if options.resume and last.is_file():  # killed before the first checkpoint: restart
                trainer.restore(checkpoint.load(last))
            announce(_planned(splits, trainer))
            trainer.run(watch, tick)
            return _finish(job, options.out, trainer, splits)
    except KeyboardInterrupt as error:
        begun = (options.out / PLAN).is_file()
        raise BitdoseError(
            f"interrupted: run again with {argument('resume', value=True)} to go on"
            if begun
            else "interrupted"
        ) from error
    finally:
        loader.close()
        _write_failures(options.out, loader.failures)


def _write_failures(folder: Path, failures: Failures) -> None:
    """List the unreadable cases in a file, to keep file names out of logs."""
    if failures.reasons and folder.is_dir():
        text = json.dumps(failures.reasons, indent=2, ensure_ascii=False)
        checkpoint.write_text_atomically(folder / FAILED_FILE, text)


def _network(recipe: Recipe, splits: Splits, weights: Path | None) -> Network:
    import torch

    torch.manual_seed(recipe.seed)
    network = build_network(recipe.network, splits.labels, size=recipe.size)
    if weights is not None:
        stated = weights_sidecar(weights).get("labels")
        if stated is not None and tuple(stated) != network.spec.labels:
            ours = list(network.spec.labels)
            raise UsageError(
                f"{argument('weights', weights.name)}: its sidecar has the labels {list(stated)}, "
                f"the run {ours}"
            )
        load_start(network.module, weights, network.trunk)
    return network


def _trainer(job: TrainingJob, options: Options, splits: Splits, loader: Loader) -> Trainer:
    """Build all parts of the training, so that a wrong call fails before a folder is created."""
    recipe = job.choices.recipe()
    device = Device(options.device, precision=recipe.precision, threads=options.threads)
    network = _network(recipe, splits, job.weights)
    counted = [case.label for case in splits.fit]
    return Trainer(
        network,
        recipe,
        device,
        fit=splits.fit,
        validation=splits.validation,
        weights=class_weights(recipe.class_weights, network.spec.labels, counted, network.paper_weights),
        reader=SampleReader(network.spec, recipe, cache_bytes=options.cache_mb * 2**20),
        loader=loader,
        folder=options.out,
        teacher=Teacher(recipe.teacher, network.spec) if recipe.teacher else None,
    )


def _taken_folder(job: TrainingJob, options: Options, splits: Splits) -> IO[str]:
    """Create and lock the run folder, or lock the existing one and check its identity."""
    path, document = options.out / PLAN, job.document(splits)
    if options.out.exists() and not options.out.is_dir():
        raise UsageError(f"{argument('out', options.out)}: expected a folder, got a file")
    if options.resume:
        _check_same(path, document, job.choices.network)
    elif path.exists():
        raise UsageError(
            f"{argument('out', options.out)}: holds a training run; "
            f"{argument('resume', value=True)} goes on, or choose another"
        )
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        lock = lock_folder(options.out, writer="another training")
    except OSError as error:
        raise BitdoseError(f"{argument('out', options.out)}: cannot be written: {error.strerror}") from error
    if not options.resume:
        checkpoint.write_text_atomically(path, tomli_w.dumps(document))
    return lock


def _check_same(path: Path, document: dict[str, Any], network: str) -> None:
    try:
        before = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(
            f"{argument('resume', value=True)}: {path.parent} holds no training run; leave "
            f"{argument('resume', value=True)} out"
        ) from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{argument('resume', value=True)}: {PLAN} is damaged: {error}") from error
    default = Recipe(network=network).to_dict()  # of fields that an older version did not know
    for part, key in ((before, "teacher_sha256"), (before.get("data", {}), "file_sizes_sha256")):
        part.setdefault(key, (document if part is before else document["data"]).get(key))
    changed = _differences(before | {"recipe": default | before.get("recipe", {})}, document)
    if changed:
        raise UsageError(
            f"{argument('resume', value=True)}: the run in {path.parent} is another one: {'; '.join(changed)}"
        )


def _differences(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key in sorted({*before, *now} - {"path"}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key} was {old!r} and is {new!r}")
    return found


def _planned(splits: Splits, trainer: Trainer) -> dict[str, Any]:
    return {
        "cases": len(splits.fit),
        "validation": len(splits.validation),
        "test": len(splits.test),
        "labels": list(trainer.network.spec.labels),
        "class_weights": [round(weight, 4) for weight in trainer.class_weights],
        "device": trainer.device.name,
        "precision": trainer.device.precision,
        "epochs": trainer.recipe.epochs,
        "steps": trainer.recipe.epochs * trainer.optimiser.steps_per_epoch,
        "resumed_after_epoch": trainer.progress.epoch,
    }


def _finish(job: TrainingJob, folder: Path, trainer: Trainer, splits: Splits) -> Trained:
    """Load the best weights, write the model, evaluate it once on the test split, write the card."""
    if not (folder / checkpoint.BEST).is_file():
        raise BitdoseError(f"{checkpoint.BEST} is missing in {folder}: there are no weights to write")
    module = trainer.chosen_module
    module.load_state_dict(checkpoint.load(folder / checkpoint.BEST))
    spec = trainer.network.spec
    images = _images(trainer.failures.without(splits.validation), trainer.recipe)
    difference = write_model(module, spec, folder, images=images)
    facts = CardFacts(
        choices=job.choices,
        spec=spec,
        splits=splits,
        failed=dict(trainer.failures.reasons),
        best_epoch=trainer.progress.best_epoch,
        epochs=trainer.progress.epoch,
        best_f1=trainer.progress.best_f1,
        difference=difference,
        start="" if job.weights is None else f"{job.weights.name}, SHA-256 {file_digest(job.weights)}",
        teacher=trainer.teacher.name if trainer.teacher else "",
        parameters=sum(weights.numel() for weights in module.parameters()),
    )
    test = write_card(facts, folder)
    progress = trainer.progress
    return Trained(folder, progress.epoch, progress.best_epoch, progress.best_f1, difference, test)


def _images(cases: Sequence[Case], recipe: Recipe) -> list[Image]:
    """Read a few validation cases for the check of the exported file."""
    images: list[Image] = []
    for case in cases[:: max(1, len(cases) // _COMPARED)][:_COMPARED]:
        try:
            images.append(read_case(case, color=recipe.color).image)
        except CaseError:
            continue
    return images


def dumps(trained: Trained) -> str:
    """Return a finished run as JSON."""
    document = vars(trained) | {"folder": str(trained.folder)}
    return json.dumps(document, indent=2)
