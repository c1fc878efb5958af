"""Wrong inputs end within seconds in one paragraph and a non-zero code, and touch nothing."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.command import TINY, mulo

SECONDS = 5.0


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a finished run and damaged copies of its checkpoint."""
    place = tmp_path_factory.mktemp("bad inputs")
    done = mulo("mode=meta_train", "run_dir=run", *TINY, cwd=place)
    assert done.code == 0, done.err
    best = next((place / "run/checkpoints/best").iterdir())
    shutil.copytree(best, place / "damaged_meta")
    (place / "damaged_meta/meta/metadata").write_text("{ not json", encoding="utf-8")
    shutil.copytree(best, place / "newer")
    meta = json.loads((best / "meta/metadata").read_text(encoding="utf-8"))
    (place / "newer/meta/metadata").write_text(json.dumps(meta | {"format": 99}), encoding="utf-8")
    shutil.copytree(best, place / "evil")
    evil = {"architecture": "os.system", "name": "x"}
    (place / "evil/meta/metadata").write_text(json.dumps(meta | {"optimizer": evil}), encoding="utf-8")
    shutil.copytree(best, place / "damaged_arrays")
    for path in (place / "damaged_arrays/theta").rglob("*"):
        if path.is_file() and path.stat().st_size > 200 and "d" in path.parts[-2]:
            content = bytearray(path.read_bytes())
            content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
            path.write_bytes(bytes(content))
    (place / "empty").mkdir()
    (place / "file").write_text("not a folder", encoding="utf-8")
    (place / "text.npz").write_text("not an npz", encoding="utf-8")
    np.savez(place / "pickled.npz", allow_pickle=True, x=np.array([{}], dtype=object))
    np.savez(place / "celo.npz", **{"config/architecture": np.array("celo9")})
    return place


BAD = {
    "unknown optimizer": (["optimizer=adamv"], "adamv"),
    "unknown task": (["task=mlpp"], "mlpp"),
    "unknown data": (["data=mnist"], "mnist"),
    "data not downloaded": (["data=lm1b"], "data.path is not set"),
    "data not there": (["data=lm1b", "data.path=nowhere.tar.gz", "mode=coordinate_check"], "data.path=nowhere.tar.gz"),
    "a vocabulary of bytes": (["data=stdlib_text", "data.vocabulary=600"], "data.tokenizer=bpe"),
    "unknown logger": (["logger=tensorboard"], "tensorboard"),
    "unknown recipe": (["recipe=fast"], "fast"),
    "unknown mode": (["mode=train"], "meta_train"),
    "unknown key": (["widht=3"], "widht"),
    "unknown key, added": (["+widht=3"], "widht"),
    "unknown nested key, added": (["+recipe.outer.momentum=3"], "recipe.outer.momentum"),
    "key without value": (["seed"], "seed"),
    "negative width": (["task=mlp", "task.width=-3"], "task.width=-3"),
    "width in words": (["task=mlp", "task.width=wide"], "wide"),
    "a width twice": (["task.widths=[16,16]"], "task.widths"),
    "no width": (["task.widths=[]"], "task.widths"),
    "fractional pairs": (["recipe.pairs=1.5"], "recipe.pairs"),
    "batches that do not share out the pairs": (["recipe.particles_per_batch=3"], "1, 2, 4, 8"),
    "negative seed": (["seed=-1"], "seed=-1"),
    "truncation longer than the unroll": (["recipe.truncation=500"], "recipe.min_length=50"),
    "shortest above longest": (["recipe.min_length=600"], "recipe.max_length=500"),
    "warm-up after decay": (["recipe.outer.warmup_steps=1000"], "recipe.outer.decay_steps"),
    "sigma zero": (["recipe.sigma=0"], "recipe.sigma=0"),
    "sigma nan": (["recipe.sigma=nan"], "recipe.sigma=nan"),
    "unknown activation": (["task.activation=swish"], "gelu"),
    "unknown baseline": (["+optimizer@evaluation.baselines.sgd=sgd"], "mu_adam"),
    "hidden size zero": (["optimizer.hidden_size=0"], "optimizer.hidden_size=0"),
    "nothing to meta-train": (["mode=meta_train", "optimizer=adamw"], "no θ"),
    "one width to check": (["mode=coordinate_check", "coordinate_check.widths=[64]"], "coordinate_check.widths"),
    "a check's meta-training elsewhere": (["coordinate_check.meta_train=true"], "coordinate_check.meta_train=True"),
    "no device": (["evaluation.model_devices=0"], "evaluation.model_devices=0"),
    "more devices than there are": (["evaluation.model_devices=99"], "JAX_NUM_CPU_DEVICES=99"),
    "evaluate nothing": (["mode=evaluate"], "checkpoint=<path>"),
    "checkpoint missing": (["mode=evaluate", "checkpoint=nowhere"], "nowhere does not exist"),
    "checkpoint empty": (["mode=evaluate", "checkpoint=empty"], "empty holds no checkpoint"),
    "checkpoint a file": (["mode=evaluate", "checkpoint=file"], "file holds no checkpoint"),
    "checkpoint of another optimizer": (["mode=evaluate", "checkpoint=run", "optimizer=velo_mup"], "small_fc_mup"),
    "checkpoint contradicted": (["mode=evaluate", "checkpoint=run", "optimizer.step_mult=0.5"], "0.01"),
    "checkpoint in training": (["checkpoint=run"], "mode=evaluate"),
    "checkpoint with damaged settings": (["mode=evaluate", "checkpoint=damaged_meta"], "damaged"),
    "checkpoint with damaged arrays": (["mode=evaluate", "checkpoint=damaged_arrays"], "damaged"),
    "checkpoint of the future": (["mode=evaluate", "checkpoint=newer"], "upgrade"),
    "checkpoint naming code": (["mode=evaluate", "checkpoint=evil"], "one of small_fc, velo"),
    "twin under µP": (["mode=evaluate", "checkpoint=run", "evaluation.sp_twin=run"], "evaluation.sp_twin"),
    "run directory below a file": (["run_dir=file/run"], "is a file"),
    "run directory of another run": (["run_dir=run"], "other settings"),
    "run directory that is empty": (["run_dir="], "run_dir= is invalid"),
    "run directory that cannot be made": (["run_dir=/proc/mulo"], "run_dir=<path>"),
    "verify nothing": (["mode=verify"], "reference=<path>"),
    "reference missing": (["mode=verify", "reference=nowhere.npz"], "nowhere.npz"),
    "reference no npz": (["mode=verify", "reference=text.npz"], "text.npz"),
    "reference pickled": (["mode=verify", "reference=pickled.npz"], "pickle"),
    "reference unknown": (["mode=verify", "reference=celo.npz"], "celo9"),
    "reference with two θ": (["mode=evaluate", "checkpoint=run", "reference=text.npz"], "give one of them"),
    "reference in training": (["reference=text.npz"], "mode=verify"),
    "unknown state dtype": (["state_dtype=float16"], "float32, bfloat16"),
    "sometimes distributed": (["distributed=sometimes"], "auto, always, never"),
    "plan for an unknown device": (["mode=plan", "plan.device=tpu"], "h100"),
    "plan for no time": (["mode=plan", "plan.seconds=0"], "plan.seconds=0"),
    "plan into a folder": (["mode=plan", "plan.output=empty"], "plan.output=empty"),
    "plan into a missing folder": (["mode=plan", "plan.output=nowhere/plan.json"], "nowhere"),
    "plan elsewhere": (["plan.output=plan.json"], "mode=plan"),
    "two files with θ": (["mode=coordinate_check", "checkpoint=run", "reference=text.npz"], "give one of them"),
}


def contents(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(("arguments", "said"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused(place, arguments, said):
    before = contents(place)
    done = mulo(*arguments, "logger=none" if "logger=" not in " ".join(arguments) else "seed=0", cwd=place)
    assert done.code not in (0, 130, 143)
    assert said in done.err
    assert "Traceback" not in done.err
    assert len(done.err) < 1200
    assert done.seconds < SECONDS
    assert contents(place) == before
