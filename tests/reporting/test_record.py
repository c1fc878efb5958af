"""Records made of sweep directories that were written by hand: what they say must be what was written."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mulo.errors import MuloError
from mulo.evaluation.coordinate_rows import CHANGES
from mulo.evaluation.results import SPLITS
from mulo.jobs.gather import gather
from mulo.jobs.job_folders import jobs_of
from mulo.reporting import record
from mulo.reporting.record import grids, panels
from tests.evaluation.test_coordinate_rows import changes
from tests.reporting import sweep_directory as sweep


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    return sweep.write_sweep(tmp_path_factory.mktemp("sweep") / "made_up-cpu", sweep.separated)


@pytest.fixture(scope="module")
def gathered(jobs):
    return gather(jobs_of(jobs))


@pytest.fixture(scope="module")
def written(gathered, tmp_path_factory):
    folder = tmp_path_factory.mktemp("records") / "made_up"
    record.write(gathered, folder)
    (folder / "notes.md").write_text("By hand: | *kept* |\n", encoding="utf-8")
    record.write_up(folder)
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".png"}


def test_what_is_read_is_what_was_written(gathered, written):
    stored = record.read(written)
    tables = {"results": None, "changes": None, "curves": {}}
    assert repr(replace(stored, **tables)) == repr(replace(gathered, **tables))
    pd.testing.assert_frame_equal(stored.results, gathered.results.reset_index(drop=True), check_exact=True)
    assert stored.curves.keys() == gathered.curves.keys()
    for key, values in gathered.curves.items():
        np.testing.assert_array_equal(stored.curves[key], values)


def test_a_record_written_anew_is_the_same_byte_for_byte(gathered, written, tmp_path):
    before = contents(written)
    record.write_up(written)
    assert contents(written) == before
    record.write(gathered, tmp_path / "made_up")
    for name in ("record.json", "results.csv", "curves.npz"):
        assert (tmp_path / "made_up" / name).read_bytes() == before[name]


def test_directories_of_an_older_version_make_the_same_record(gathered, tmp_path):
    old = gather(jobs_of(sweep.write_sweep(tmp_path / "made_up-cpu", sweep.separated, old=True)))
    assert old.results.equals(gathered.results)
    assert old.curves.keys() == gathered.curves.keys()


def test_notes_are_kept_as_they_are(written):
    assert "## Notes\n\nBy hand: | *kept* |\n" in (written / "README.md").read_text(encoding="utf-8")
    assert (written / "notes.md").read_text(encoding="utf-8") == "By hand: | *kept* |\n"


def test_no_place_or_person_of_the_machine_is_in_a_record(written):
    for path in written.iterdir():
        for secret in (b"somebody", b"secret", b"/home", str(written.parent).encode()):
            assert secret not in path.read_bytes(), path


def test_results_are_those_of_the_jobs(written):
    with (written / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 3 * 2 * 3 * 3
    assert ",".join(rows[0]) == sweep.COLUMNS
    for row in rows:
        loss = sweep.separated(row["method"], int(row["width"]), int(row["meta_seed"]), int(row["seed"]))
        expected = {"train": loss, "test": loss + 0.1, "initial": float(np.float32(sweep.curve(300, loss)[0]))}
        assert float(row["loss"]) == expected[row["split"]]
        assert (row["status"] == "finished") == math.isfinite(loss)


def test_curves_are_thinned_float32_and_end_where_a_seed_diverges(gathered):
    key = "LO_M/sp/mlp/fashion_mnist_8x8/w64/d3/n300/m1"
    curve, steps = gathered.curves[key], gathered.curves["n300/steps"]
    assert curve.shape == (3, 200)
    assert curve.dtype == np.float32
    assert (steps[0], steps[-1]) == (1, 300)
    # A falling curve's running median is the curve itself, away from its ends.
    loss = sweep.curve(300, sweep.separated("LO_M", 64, 1, 0))
    np.testing.assert_allclose(curve[0, 10:-10], loss[steps - 1][10:-10], rtol=1e-6)
    assert (np.isfinite(curve[2]) == (steps <= 150)).all()
    np.testing.assert_array_equal(gathered.curves[f"{key}/test_steps"], [1, 75, 150, 225, 300])


def test_the_readme_has_medians_quartiles_and_what_exploded(written):
    text = (written / "README.md").read_text(encoding="utf-8")
    # Of µLO_M at width 64: .400 .404 .408 .410 .414 .418 .420 .424 .428; of LO_M the fifth of six, and three infinite.
    assert "| 64 | **0.414 (0.408 … 0.420)** | 1.020 (1.010 … ∞), 3/9 exploded | 0.714 (0.708 … 0.720) |" in text
    assert "3 meta-seeds (0, 1, 2), each with 3 evaluation seeds" in text
    assert "9 jobs, together 15 min of wall time, in 5 min from first start to last end" in text
    assert "| µLO_M | meta-training, 500 outer steps | 3 | 61 s | 3.05 min |" in text
    assert "| AdamW | tuning, 2 settings | 3 | 7.5 s | 22.5 s |" in text
    assert "Commit 0123456789ab. Some CPU (x), 2 cores, no accelerator. Python 3.11.1, JAX 0.10.2, mulo 0.1.0." in text
    assert "**undecided**: µP is better" in text  # one in three of the other side diverged
    assert "Incomplete" not in text


def test_the_page_holds_curves_tables_and_claims(written):
    page = (written / "index.html").read_text(encoding="utf-8")
    for text in (
        "Undecided: µP is better",
        "Training loss over inner steps",
        "Mean rank by training loss",
        "3/9 exploded",
        "Test loss at the end: median (quartiles)",
    ):
        assert text in page


def test_unfinished_and_failed_jobs_are_told(tmp_path):
    folder = sweep.write_sweep(tmp_path / "jobs", sweep.separated, seeds=2)
    reason = f"No such file: {sweep.HOME}/data/file.bin"
    sweep.write_job(folder / "broken", sweep.config("LO_M", 7), [], "failed", reason)
    interrupted = [(16, 300, 0, 0.5)]
    sweep.write_job(folder / "stopped", sweep.config("LO_M", 8), interrupted, "interrupted", "Stopped by Ctrl-C.")
    again = gather(jobs_of(folder))
    record.write(again, tmp_path / "record")
    record.write_up(tmp_path / "record")
    text = (tmp_path / "record" / "README.md").read_text(encoding="utf-8")
    assert "**Incomplete:** 2 of 8 jobs did not finish." in text
    assert "| LO_M | – | 7 | failed | No such file: …/file.bin |" in text
    assert "| LO_M | – | 8 | interrupted | Stopped by Ctrl-C. |" in text
    assert "somebody" not in (tmp_path / "record" / "record.json").read_text(encoding="utf-8")
    assert "2 of 8 jobs did not finish" in (tmp_path / "record" / "index.html").read_text(encoding="utf-8")


def test_jobs_without_status_or_curves_still_make_a_record(tmp_path):
    sweep.write_job(tmp_path / "jobs/one", sweep.config(), [(16, 40, 0, 0.5), (16, 40, 1, 0.6)], curves=False)
    (tmp_path / "jobs/one/job.json").unlink()
    sweep.write_job(tmp_path / "jobs/two", sweep.config(seed=1), [])
    (tmp_path / "jobs/two/job.json").unlink()
    record_of_jobs = gather(jobs_of(tmp_path / "jobs"))
    assert [job.status for job in record_of_jobs.jobs] == ["finished", "unfinished"]
    record.write(record_of_jobs, tmp_path / "record")
    record.write_up(tmp_path / "record")
    assert not (tmp_path / "record/curves.npz").exists()
    assert "Commit not recorded" in (tmp_path / "record/README.md").read_text(encoding="utf-8")


def test_a_setting_that_varies_is_a_column_and_an_axis(tmp_path):
    head = sweep.sweep_head(figure="over_setting", setting="recipe.sigma", claims=[])
    for sigma in (0.1, 0.01, 0.001):
        # The name follows: it varies too, and tells nothing more.
        settings = sweep.config(head=head, recipe={"sigma": sigma, "name": f"sigma{sigma}"})
        sweep.write_job(tmp_path / f"jobs/{sigma}", settings, [(16, 40, seed, 1 + sigma + seed) for seed in range(2)])
    gathered_again = gather(jobs_of(tmp_path / "jobs"))
    assert gathered_again.varied == ["recipe.sigma"]
    assert set(gathered_again.results["recipe.sigma"]) == {"0.1", "0.01", "0.001"}
    (panel,) = panels.panels(gathered_again)
    assert panel.numeric
    assert list(panel.points["train"].x) == [0.001, 0.01, 0.1]
    assert list(panel.points["train"]["median"]) == pytest.approx([1.501, 1.51, 1.6])


def test_baselines_that_stand_beside_every_meta_seed_count_once(tmp_path):
    for seed in (0, 1):
        folder = tmp_path / f"jobs/{seed}"
        sweep.write_job(folder, sweep.config(seed=seed), [(16, 40, 0, 0.5)])
        with (folder / "evaluation/results.csv").open("a", encoding="utf-8") as file:
            head = f"adamw,sp,mlp,fashion_mnist_8x8,16,3,40,{seed},0"
            file.writelines(f"{head},{split},0.7,finished\n" for split in SPLITS)
    rows = gather(jobs_of(tmp_path / "jobs")).trainings
    assert list(zip(rows.name, rows.meta_seed, strict=True)) == [("µLO_M", 0), ("µLO_M", 1), ("AdamW", 0)]


def test_methods_that_would_be_printed_alike_keep_their_names(gathered):
    """As a tuned AdamW and the baseline adamw beside it."""
    more = gathered.results.query("method == 'AdamW'").assign(method="adamw")
    extended = replace(gathered, results=pd.concat([gathered.results, more], ignore_index=True))
    assert list(extended.names.values()) == ["µLO_M", "LO_M", "AdamW", "adamw"]
    assert list(gathered.names.values()) == ["µLO_M", "LO_M", "AdamW"]


def test_two_jobs_of_the_same_kind_are_refused(tmp_path):
    for seeds in (1, 2):
        settings = sweep.config(evaluation={"seeds": seeds})
        sweep.write_job(tmp_path / f"with{seeds}", settings, [(16, 40, seed, 0.5) for seed in range(seeds)])
    with pytest.raises(MuloError, match=r"Two jobs hold results of µLO_M with meta-seed 0 .* with1 and with2"):
        gather(jobs_of(tmp_path))


def test_coordinate_checks_have_their_rows_and_verdicts(tmp_path):
    # Two meta-seeds of LO_M, whose deviations have the mean of the other's.
    for name, slope, seed, factor in (("µLO_M", 0.0, 0, 1.0), ("LO_M", 0.5, 0, 0.5), ("LO_M", 0.5, 1, 1.5)):
        folder = tmp_path / f"jobs/{name}{seed}"
        sweep.write_job(
            folder, sweep.config(name, seed, head=sweep.sweep_head(figure="coordinate_check", claims=[])), []
        )
        stds = {size: factor * size**slope for size in (16, 64, 256)}
        CHANGES.write(pd.concat([changes(stds, t=t) for t in (1, 10)]), folder / "coordinate_check.csv")
    record.write(gather(jobs_of(tmp_path / "jobs")), tmp_path / "record")
    record.write_up(tmp_path / "record")
    text = (tmp_path / "record/README.md").read_text(encoding="utf-8")
    assert "| LO_M | µP | MLP | 0 | 2 | 0 | 0 | +0.500 |" in text
    assert "| µLO_M | µP | MLP | 2 | 0 | 0 | 0 |" in text
    with (tmp_path / "record/results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2 * 3
    assert {row["method"] for row in rows} == {"µLO_M", "LO_M"}
    assert (tmp_path / "record/figure.png").stat().st_size > 10_000
    before = contents(tmp_path / "record")
    record.write_up(tmp_path / "record")
    assert contents(tmp_path / "record") == before


def test_coordinate_checks_belong_to_the_evaluated_task_and_data(tmp_path):
    """θ was meta-trained on MLPs; the mean of 1 and 4 at width 16 and 2 and 2 at width 64 would be stable."""
    for data, stds in (("cifar10", {16: 1.0, 64: 2.0}), ("imagenet32", {16: 4.0, 64: 2.0})):
        evaluated = {"task": {"name": "vit", "architecture": "vit"}, "data": {"name": data, "path": "x"}}
        settings = sweep.config(mode="coordinate_check", evaluation=evaluated, coordinate_check={"meta_train": True})
        sweep.write_job(tmp_path / f"jobs/{data}", settings, [])
        CHANGES.write(changes(stds), tmp_path / f"jobs/{data}/coordinate_check.csv")
    gathered = gather(jobs_of(tmp_path / "jobs"))
    assert list(gathered.changes.drop_duplicates("data").task) == ["vit", "vit"]
    assert [row[:6] for row in grids.changes(gathered).rows] == [
        ["µLO_M", "µP", "ViT on cifar10", "0", "1", "0"],
        ["µLO_M", "µP", "ViT on imagenet32", "0", "1", "0"],
    ]
    record.write(gathered, tmp_path / "record")
    record.write_up(tmp_path / "record")
    assert "on the ViT on cifar10 in µP: 0 of 1" in (tmp_path / "record/README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("missing", ["results.csv", "record.json"])
def test_a_damaged_record_is_refused(missing, gathered, tmp_path):
    record.write(gathered, tmp_path / "record")
    (tmp_path / "record" / missing).unlink()
    with pytest.raises(MuloError, match="not a complete record"):
        record.write_up(tmp_path / "record")


def test_a_record_of_another_format_is_refused(gathered, tmp_path):
    record.write(gathered, tmp_path)
    head = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))
    (tmp_path / "record.json").write_text(json.dumps(head | {"format": 99}), encoding="utf-8")
    with pytest.raises(MuloError, match="format 99; expected at most 2"):
        record.read(tmp_path)


def test_a_training_that_ends_above_its_start_has_exploded(gathered):
    """Curves start at their end plus 1.3: of µLO_M's nine at width 16 one ends at 3e5 where it began at 1.6."""
    grid = grids.losses(sweep.exploded(gathered), "train", "x")
    # In order .304 .308 .310 .314 .318 .320 .324 .328 3e5: the third, fifth and seventh.
    assert grid.rows[0][1] == "0.318 (0.310 … 0.324), 1/9 exploded"
    assert grid.best == {(0, 3), (1, 1)}


def test_where_and_when_says_which_theta_each_job_has(gathered, written, tmp_path):
    """Only where some job has one: of older records, and of baselines alone, nothing is said."""
    assert "SHA-256" not in (written / "README.md").read_text(encoding="utf-8")
    jobs = [replace(job, theta="0123456789abcdef" * 4) if job.method == "LO_M" else job for job in gathered.jobs]
    record.write(replace(gathered, jobs=jobs), tmp_path / "record")
    record.write_up(tmp_path / "record")
    assert [job.theta for job in record.read(tmp_path / "record").jobs] == [job.theta for job in jobs]
    text = (tmp_path / "record" / "README.md").read_text(encoding="utf-8").partition("## Where and when")[2]
    assert "| LO_M | – | 2 | 0123456789ab | 0123456789ab |" in text
    assert "AdamW" not in text
    assert "θ (SHA-256)" in (tmp_path / "record" / "index.html").read_text(encoding="utf-8")
