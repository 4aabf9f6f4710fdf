#!/usr/bin/env bash
# All trainings and studies behind docs/results.md, in order; what is done is not done again,
# what was interrupted goes on. SHARED holds the data (cxr, brain) and the shared classifier.
#
#   bash training/experiments/run.sh [STEP...]     from the project's root
set -euo pipefail
cd "$(dirname "$0")/../.."

SHARED=${SHARED:-../shared}
RUNS=${RUNS:-runs}
BITDOSE=${BITDOSE:-.venv/bin/bitdose}
PYTHON=${PYTHON:-.venv/bin/python}
CXR=$SHARED/data/cxr/cases.csv
BRAIN=$SHARED/data/brain/cases.csv
TEACHER=$SHARED/models/cxr_mobilenetv2.onnx
# From scratch on 623 X-rays: a warm-up, decoupled decay, an average of the weights, and a teacher.
SCRATCH=(--precision bf16 --optimizer adamw --weight-decay 0.02 --schedule cosine --warmup 2 --stop-after 0
  --class-weights balanced --affine --ema 0.98 --recalibrate 256)

train() { # train NAME NETWORK DATA OPTION...
  local out=$RUNS/$1 resume=()
  [[ -f $out/model.md ]] && return
  [[ -f $out/train.toml ]] && resume=(--resume)
  "$BITDOSE" train "$2" "$3" --out "$out" "${@:4}" "${resume[@]}"
}

study() { # study NAME DATA MODEL OPTION...
  local out=$RUNS/$1 resume=()
  [[ -f $out/summary.json ]] && return
  [[ -d $out ]] && resume=(--resume)
  "$BITDOSE" study "$2" --model "$3" --split test --out "$out" "${@:4}" "${resume[@]}"
}

covid_next() {
  train covid-next covid-next "$CXR" --color grey --batch 16 --rate 3e-4 --flips h --teacher "$TEACHER" \
    --distill 0.5 "${SCRATCH[@]}"
}

covid_next_study() {
  study study-covid-next "$CXR" "$RUNS/covid-next/model.onnx" --color grey --layered
}

# What the paper leaves open: entropy coding, kernels, interpolating back.
covid_next_variants() {
  local points=()
  for tail in +optimize @256:lanczos3 @256:area @256:lanczos4:none; do points+=(--points "$(qualities jpeg "$tail")"); done
  for tail in @256:lanczos3 @256:area @256:lanczos4:none; do points+=(--points "$(rates jpeg2000 "$tail")"); done
  study study-covid-next-variants "$CXR" "$RUNS/covid-next/model.onnx" --color grey --no-ssim "${points[@]}"
}

qualities() { local q out=(); for q in 90 70 50 30 10 5 1; do out+=("$1:q$q$2"); done; (IFS=,; echo "${out[*]}"); }
rates() { local r out=(); for r in 3 5 10 20 40; do out+=("$1:${r}x$2"); done; (IFS=,; echo "${out[*]}"); }

brain_tables() { "$PYTHON" training/experiments/brain_grades.py "$SHARED/data/brain" "$RUNS/brain-grades/cases.csv"; }

brain() { # tumour against no tumour
  train brain-tumor brain-tumor "$BRAIN" --validation 0.2 --size 112 --epochs 50 --batch 4 --rate 1e-3 --jitter 0.3 --flips h "${SCRATCH[@]}"
}

brain_grades() { # none, II, III
  [[ -f $RUNS/brain-grades/cases.csv ]] || brain_tables
  train brain-tumor-grades brain-tumor "$RUNS/brain-grades/cases.csv" --validation 0.2 --size 112 --epochs 20 --batch 4 --rate 1e-3 \
    --jitter 0.3 --flips h "${SCRATCH[@]}"
}

BRAIN_POINTS=(--points paper)
for side in 128 64; do
  BRAIN_POINTS+=(--points "jpeg:q95@$side,jpeg:q80@$side,jpeg:q60@$side,jpeg:q40@$side,jpeg:q20@$side,jpeg:q5@$side")
  BRAIN_POINTS+=(--points "jpeg2000:2x@$side,jpeg2000:4x@$side,jpeg2000:8x@$side,jpeg2000:15x@$side,jpeg2000:30x@$side")
done

brain_study() { study study-brain-tumor "$BRAIN" "$RUNS/brain-tumor/model.onnx" --no-ssim "${BRAIN_POINTS[@]}"; }

brain_grades_study() {
  study study-brain-tumor-grades "$RUNS/brain-grades/cases.csv" "$RUNS/brain-tumor-grades/model.onnx" --no-ssim \
    --points quick --points "jpeg:q80@128,jpeg:q40@128,jpeg:q80@64,jpeg:q40@64" \
    --points "jpeg2000:4x@128,jpeg2000:15x@128,jpeg2000:4x@64,jpeg2000:15x@64"
}

elsewhere() { # elsewhere NET: one architecture at three resolutions
  local side
  for side in 64 128 256; do
    train "$1-$side" "training.elsewhere.nets:$1" "$CXR" --color grey --size "$side" --epochs 15 --batch 16 --rate 1e-3 \
      --flips h --teacher "$TEACHER" --distill 0.5 "${SCRATCH[@]}"
    study "study-$1-$side" "$CXR" "$RUNS/$1-$side/model.onnx" --color grey --layered --no-ssim
  done
}
mobile() { elsewhere mobile; }
transformer() { elsewhere transformer; }
resnet18() { elsewhere resnet18; }

coded() { # the small network once more, with compression in the loop
  train mobile-256-coded training.elsewhere.nets:mobile "$CXR" --color grey --size 256 --epochs 15 --batch 16 --rate 1e-3 \
    --flips h --teacher "$TEACHER" --distill 0.5 "${SCRATCH[@]}" --codec-share 0.5 \
    --codec-augment jpeg:q1@256,jpeg:q5@256,jpeg:q10@256,jpeg:q20@256,jpeg:q40@256 \
    --codec-augment jpeg2000:10x@256,jpeg2000:20x@256,jpeg2000:40x@256,jpeg2000:100x@256
  study study-mobile-256-coded "$CXR" "$RUNS/mobile-256-coded/model.onnx" --color grey --layered --no-ssim
}

mobilenet_study() { # the shared classifier: the paper's points, and those of the plain loop's table
  study study-cxr-mobilenetv2 "$CXR" "$TEACHER" --color grey --layered
  study study-cxr-mobilenetv2-exact "$CXR" "$TEACHER" --color grey --no-ssim --points \
    jpeg:q75,jpeg:q10+optimize,jpeg:q75@256,jpeg2000:20x,jpeg2000:50x,jpeg2000:100x,jpeg2000:10x@256
}

# Two steps more, whose results are not kept yet: coded (compression in the loop) and resnet18.
ALL=(covid_next covid_next_study brain brain_study covid_next_variants mobilenet_study mobile transformer
  brain_grades brain_grades_study)
for step in "${@:-${ALL[@]}}"; do
  echo "== $step ($(date -u +%H:%M))"
  "$step"
done
