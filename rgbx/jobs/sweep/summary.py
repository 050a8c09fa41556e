"""The end of a sweep: ranking, importances, the best trial, and where all that lies."""

from rgbx.jobs.folder import JobFolder
from rgbx.jobs.sweep.ranking import (
    draw_importances,
    ranked,
    ranking_text,
    write_importances,
    write_ranking,
)
from rgbx.jobs.sweep.run import INITIAL_FAILURES, Plan
from rgbx.jobs.sweep.study import SweepStudy

__all__ = ["report_sweep"]


def report_sweep(plan: Plan, study: SweepStudy) -> int:
    """Print and write what came of a sweep; returns the exit status."""
    records = study.records()
    ended = [record for record in records if record.ended]
    if not ended:
        print("No trial has ended.")
        return 0
    plan.output.mkdir(parents=True, exist_ok=True)
    print(ranking_text(records, plan.file))
    write_ranking(records, plan.file, plan.output / "ranking.csv")
    _report_importances(plan, study)
    _report_best(plan, study)
    print(f"written to {plan.output}")
    failed = sum(record.state == "failed" for record in ended)
    if failed == len(ended) and failed >= INITIAL_FAILURES and failed < plan.count:
        print(f"Stopped: the first {failed} trials all failed. Mend that, then add --retry_failed.")
    return 1 if failed else 0


def _report_importances(plan: Plan, study: SweepStudy) -> None:
    importances = study.importances()
    if not importances:
        print("importance: cannot be said before two trials are done that score differently")
        return
    listed = ", ".join(f"{name} {100 * share:.0f} %" for name, share in importances.items())
    done = sum(record.state == "done" for record in study.records())
    print(f"importance (PED-ANOVA, {done} trials): {listed}")
    write_importances(importances, plan.output / "importance.csv")
    title = f"What {plan.file.metric.name} depends on ({plan.file.path.stem}, {done} trials)"
    draw_importances(importances, title, plan.output / "importance.png")


def _report_best(plan: Plan, study: SweepStudy) -> None:
    maximize = plan.file.metric.maximize
    best = ranked(study.records(), maximize)[0]
    score = best.best(maximize)
    if score is None:
        return
    folder = JobFolder(plan.output / f"trial_{best.number:04d}")
    print(f"best: trial {best.number}, {plan.file.metric.name} {score:.6g}")
    checkpoint = folder.chosen
    if checkpoint is not None:
        config = folder.run / "config.yaml"
        print(f"  rgbx test --config {config} --ckpt_path {checkpoint}")
