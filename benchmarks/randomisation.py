"""Does a map change when the network forgets (Adebayo et al., Sanity Checks for Saliency Maps, 2018)?

The head or the trunk of the network gets random weights, and every method
explains the same houses again. Printed is the rank correlation of the cells
with the original map, mean over houses: a map that stays the same shows the
picture, not what the network makes of it.

A random head has the same weights in another order: dealt to other channels,
in units of the channels' deviation. A random trunk has new weights, with
batch-norm statistics of the pictures; the head stays.

    python benchmarks/randomisation.py examples/sample-market.toml --runs runs
"""

from __future__ import annotations

import argparse
import copy
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from lenders import agreement, interval
from numpy.typing import NDArray
from result_facts import RESULTS, result_facts, use_threads
from sample_market import randomised

from data_pipeline.archive import TileArchive
from housevis.core.config import load_config
from housevis.core.progress import console
from housevis.explain.embeddingcam import embedding_cam, single_point_proxies
from housevis.explain.gradcam import grad_cam
from housevis.explain.gradweights import rank_grad_weights
from housevis.explain.l2caf import l2_caf
from housevis.explain.networks import LinearHead
from housevis.explain.picture_words import PictureWords, WordValues
from housevis.explain.value_map import ValueMapModel
from housevis.pipeline.embedding import PictureLoader, house_places
from housevis.pipeline.explaining import Explainer, look_up_places
from housevis.pipeline.learning_targets import places_of, whole_target
from housevis.pipeline.project import Project, open_project
from housevis.pipeline.sold import EARLIER, load_sold_houses
from housevis.runs import write_json
from housevis.vision.backbones import Backbone, load_backbone
from housevis.vision.embed import fit_picture, iterate_features
from housevis.vision.engines import open_engine
from housevis.vision.objectives import fit_learner
from housevis.vision.siamese import FeatureLearner

Maps = dict[str, NDArray[np.float32]]

CALIBRATION_PICTURES: Final = 64
PENALTY: Final = 10_000.0


def random_head(
    learner: FeatureLearner, deviation: NDArray[np.floating], generator: np.random.Generator
) -> FeatureLearner:
    """A linear learner whose weights are dealt to other channels."""
    found = copy.deepcopy(learner)
    spread = torch.from_numpy(np.maximum(deviation, 1e-6).astype(np.float32))
    order = torch.from_numpy(generator.permutation(len(spread)))
    with torch.no_grad():
        weight = learner.embedding.weight * spread
        found.embedding.weight.copy_(weight[:, order] / spread)
    return found


class Explanations:
    """All methods for the same houses, each time with another network.

    Args:
        project: A project whose pictures are embedded and whose learners are linear.
        houses: How many houses of later sales, drawn at random.
    """

    def __init__(self, project: Project, houses: int) -> None:
        self._config = config = project.config
        sold = load_sold_houses(project)
        train = sold.training_rows(EARLIER) & (sold.image_keys != "")
        sales = sold.sales[train].reset_index(drop=True)
        self._target = whole_target(config.siamese.targets[0], sales, sold.folds[train], config)
        self._taught, self._taught_ids = sold.pooled[train], sales["house_id"].astype(str).tolist()
        self.learner = fit_learner(
            "price",
            self._taught,
            self._target,
            config.siamese,
            config.seed,
            penalty=PENALTY,
            places=places_of(sales, config),
        )
        self.deviation = self._taught.std(axis=0)
        rows = np.flatnonzero(~sold.is_earlier & (sold.image_keys != ""))
        rows = np.random.default_rng(config.seed).permutation(rows)[:houses]
        self._ids = sold.sales["house_id"].astype(str).iloc[rows].tolist()
        known = {place.house_id: place for place in house_places(sold.sales, config.imagery.zoom)}
        side = load_backbone(config.vision).input_size
        with TileArchive(project.workspace.archive) as archive:
            loader = PictureLoader(archive, config.imagery, config.vision)
            found = [loader.pixels(known[house_id]) for house_id in self._ids]
        self.pictures = np.stack([fit_picture(each, side) for each in found if each is not None])
        self._words = PictureWords.fit(self.pictures)
        self._read = self._words.read(self.pictures)

    def features(self, backbone: Backbone) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Feature maps and pooled features of the houses."""
        engine = open_engine(backbone, self._config.vision.engine, self._config.vision.batch_size)
        batches = list(
            iterate_features(lambda row: self.pictures[row], range(len(self.pictures)), engine, want="both")
        )
        maps = np.concatenate([batch.maps for batch in batches if batch.maps is not None])
        return maps, np.concatenate([batch.pooled for batch in batches if batch.pooled is not None])

    def of(self, learner: FeatureLearner, maps: NDArray[np.float32], pooled: NDArray[np.float32]) -> Maps:
        """The maps of every method ``(n, h, w)``."""
        tensor = torch.from_numpy(maps)
        head = LinearHead(learner.embedding.weight.detach(), learner.embedding.bias.detach())
        direction = learner.direction().detach()
        embeddings = torch.from_numpy(learner.embed(pooled))
        dearer = torch.from_numpy(learner.pull_back(pooled[:1], direction.numpy()[None])[0])
        found = {
            "transfer": self._transfer(learner, maps, pooled),
            "Grad-CAM": grad_cam(tensor, head, lambda found: found @ direction).numpy(),
            "Grad-CAM, signed": torch.einsum("k,nkij->nij", dearer, tensor).numpy(),
            "EmbeddingCAM": embedding_cam(tensor, head, single_point_proxies(embeddings)).numpy(),
            "L2-CAF": l2_caf(tensor, head, exact=True).heats.numpy(),
            "mean feature map": maps.mean(axis=1),
        }
        slopes = direction.numpy().astype(np.float32)
        score = learner.embed(pooled) @ slopes
        values = WordValues.fit(self._read, score, len(self._words))
        model = ValueMapModel(pooled.mean(axis=0), slopes, self._words, values)
        effects, unit = score - score.mean(), np.ones(len(score))
        found["value map, not guided"] = model.explain([learner], maps, pooled, effects, unit).values
        found["value map"] = model.explain([learner], maps, pooled, effects, unit, self.pictures).values
        return found

    def _transfer(
        self, learner: FeatureLearner, maps: NDArray[np.float32], pooled: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        config = self._config.explain
        weight, bias = (part.detach().numpy() for part in learner.ordering())
        database = rank_grad_weights(
            embedding=learner,
            head_weight=weight,
            head_bias=bias,
            features=self._taught,
            prices=self._target,
            house_ids=self._taught_ids,
            cells=maps.shape[2] * maps.shape[3],
            backbone_fingerprint="any",
            model_id=EARLIER,
            scalar=config.scalar,
            pairs=config.pairs,
            top_channels=config.top_channels,
            seed=self._config.seed,
            picture_channels=maps.shape[1],
        )
        database = replace(database, embeddings=look_up_places(learner, self._taught))
        return Explainer(learner, database).explain(maps, pooled, self._ids)[1]


def measure(project: Project, houses: int, seeds: int) -> dict[str, Any]:
    """Rank correlation with the original, for each method and part."""
    explanations = Explanations(project, houses)
    vision = project.config.vision
    maps, pooled = explanations.features(load_backbone(vision))
    original = explanations.of(explanations.learner, maps, pooled)
    generator = np.random.default_rng(project.config.seed)
    heads = [random_head(explanations.learner, explanations.deviation, generator) for _ in range(seeds)]
    without_head = [explanations.of(head, maps, pooled) for head in heads]
    trunk = randomised(load_backbone(vision), explanations.pictures[:CALIBRATION_PICTURES])
    without_trunk = [explanations.of(explanations.learner, *explanations.features(trunk))]
    result = {
        name: {
            part: interval(np.mean([agreement(one[name], original[name]) for one in found], axis=0))
            for part, found in (("head", without_head), ("trunk", without_trunk))
        }
        for name in original
    }
    console.print_json(data=result)
    return {"houses": len(maps), "seeds": seeds, "methods": result}


def main() -> int:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where its pictures are embedded")
    parser.add_argument("--houses", type=int, default=200, help="houses of later sales, drawn at random")
    parser.add_argument("--seeds", type=int, default=3, help="random heads")
    parser.add_argument("--out", type=Path, default=RESULTS / "randomisation.json")
    options = parser.parse_args()
    use_threads()
    with open_project(load_config(options.config), options.runs) as project:
        figures = measure(project, options.houses, options.seeds)
    write_json(options.out, result_facts() | figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
