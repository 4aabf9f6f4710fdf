"""``bitdose train``: the paper's two networks, or your own, on a labelled image set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitdose.html_card import DISCLAIMER

if TYPE_CHECKING:
    from bitdose.training.run import Trained

Text = str | None
Whole = int | None
Number = float | None


def train(
    network: Annotated[str, typer.Argument(help="covid-next, brain-tumor, or module:factory.")],
    data: Annotated[Path, typer.Argument(help="Folder with a sub-folder per class, or a table.")],
    out: Annotated[Path | None, typer.Option(help="Run folder. [default: runs/train-DATA-NETWORK]")] = None,
    split: Annotated[Text, typer.Option(help="Split for training. [default: train, if there is one]")] = None,
    validation: Annotated[
        Number, typer.Option(help="Share of cases held out, by whole patients. [default: 0.15]")
    ] = None,
    classes: Annotated[Text, typer.Option(help="Data label to label: a=b,c=d; 'a=' drops one.")] = None,
    color: Annotated[
        Text, typer.Option(help="keep, or grey: convert colour to luma first. [default: keep]")
    ] = None,
    size: Annotated[Whole, typer.Option(help="Side of the network's input. [default: 256]")] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Initial state_dict: the network's, or torchvision's trunk.")
    ] = None,
    epochs: Annotated[Whole, typer.Option(help="[default: 40; brain-tumor 10]")] = None,
    batch: Annotated[Whole, typer.Option(help="Cases per forward pass. [default: 64; brain-tumor 1]")] = None,
    accumulate: Annotated[Whole, typer.Option(help="Forward passes per optimiser step. [default: 1]")] = None,
    optimizer: Annotated[Text, typer.Option(help="adam or adamw. [default: adam]")] = None,
    rate: Annotated[Number, typer.Option(help="Learning rate. [default: 1e-4; brain-tumor 1e-5]")] = None,
    weight_decay: Annotated[Number, typer.Option(help="[default: 0]")] = None,
    schedule: Annotated[Text, typer.Option(help="plateau, cosine or constant. [default: plateau]")] = None,
    plateau_factor: Annotated[Number, typer.Option(help="[default: 0.7]")] = None,
    plateau_patience: Annotated[Whole, typer.Option(help="Epochs. [default: 5]")] = None,
    warmup: Annotated[Number, typer.Option(help="Epochs of linear warm-up. [default: 0]")] = None,
    stop_after: Annotated[
        Whole, typer.Option(help="Stop after this many epochs without a better F1; 0 never. [default: 15]")
    ] = None,
    class_weights: Annotated[
        Text, typer.Option(help="paper, balanced, none, or label=weight,... [default: paper]")
    ] = None,
    flips: Annotated[Text, typer.Option(help="hv, h, v, or '': none. [default: hv; brain-tumor h]")] = None,
    jitter: Annotated[
        Number, typer.Option(help="Change of brightness and contrast. [default: 0.3; brain-tumor 0]")
    ] = None,
    affine: Annotated[bool | None, typer.Option("--affine", help="Rotate, shift, scale and shear.")] = None,
    ema: Annotated[
        Number, typer.Option(help="Decay of the moving average of the weights. [default: 0]")
    ] = None,
    recalibrate: Annotated[
        Whole, typer.Option(help="Re-estimate batch norm on this many pristine cases. [default: 0]")
    ] = None,
    clip: Annotated[Number, typer.Option(help="Largest norm of the gradient; 0: none. [default: 0]")] = None,
    precision: Annotated[Text, typer.Option(help="fp32, bf16 or fp16. [default: fp32]")] = None,
    codec_augment: Annotated[
        list[str] | None, typer.Option(help="Points for coding training images, drawn each epoch.")
    ] = None,
    codec_share: Annotated[Number, typer.Option(help="Share of coded images. [default: 0.5]")] = None,
    teacher: Annotated[Text, typer.Option(help="Teacher for distillation.")] = None,
    distill: Annotated[
        Number, typer.Option(help="Weight of the teacher's predictions. [default: 0.7]")
    ] = None,
    temperature: Annotated[Number, typer.Option(help="Temperature of the distillation. [default: 2]")] = None,
    seed: Annotated[Whole, typer.Option(help="Random seed. [default: 0]")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[Whole, typer.Option(min=1, help="Threads of the CPU. [default: one per core]")] = None,
    loaders: Annotated[int, typer.Option(min=1, help="Number of reader threads.")] = 2,
    cache_mb: Annotated[int, typer.Option(min=0, help="Cache of cases, in MB.")] = 2048,
    max_failures: Annotated[
        float, typer.Option(min=0, max=1, help="Share of cases that may be unreadable.")
    ] = 0.2,
    resume: Annotated[bool, typer.Option("--resume", help="Resume a stopped or killed run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train a classifier: weights, an equivalent ONNX file, and a model card.

    The defaults are the paper's recipe; the card lists each deviation.

    Example: bitdose train covid-next xrays/cases.csv --color grey --out covid-run
    """
    given = {
        "epochs": epochs, "batch": batch, "accumulate": accumulate, "optimizer": optimizer, "rate": rate,
        "weight_decay": weight_decay, "schedule": schedule, "plateau_factor": plateau_factor,
        "plateau_patience": plateau_patience, "warmup": warmup, "stop_after": stop_after,
        "class_weights": class_weights, "flips": flips, "jitter": jitter, "affine": affine, "ema": ema,
        "recalibrate": recalibrate,
        "clip": clip, "precision": precision, "size": size, "color": color, "validation": validation,
        "codec_augment": tuple(codec_augment) if codec_augment else None, "codec_share": codec_share,
        "teacher": teacher, "distill": distill, "temperature": temperature, "seed": seed,
    }  # fmt: skip
    _need_torch()
    from bitdose.cli.progress import training_progress
    from bitdose.cli.study import class_mapping
    from bitdose.training.recipe import Choices
    from bitdose.training.run import Options, TrainingJob, dumps
    from bitdose.training.run import train as run_training

    choices = Choices(network, {key: value for key, value in given.items() if value is not None})
    job = TrainingJob(choices, data, split, class_mapping(classes) or {}, weights)
    options = Options(
        out=out or _default_folder(data, network), device=device, threads=threads, loaders=loaders,
        cache_mb=cache_mb, max_failures=max_failures, resume=resume,
    )  # fmt: skip
    with training_progress() as bar:
        trained = run_training(job, options, announce=bar.announce, watch=bar.watch, tick=bar.tick)
    typer.echo(dumps(trained) if as_json else _said(trained))


def _default_folder(data: Path, network: str) -> Path:
    path = data.resolve()
    name = path.name if path.is_dir() else path.parent.name
    return Path("runs") / f"train-{name}-{network.rpartition(':')[2]}"


def _need_torch() -> None:
    from bitdose.models.torch import import_torch

    import_torch()


def _said(trained: Trained) -> str:
    kept = f"best epoch {trained.best_epoch}: validation macro F1 {trained.validation_f1:.3f}"
    lines = [f"{trained.epochs} epochs; {kept}"]
    if trained.test:
        accuracy, f1 = (trained.test[name] for name in ("accuracy", "macro_f1"))
        lines.append(f"test: accuracy {_interval(accuracy)}, macro F1 {_interval(f1)}")
    equals = f"equals PyTorch within {trained.difference:.1e}"
    lines += [
        f"model: {trained.folder / 'model.onnx'} ({equals}); card: {trained.folder / 'model.md'}",
        DISCLAIMER,
    ]
    return "\n".join(lines)


def _interval(estimate: dict[str, Any]) -> str:
    if estimate["low"] is None:
        return "undefined" if estimate["value"] is None else f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"
