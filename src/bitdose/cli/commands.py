"""What the root command offers: names, where each command is, and the first line of its help."""

from __future__ import annotations

from bitdose.cli.lazy import LazyCommand, LazyGroup


class Commands(LazyGroup):
    """The root's commands, in the order of its help."""

    lazy = (
        LazyCommand(
            "demo",
            "bitdose.cli.demo:demo",
            "Run the whole pipeline on synthetic phantoms: study, decision, profile and report.",
        ),
        LazyCommand(
            "study",
            "bitdose.cli.study:study",
            "Measure the effect of compression on a classifier, on a labelled image set.",
        ),
        LazyCommand(
            "fetch",
            "bitdose.cli.fetch:fetch",
            "Copy a run from a URL into a folder, for report and decide; existing files stay.",
        ),
        LazyCommand(
            "report",
            "bitdose.cli.report:report",
            "Write the report of a finished or interrupted run, with its figures.",
        ),
        LazyCommand(
            "compare",
            "bitdose.cli.compare:compare",
            "Compare runs point by point: two classifiers, two versions, two sets.",
        ),
        LazyCommand(
            "decide",
            "bitdose.cli.decide:decide",
            "Certify the best point whose loss is within every margin, and write its profile.",
        ),
        LazyCommand(
            "search",
            "bitdose.cli.search:search",
            "Find the best point within the margins without measuring the whole grid.",
        ),
        LazyCommand(
            "profile",
            "bitdose.cli.profile:app",
            "Signed files of certified points: show, verify, and print the signing key.",
        ),
        LazyCommand(
            "compress",
            "bitdose.cli.compress:compress",
            "Compress images at a point: rasters become streams, DICOM becomes DICOM with the lossy "
            "attributes.",
        ),
        LazyCommand(
            "data",
            "bitdose.cli.data:app",
            "Public image sets: download, arrange like the paper, check.",
        ),
        LazyCommand(
            "train",
            "bitdose.cli.train:train",
            "Train a classifier: weights, an equivalent ONNX file, and a model card.",
        ),
        LazyCommand(
            "serve",
            "bitdose.cli.serve:app",
            "Receive exams from clinics, classify them, show the predictions. Research use only.",
        ),
        LazyCommand(
            "send",
            "bitdose.cli.send:app",
            'Send exams to the service at the certified point; "bitdose send FILES" is "bitdose send '
            'files FILES".',
        ),
        LazyCommand(
            "links",
            "bitdose.cli.links:links",
            "List links: rates, round trip, seconds per exam of each size, knee, source.",
        ),
        LazyCommand(
            "codecs",
            "bitdose.cli.lists:codecs",
            "List the codecs: quality, options, abilities, library builds; and whether the native "
            "loops are built.",
        ),
        LazyCommand(
            "points",
            "bitdose.cli.lists:points",
            "Expand a preset, list or range to its points.",
        ),
        LazyCommand(
            "models",
            "bitdose.cli.lists:models",
            "List the shipped models and the runtimes for your own.",
        ),
    )
