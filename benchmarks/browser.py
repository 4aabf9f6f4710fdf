"""What a browser makes of the same files as the Python client, and what its pages weigh.

    python benchmarks/browser.py --images xrays --model net.onnx [--write]

A headless Chromium codes every image of the folders at every point, in the pages' own worker; the Python
client codes the same. Both payloads are decoded as the service decodes them and read by the classifier.
``--write`` puts the table into docs/how-to/web.md. Needs the built pages, Playwright, Chromium.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bitdose.codecs.coding import encode_point
from bitdose.codecs.point import Point
from bitdose.data.read import read_bytes
from bitdose.errors import CaseError
from bitdose.image import Image
from bitdose.models.load import ModelRef
from bitdose.models.prepare import prepare
from bitdose.wire import ExamMeta, pack_streams

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/how-to/web.md"
STATIC = ROOT / "src/bitdose/service/web/static"
POINTS = (
    "jpeg:q30@256",
    "jpeg:q75",
    "jpeg:q75+optimize@300x200",
    "jpeg:q50+444@512",
    "jpeg2000:10x@256",
    "jpeg2000:40x",
)
CODECS = {"openjpeg": "JPEG 2000", "turbo": "JPEG decoder"}
RUN = """async ({data, point, pristine, url}) => {
  const worker = window.coder ??= new Worker(url, {type: "module"});
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const text = (made) => btoa(Array.from(made, (byte) => String.fromCharCode(byte)).join(""));
  const id = Math.random();
  const answer = await new Promise((resolve) => {
    worker.onmessage = (event) => event.data.id === id && resolve(event.data);
    worker.postMessage({id, task: "code", file: new File([bytes], "x"), point, pristine});
  });
  if (answer.error) return answer;
  const {coded, pristine: whole, burntIn} = answer.result;
  return {meta: coded.meta, payload: text(coded.payload), whole: whole && text(whole.payload), burntIn};
}"""

Code = Callable[..., dict[str, Any]]
"""``code(data, point)``: what the worker makes of a file."""


def worker_of(page: Any) -> Code:
    """Return what codes in a page of the service, through the worker that its pages use."""
    url = f"/static/{json.loads((STATIC / 'assets.json').read_text('utf-8'))['worker.js']}"

    def code(data: bytes, point: str, *, pristine: bool = False) -> dict[str, Any]:
        text = base64.b64encode(data).decode()
        found: dict[str, Any] = page.evaluate(
            RUN, {"data": text, "point": point, "pristine": pristine, "url": url}
        )
        return found

    return code


def planes_of(image: Image) -> list[Image]:
    """Return the slices of a volume as images, an image as it is."""
    return [Image(plane, image.bits) for plane in image.pixels] if image.is_volume else [image]


@dataclass
class Difference:
    """What differs between the two clients' streams of one codec, at most, over all files and points."""

    streams: int = 0
    equal: int = 0
    refused: int = 0
    levels: float = 0.0
    probability: float = 0.0
    files: set[str] = field(default_factory=set)

    def add(self, mine: bytes, theirs: bytes, meta: ExamMeta, classifier: Any) -> None:
        """Compare two payloads of one image: bytes, decoded samples, what the classifier says."""
        from bitdose.service.exams.inference import read_image

        self.streams += 1
        self.equal += mine == theirs
        images = [read_image(meta, payload) for payload in (mine, theirs)]
        mine_px, theirs_px = (image.pixels.astype(np.int64) for image in images)
        self.levels = max(self.levels, float(np.abs(mine_px - theirs_px).max()) / ((1 << images[0].bits) - 1))
        said = [
            classifier.predict(np.stack([prepare(plane, classifier.spec) for plane in planes_of(image)]))
            for image in images
        ]
        self.probability = max(self.probability, float(np.abs(said[0] - said[1]).max()))

    def __str__(self) -> str:
        """Say it in a sentence."""
        return (
            f"{self.equal} of {self.streams} streams equal; largest difference: "
            f"{100 * self.levels:.3g} % of the range of a sample, {self.probability:.3g} of a probability"
        )


def compare(
    code: Code, files: Mapping[str, bytes], points: Sequence[str], classifier: Any
) -> dict[str, Difference]:
    """Return, for each codec, what differs between the browser's streams and the Python client's."""
    found: dict[str, Difference] = {}
    for name, data in files.items():
        for text in points:
            point = Point.parse(text)
            difference = found.setdefault(point.codec, Difference())
            made = code(data, text)
            try:
                mine = pack_streams(encode_point(read_bytes(data).image, point).data)
            except CaseError:
                mine = b""
            if "error" in made or not mine:
                difference.refused += 1
                continue
            meta = ExamMeta.model_validate(made["meta"] | {"pseudonym": "compared", "kind": "coded"})
            difference.add(mine, base64.b64decode(made["payload"]), meta, classifier)
            difference.files.add(name)
    return found


def weights() -> dict[str, int]:
    """Return the gzipped bytes of the built files: codec modules by name, all else together."""
    found = {"pages": 0}
    for path in sorted(STATIC.iterdir()):
        packed = len(gzip.compress(path.read_bytes(), 9, mtime=0))
        name = next((label for key, label in CODECS.items() if key in path.name), "pages")
        found[name] = found.get(name, 0) + packed
    return found


@contextmanager
def browser() -> Iterator[Any]:
    """Give a headless Chromium."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        raise SystemExit("no Chromium here (apt-get install chromium)")
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


def files_of(folders: Iterable[Path], most: int) -> dict[str, bytes]:
    """Read every so-manieth image of the folders, ``most`` of each at most, in order."""
    found: dict[str, bytes] = {}
    for folder in folders:
        paths = sorted(
            path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".dcm")
        )
        for path in paths[:: max(1, len(paths) // most)][:most]:
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def made(found: Mapping[str, Difference], classifier: str, version: str) -> dict[str, str]:
    """Return the tables of the page, by name."""
    rows = [
        f"| {codec} | {len(one.files)} | {one.streams} | {one.equal} | {100 * one.levels:.3g} % "
        f"| {one.probability:.3g} | {one.refused} |"
        for codec, one in sorted(found.items())
    ]
    head = "| codec | images | streams | equal byte for byte | largest difference of a sample, of its range "
    head += f"| of a probability | refused by the browser |\n{'|---' * 7}|"
    note = (
        f"\nRead by `{classifier}`, with Chromium {version}; points: {', '.join(f'`{p}`' for p in POINTS)}."
    )
    return {"difference": "\n".join([head, *rows, note]), "weight": weight_table()}


def weight_table() -> str:
    """Return the table of what the pages weigh."""
    sizes = [f"| {name} | {n / 1000:.0f} kB |" for name, n in weights().items()]
    return "\n".join(["| gzipped | |\n|---|---|", *sizes])


def written(text: str, tables: Mapping[str, str]) -> str:
    """Return a page with its made parts written anew."""
    for name, table in tables.items():
        mark = re.compile(rf"(<!-- made: browser {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = mark.sub(lambda found, table=table: f"{found[1]}{table}\n{found[2]}", text)
    return text


def main() -> None:
    """Compare, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--images", type=Path, action="append", help="a folder; repeatable; none: weights alone"
    )
    parser.add_argument("--model", default="phantom", help="the classifier, as 'bitdose study' takes it")
    parser.add_argument("--most", type=int, default=20, help="images of each folder")
    parser.add_argument("--write", action="store_true", help="write docs/how-to/web.md")
    args = parser.parse_args()
    tables = differences(args) if args.images else {"weight": weight_table()}
    print("\n\n".join(tables.values()))
    if args.write:
        PAGE.write_text(written(PAGE.read_text("utf-8"), tables), "utf-8")


def differences(args: argparse.Namespace) -> dict[str, str]:
    """Compare both clients on a service of one's own; returns the tables."""
    from service_stage import certify, serve

    classifier = ModelRef(args.model).load()
    with tempfile.TemporaryDirectory() as name, browser() as started:
        folder = Path(name)
        certify(folder)
        with serve(folder, f"sqlite:///{folder}/db.sqlite", "--workers", "0") as served:
            page = started.new_page()
            page.goto(f"http://127.0.0.1:{served.port}/login")
            found = compare(worker_of(page), files_of(args.images, args.most), POINTS, classifier)
        return made(found, classifier.name.partition("@")[0], started.version)


if __name__ == "__main__":
    main()
