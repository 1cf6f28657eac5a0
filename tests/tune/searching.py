"""A process that shares a study: `python searching.py FOLDER SEED`."""

import sys
import time
from pathlib import Path

import numpy as np
import optuna

from jaxtrain import tune

sys.path.append(str(Path(__file__).parent))
from conftest import recipe

if __name__ == "__main__":
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])

    class Noted(optuna.pruners.BasePruner):
        """Prunes nothing, and writes down which trials this process trained."""

        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            with (folder / f"trained-by-{seed}").open("a") as file:
                print(trial.number, file=file)
            return False

    with np.load(folder / "data.npz") as arrays:
        data = arrays["x"], arrays["y"]
    # Both are ready before either begins.
    (folder / f"ready-{seed}").touch()
    while len(list(folder.glob("ready-*"))) < 2:
        time.sleep(0.05)
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "journal"))
    tune.search(
        recipe, {"lr": optuna.distributions.FloatDistribution(1e-4, 1.0, log=True)}, data, trials=6, epochs=1,
        batch_size=50, storage=optuna.storages.JournalStorage(backend), study_name="shared", seed=seed, pruner=Noted(),
    )  # fmt: skip
