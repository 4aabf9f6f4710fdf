"""Which runtime, precision and batch size a network is fastest with on this machine.

    python benchmarks/runtime.py --model net.onnx [--model other.onnx ...] [--batches 1,4,8,32] [--seconds 5]

Per network, a Markdown table with a row for each runtime, precision and batch size: processor and wall
milliseconds per input with one thread (medians; all rows of a network take turns), and the largest
difference of any probability from onnxruntime's in fp32 (for a quantised file that names its network in
fp32, from that one's; its precision is the file's own). Inputs are random; --data FOLDER takes its
images instead, which shows differences as a study would have them. A torch network goes by
module:factory or by name with --weights. --options adds onnxruntime's session options.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bitdose.errors import BitdoseError
from bitdose.models.base import CallableClassifier
from bitdose.models.load import ModelRef
from bitdose.models.runtime import sample_inputs

Make = Callable[[], CallableClassifier]

# What can be set of an onnxruntime session, each by itself.
OPTIONS: dict[str, dict[str, Any]] = {
    "graph: extended only": {"graph_optimization_level": "ORT_ENABLE_EXTENDED"},
    "no arena": {"enable_cpu_mem_arena": False},
    "no memory pattern": {"enable_mem_pattern": False},
    "no memory reuse": {"enable_mem_reuse": False},
    "no spinning": {"session.intra_op.allow_spinning": "0"},
    "denormals are zero": {"session.set_denormal_as_zero": "1"},
}


def variants(model: str, weights: str, flags: dict[str, Any]) -> Iterator[tuple[str, str, Make]]:
    """Yield runtime, precision and what loads them."""
    if Path(model).suffix == ".onnx" or model == "phantom":
        for runtime, precision in (("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "bf16")):
            ref = ModelRef(model, flags=flags, runtime=runtime, precision=precision)
            yield runtime, precision, ref.load
        return
    for precision in ("fp32", "bf16"):
        yield "torch", precision, ModelRef(model, weights, flags, precision=precision).load


def with_options(path: Path, flags: dict[str, Any], options: dict[str, Any]) -> CallableClassifier:
    """Load a model into an onnxruntime session of other options."""
    import onnxruntime as ort

    from bitdose.models.onnx import in_onnxruntime, read_graph

    graph = read_graph(path, flags=flags)
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    for name, value in options.items():
        if "." in name:
            settings.add_session_config_entry(name, value)
        elif name == "graph_optimization_level":
            setattr(settings, name, getattr(ort.GraphOptimizationLevel, value))
        else:
            setattr(settings, name, value)
    session = ort.InferenceSession(str(path), settings, providers=graph.session.get_providers())
    return in_onnxruntime(type(graph)(path, graph.identity, session, graph.spec, graph.dtype))


def load(model: str, weights: str, flags: dict[str, Any], *, options: bool) -> dict[str, CallableClassifier]:
    """Load every variant that is to be had here; say which is not."""
    makes: dict[str, Make] = {
        f"{runtime} | {precision}": make for runtime, precision, make in variants(model, weights, flags)
    }
    if options and Path(model).suffix == ".onnx":
        for name, settings in OPTIONS.items():
            makes[f"onnxruntime, {name} | fp32"] = partial(with_options, Path(model), flags, settings)
    found = {}
    for name, make in makes.items():
        try:
            one = make()
            found[name.replace("fp32", "the file's") if one.in_fp32 and name.endswith("fp32") else name] = one
        except BitdoseError as error:
            print(f"left out: {name.replace(' | ', ' ')}: {error}")
    return found


def images(folder: Path, classifier: CallableClassifier, n: int) -> np.ndarray:
    """Bring a folder's first images to the classifier's input."""
    from bitdose.data.load import load_cases
    from bitdose.data.read import read_source
    from bitdose.models.prepare import prepare_many

    cases = load_cases(folder, limit=n).cases
    sources = [read_source(case.path, color="keep").image for case in cases]
    arrays = list(prepare_many(sources, classifier.spec))
    return np.stack([arrays[index % len(arrays)] for index in range(n)])


def measure(loaded: dict[str, CallableClassifier], inputs: np.ndarray, seconds: float) -> list[str]:
    """Return a table row per classifier, for one batch size."""
    first = next(iter(loaded.values()))
    reference = (first.in_fp32 or first).predict(inputs)
    gaps = {name: np.abs(one.predict(inputs) - reference).max() for name, one in loaded.items()}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in loaded}
    end = time.perf_counter() + seconds * len(loaded)
    while not times[next(iter(loaded))] or time.perf_counter() < end:
        for name, one in loaded.items():
            cpu, wall = time.process_time(), time.perf_counter()
            one.predict(inputs)
            times[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    n = len(inputs)
    rows = []
    for name, pairs in times.items():
        cpu, wall = (1e3 * median(column) / n for column in zip(*pairs, strict=True))
        gap = "0" if gaps[name] == 0 else f"{gaps[name]:.1e}"
        rows.append(f"| {name} | {n} | {cpu:.2f} | {wall:.2f} | {gap} |")
    return rows


def main() -> None:
    """Print a table per network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--weights", default="")
    parser.add_argument("--labels", default="", help="for a model that does not state them")
    parser.add_argument("--output", default="", help="likewise: logits")
    parser.add_argument("--batches", default="1,4,8,32")
    parser.add_argument("--seconds", type=float, default=5.0, help="per row")
    parser.add_argument("--data", type=Path, help="folder or table of images")
    parser.add_argument("--options", action="store_true", help="onnxruntime's session options too")
    given = parser.parse_args()
    flags: dict[str, Any] = {"labels": given.labels.split(",")} if given.labels else {}
    flags |= {"output": given.output} if given.output else {}
    with contextlib.suppress(KeyboardInterrupt):
        for model in given.model:
            loaded = load(model, given.weights, flags, options=given.options)
            print(f"\n{next(iter(loaded.values())).name}\n")
            print("| runtime | precision | batch | processor ms per input | wall ms | largest difference |")
            print("|---|---|---|---|---|---|")
            for n in map(int, given.batches.split(",")):
                first = next(iter(loaded.values()))
                inputs = images(given.data, first, n) if given.data else sample_inputs(first.spec, n)
                print("\n".join(measure(loaded, inputs, given.seconds)), flush=True)


if __name__ == "__main__":
    main()
