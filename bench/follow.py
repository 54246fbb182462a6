"""What the other processes of a run do: train and evaluate the same network on their share, as the first tells them."""

from __future__ import annotations

from dataclasses import replace

from bench.group import Group
from bench.job import Job, evaluated_view, network_of, set_torch_up, trainer_of, training_view
from bench.predict import evaluate_share
from bench.train.loop import TRAIN


def follow(group: Group) -> None:
    """Run by run, until the first process says that there is none."""
    while (job := group.tell()) is not None:
        _follow_run(replace(job, device=group.device(job.device)), group)


def _follow_run(job: Job, group: Group) -> None:
    set_torch_up(job)
    train = training_view(job)
    model = network_of(job, train)
    trainer = trainer_of(job, model, train, group)
    while (task := group.tell()) is not None:
        if task == TRAIN:
            trainer.follow()
        else:
            evaluate_share(model, evaluated_view(job, train, task), group)
