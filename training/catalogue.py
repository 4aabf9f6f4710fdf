"""Make the manifest of ``bitdose data get cxr-public`` from original files that lie on this disk.

Run from the repository's root::

    python training/catalogue.py FOLDER

``FOLDER/cases.csv`` has the columns path, label, patient, split, source and original; the
files of its splits ``calibration`` and ``test`` are the originals byte for byte. Sizes and
digests are those of the files; URLs are ``original`` below the bases given here. No URL is
opened: a wrong base can only fail, since a file of another digest is never taken.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

from bitdose.datasets.manifest import parse_manifest
from bitdose.hashing import file_digest

TARGET = Path("src/bitdose/datasets/sets/cxr-public.json")
SPLITS = ("calibration", "test")
GITHUB = "https://raw.githubusercontent.com"
TALO = f"{GITHUB}/muhammedtalo/COVID-19"
BASES = {
    "nih": [
        f"{TALO}/master/X-Ray%20Image%20DataSet/{{path}}",
        f"{TALO}/da7714c5dded0bd56bfb9f12dae6cd11bf802025/Dataset/{{path}}",
    ],
    "literature": [
        f"{TALO}/master/X-Ray%20Image%20DataSet/{{path}}",
        f"{TALO}/da7714c5dded0bd56bfb9f12dae6cd11bf802025/Dataset/{{path}}",
        f"{GITHUB}/ieee8023/covid-chestxray-dataset/master/images/{{name}}",
    ],
    "hannover": [
        f"{GITHUB}/ml-workgroup/covid-19-image-repository/master/{{path}}",
        f"{GITHUB}/ml-workgroup/covid-19-image-repository/a9842c3b52767f048d67adf0d85f2c440b9b3d25/{{path}}",
    ],
}
HEAD = {
    "name": "cxr-public",
    "source": [
        "chest X-rays, normal and pneumonia: NIH ChestX-ray14, as chosen in github.com/muhammedtalo/COVID-19",
        "chest X-rays, covid-19: github.com/ml-workgroup/covid-19-image-repository (Hannover Medical School)",
        "chest X-rays, covid-19: images of the literature, github.com/ieee8023/covid-chestxray-dataset",
    ],
    "licence": [
        "NIH ChestX-ray14: free use with attribution to the NIH Clinical Center and Wang et al. 2017",
        "Hannover: CC BY 3.0",
        "literature: per image, see metadata.csv of ieee8023/covid-chestxray-dataset; research only",
    ],
    "citation": [
        "Wang et al., ChestX-ray8, CVPR 2017, doi 10.1109/CVPR.2017.369",
        "Winther et al., COVID-19 Image Repository, doi 10.25835/0090041",
        "Cohen et al., COVID-19 image data collection, arXiv 2003.11597",
        "Ozturk et al., Comput Biol Med 2020, doi 10.1016/j.compbiomed.2020.103792",
    ],
}


def main() -> None:
    """Write the manifest, one file per line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    with (folder / "cases.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] in SPLITS]
    data = manifest_text([entry(folder, row) for row in rows]).encode()
    manifest = parse_manifest(data, TARGET.name)
    TARGET.write_bytes(data)
    print(f"{TARGET}: {len(manifest.files)} files, {manifest.n_bytes} bytes")


def entry(folder: Path, row: dict[str, str]) -> dict[str, Any]:
    """Describe one file by what lies on the disk."""
    path = folder / row["path"]
    return {
        "path": row["path"],
        "url": f"{row['source']}:{row['original']}",
        "bytes": path.stat().st_size,
        "sha256": file_digest(path),
        "case": {key: row[key] for key in ("label", "patient", "split", "source")},
    }


def manifest_text(entries: list[dict[str, Any]]) -> str:
    """Write the JSON with one file per line, so that a change shows as a line."""
    head = json.dumps(HEAD | {"bases": BASES}, indent=1, ensure_ascii=False)
    lines = ",\n".join(json.dumps(each, separators=(",", ":"), ensure_ascii=False) for each in entries)
    return head.removesuffix("\n}") + ',\n "files": [\n' + lines + "\n]}\n"


if __name__ == "__main__":
    main()
