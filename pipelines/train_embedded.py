"""Train the models under mmcl_cache/assets: `python -m pipelines.train_embedded`, a quarter of an hour on 2 cores.

Strips of generated clips (seeds no demo uses) → BLIP question answerer and ResNet → assets/vqa and assets/cnn, then the
check that `python -m pipelines.train_embedded --check` makes alone: 500 clips of yet other seeds, written as video,
made into strips as a build makes them, asked.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from pipelines.train_embedded_check import check_embedded
from pipelines.train_embedded_cnn import train_cnn
from pipelines.train_embedded_data import draw_examples
from pipelines.train_embedded_vqa import train_vqa

ASSETS = Path(__file__).resolve().parent.parent / "mmcl_cache" / "assets"
TRAIN_SEEDS, HELD_SEEDS = range(1001, 1033), range(2001, 2005)


def main() -> None:
    """Parse the command line and train, or check what is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="do not train; ask the models in --assets")
    parser.add_argument("--assets", type=Path, default=ASSETS, help="folder of vqa and cnn")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/embedded"), help="strips and clips are kept here"
    )
    parser.add_argument("--only", choices=("vqa", "cnn"), help="train one of the two, check nothing")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2, help="processes that draw clips")
    options = parser.parse_args()
    torch.set_num_threads(1)  # sums then come out the same on any number of cores
    if not options.check:
        held, train = options.work / "held.npz", options.work / "train.npz"
        draw_examples(held, HELD_SEEDS, options.workers)
        draw_examples(train, TRAIN_SEEDS, options.workers)
        if options.only != "vqa":
            train_cnn(train, held, steps=700, size=64, seed=options.seed, folder=options.assets / "cnn")
        if options.only != "cnn":
            train_vqa(
                train, held, steps=(700, 300), size=32, seed=options.seed, folder=options.assets / "vqa"
            )
    if options.only is None or options.check:
        check_embedded(options.assets, options.work / "check", options.workers)


if __name__ == "__main__":
    main()
