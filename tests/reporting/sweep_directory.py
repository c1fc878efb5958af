"""A sweep's directory as its jobs leave it, written by hand: no training."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from mulo.config import parse, to_dict

OLD_COLUMNS = "optimizer,parametrization,task,width,depth,steps,seed,train_loss,test_loss,status"
COLUMNS = "method,parametrization,task,data,width,depth,num_steps,meta_seed,seed,split,loss,status"
OPTIMIZERS = {"µLO_M": "small_fc_mup", "LO_M": "small_fc_sp", "AdamW": "adamw"}
HOME = "/home/somebody/secret"
CLAIM = {"text": "µP is better", "better": "µLO_M", "than": "LO_M", "at": {"width": "largest"}, "loss": "train_loss"}


def sweep_head(**more):
    """The head of a sweep with one claim."""
    head = {"name": "figure/made_up", "question": "Which is best?", "paper": "Figure 0.", "command": "python -m x"}
    return head | {"claims": [CLAIM]} | more


def config(method="µLO_M", seed=0, head=None, **more):
    """The whole configuration of one job, as a plain dictionary."""
    name = OPTIMIZERS.get(method, "small_fc_mup")
    architecture = "adamw" if "adam" in name else "small_fc"
    parametrization = "mup" if name.endswith("_mup") or name == "mu_adam" else "sp"
    optimizer = {"name": name, "architecture": architecture, "parametrization": parametrization}
    raw = {"mode": "main", "name": method, "seed": seed, "scale": "cpu", "sweep": head or sweep_head()}
    raw |= {"optimizer": optimizer, "task": {"name": "mlp_multiwidth", "widths": [8, 16]}}
    merged = OmegaConf.merge(raw, more)
    return to_dict(parse(OmegaConf.to_container(merged)))


def write_job(folder, settings, rows, status="finished", reason=None, results_in="evaluation", curves=True, old=False):
    """One run directory: `rows` are (width, steps, seed, loss), inf for a divergence, and their curves."""
    folder.mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(settings), folder / "config.yaml")
    (folder / "job.json").write_text(json.dumps(_status(status, reason)), encoding="utf-8")
    if settings["optimizer"]["architecture"] == "adamw":
        (folder / "tuning.csv").write_text(
            "task,width,learning_rate,train_loss\nmlp,16,0.1,1.0\nmlp,16,0.2,2.0\n", encoding="utf-8"
        )
        (folder / "spent.json").write_text('{"seconds": 7.5}\n', encoding="utf-8")
    else:
        theta = {"directory": f"{HOME}/theta/one-seed{settings['seed']}", "seconds": 60.0 + settings["seed"]}
        (folder / "theta.json").write_text(json.dumps(theta), encoding="utf-8")
    if rows:
        write_results(folder / results_in, settings, rows, curves, old)


def _status(status, reason):
    times = dict.fromkeys(("first_started", "started", "updated"), "2030-01-02T03:00:00+00:00")
    origin = {"commit": "0123456789ab", "processor": "Some CPU (x)", "cores": 2, "accelerator": "none"}
    origin |= {"python": "3.11.1", "jax": "0.10.2", "mulo": "0.1.0"}
    job = {"status": status, "mode": "main", "reason": reason, "exit_code": 0, "starts": 1, "wall_seconds": 100.0}
    return job | times | {"ended": "2030-01-02T03:05:00+00:00", "process": "secret-host:1", "provenance": origin}


def write_results(folder, settings, rows, curves, old):
    """results.csv, the `old` one without initial losses, and curves.npz with curves that fall to the final loss."""
    folder.mkdir(parents=True)
    parametrization, arrays = settings["optimizer"]["parametrization"], {}
    with (folder / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow((OLD_COLUMNS if old else COLUMNS).split(","))
        for width, steps, seed, loss in rows:
            status = "finished" if np.isfinite(loss) else f"diverged({steps // 2})"
            head, meta_seed, losses = (settings["name"], parametrization, "mlp"), settings["seed"], curve(steps, loss)
            if old:
                writer.writerow((*head, width, 3, steps, seed, loss, loss + 0.1, status))
            else:
                head = (*head, "fashion_mnist_8x8", width, 3, steps, meta_seed, seed)
                initial = float(np.float32(losses[0])) if curves else np.nan
                ends = {"initial": initial, "train": loss, "test": loss + 0.1}
                writer.writerows((*head, split, value, status) for split, value in ends.items())
            arrays.setdefault(f"{settings['name']}/{parametrization}/w{width}/d3/n{steps}", []).append(losses)
    for key, rows_of_run in list(arrays.items()):
        arrays[key] = np.array(rows_of_run, np.float32)
        points = np.linspace(0, arrays[key].shape[1] - 1, 5).astype(int)
        arrays |= {f"{key}/test": arrays[key][:, points] + 0.1, f"{key}/test_steps": points + 1}
    if curves:
        np.savez(folder / "curves.npz", **arrays)


def curve(steps, loss):
    """Falls from 2.3 to the loss; of a divergence, stops being finite half way."""
    falling = (loss if np.isfinite(loss) else 1.0) + 1.3 * np.exp(-5 * np.arange(steps) / steps)
    return falling if np.isfinite(loss) else np.where(np.arange(steps) < steps // 2, falling, np.inf)


def write_sweep(folder: Path, losses, widths=(16, 64), steps=300, seeds=3, head=None, old=False):
    """Jobs of all methods and meta-seeds.

    Args:
        folder: of the jobs' directories.
        losses: (method, width, meta-seed, seed) → final loss.
        widths: of the evaluation.
        steps: of every training.
        seeds: meta-seeds, and evaluation seeds of each.
        head: the sweep's.
        old: whether as an older version of mulo would.
    """
    for method in OPTIMIZERS:
        for meta in range(seeds):
            rows = [(w, steps, seed, losses(method, w, meta, seed)) for w in widths for seed in range(seeds)]
            write_job(folder / f"{method}-{meta}", config(method, meta, head), rows, old=old)
    return folder


def separated(method, width, meta, seed):
    """µLO_M best, then AdamW, then LO_M, which diverges at width 64 in one of three seeds."""
    base = {"µLO_M": 0.3, "LO_M": 0.9, "AdamW": 0.6}[method] + 0.01 * meta + 0.004 * seed
    return np.inf if (method, width, seed) == ("LO_M", 64, 2) else base + 0.1 * (width == 64)


def changed(record, split, loss, at, **more):
    """A record whose losses of one split are others in the rows that `at` selects."""
    results = record.results.copy()
    here = at(results)
    results.loc[here & (results.split == split), "loss"] = loss
    for name, value in more.items():
        results.loc[here, name] = value
    return replace(record, results=results)


def exploded(record):
    """A record in which one training of µLO_M at width 16 ends at 3e5."""
    training = ["µLO_M", 16, 0, 0]
    return changed(
        record, "train", 3e5, lambda rows: (rows[["method", "width", "meta_seed", "seed"]] == training).all(axis=1)
    )
