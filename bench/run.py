"""One run, from its spec to its record: build, count, evaluate untrained, train, evaluate, write."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from bench.attempt import Attempt, surroundings
from bench.data.catalog import Missing
from bench.data.catalog import find as find_data
from bench.data.prepared import Prepared, load
from bench.data.source import Source
from bench.data.view import View
from bench.errors import UserError
from bench.evaluate.evaluator import Evaluator
from bench.evaluate.native import NativeResult, evaluate_oracle
from bench.evaluate.oracle import way_of
from bench.failure import reason_of, scrub
from bench.group import ALONE, Group
from bench.initialisation import longrange
from bench.job import Job, evaluated_view, network_of, set_torch_up, trainer_of, training_view
from bench.lock import LostLeaseError
from bench.measure.cost import measure
from bench.measure.levels import level_maps
from bench.measure.longrange_record import write_longrange
from bench.predict import evaluate
from bench.progress import Reporter, Send
from bench.record import ClassScores, Metrics, Network, Scores, State, Status, Vanished
from bench.spec import size_text
from bench.stop import Stop, StoppedError
from bench.store import Store
from bench.train.checkpoints import Checkpoint, Checkpoints, Facts, Position
from bench.train.determinism import settings
from bench.train.loop import DivergedError, Trainer, fit_floor
from bench.train.saver import Saver, resume
from models.interface import SegmentationModel
from models.registry import find as find_model


def execute(job: Job, send: Send, stop: Stop | None = None, group: Group = ALONE) -> Status | None:
    """Executes a run and writes its record, also where it fails. None: another process has this run in hand.
    `group`: the processes that this one leads; where something fails in all of them, it is broken.

    A run goes on from its last checkpoint, where it has one. Raises StoppedError where `stop` asks it to leave.
    """
    store = Store(job.results)
    with store.lock(job.spec.run_id) as mine:
        if not mine:
            return None
        done = store.whole(job.spec.run_id)
        if done is not None and done.state == "done":
            Checkpoints(store.folder(job.spec.run_id) / "checkpoint", job.spec.run_id).clear()
            return done
        return _attempt(job, store, Reporter(send, stop or Stop()), mine.check, group)


def _attempt(job: Job, store: Store, report: Reporter, check: Callable[[], None], group: Group) -> Status:
    run_id = job.spec.run_id
    number = store.begin(job.spec)
    report.send({"kind": "attempt", "number": number})
    facts = surroundings(job.spec, job.device, job.threads, number, group.size)
    attempt = Attempt(number, store.folder(run_id), report, job.device, job.threads, facts, check, group)
    attempt.write(facts)
    state: State = "done"
    reason = None
    try:
        work = _network if find_model(job.spec.model).is_network else _oracle
        work(job, attempt)
    except StoppedError as stopped:
        facts["stopped"] = {"by": stopped.by, "checkpoint": stopped.place}
        attempt.write(attempt.record())
        raise
    except LostLeaseError:
        raise
    except DivergedError as error:
        state, reason = "diverged", str(error)
    except Exception as error:
        state, reason = "failed", group.why_failed(error) or reason_of(error)
        facts["traceback"] = scrub(traceback.format_exc())
    attempt.write(attempt.record())
    status = Status(run_id=run_id, state=state, attempt=number, reason=reason)
    checkpoints = Checkpoints(attempt.folder / "checkpoint", run_id, check)
    if state == "diverged":  # it starts anew, also where this process is killed before it ends
        checkpoints.clear()
    store.finish(status)
    if state == "done":  # not before: until then they are all there is; a run that failed goes on from its last
        checkpoints.clear()
    return status


def _network(job: Job, attempt: Attempt) -> None:
    set_torch_up(job)
    train = training_view(job)
    with attempt.clock.time("build", attempt.report):
        model = network_of(job, train)
    with attempt.group.follows(job):
        _trained_and_evaluated(job, attempt, model, train)
    if job.keep_weights:
        attempt.check()
        _save(model, attempt.folder / "checkpoint" / "weights.safetensors")


def _trained_and_evaluated(job: Job, attempt: Attempt, model: SegmentationModel, train: View) -> None:
    spec, clock, report = job.spec, attempt.clock, attempt.report
    val = evaluated_view(job, train)
    untrained = None
    if model.fits_statistics:
        _fit(job, attempt, model, train)
    else:
        untrained = _train(job, attempt, model, train, val)
    with clock.time("evaluate", report), level_maps(model) as maps:
        evaluator = evaluate(model, val, report.images, attempt.folder / "samples", True, attempt.group)
    attempt.facts["evaluate_images_per_s"] = len(val) / clock.facts["seconds_evaluate"]
    if maps and not spec.budget.held_out:
        with clock.time("longrange", report):
            found = longrange(spec, val, maps, job.device, job.weights)
        attempt.check()
        write_longrange(attempt.folder, found)
    at_sizes = _at_other_sizes(job, attempt, model, train)
    _write(job, attempt, evaluator, len(train), untrained, at_sizes=at_sizes)


def _at_other_sizes(job: Job, attempt: Attempt, model: SegmentationModel, train: View) -> dict[str, Scores] | None:
    """The trained network on the truth of each further size; None where there is none."""
    if not job.spec.also_at:
        return None
    with attempt.clock.time("evaluate_other_sizes", attempt.report):
        views = [evaluated_view(job, train, number) for number in range(1, 1 + len(job.others))]
        report, group = attempt.report.images, attempt.group
        return {
            size_text(other.size): _scores(evaluate(model, view, report, group=group, number=number))
            for number, (other, view) in enumerate(zip(job.spec.also_at, views, strict=True), 1)
        }


def _fit(job: Job, attempt: Attempt, model: SegmentationModel, data: View) -> None:
    """A floor: counted, and fitted in one pass."""
    _count(job, attempt, model)
    with attempt.clock.time("train", attempt.report):
        fit_floor(model, data, job.spec.recipe, attempt.report.stop.check)


def _count(job: Job, attempt: Attempt, model: SegmentationModel) -> Network:
    with attempt.clock.time("count", attempt.report):
        network = measure(model, job.spec.model, job.spec.size)
    attempt.put("network.json", network.model_dump(mode="json"))
    return network


def _train(job: Job, attempt: Attempt, model: SegmentationModel, data: View, val: View) -> Scores:
    """Trains the network, from its last checkpoint on where it has one; returns the untrained network's scores."""
    spec, report = job.spec, attempt.report
    trainer = trainer_of(job, model, data, attempt.group)
    checkpoints = Checkpoints(attempt.folder / "checkpoint", spec.run_id, attempt.check)
    found = resume(trainer, checkpoints)
    attempt.goes_on_from(found, checkpoints.damaged)
    network, untrained = _before_training(job, attempt, model, val, found)

    def facts(position: Position) -> Facts:
        place = {"steps": trainer.steps, "epochs": spec.recipe.epochs, "position": position}
        return Facts(run_id=spec.run_id, network=network, untrained=untrained, **place, **attempt.so_far())

    saver = Saver(trainer, checkpoints, job.checkpoint_minutes, report.stop, facts, attempt.clock)
    try:
        with attempt.clock.time("train", report):
            trainer.train(attempt.folder / "history.jsonl", report.step, saver.after_step)
    finally:
        attempt.facts |= _training_facts(trainer)
    return untrained


def _before_training(
    job: Job, attempt: Attempt, model: SegmentationModel, val: View, found: Checkpoint | None
) -> tuple[Network, Scores]:
    """What the network costs, and its scores before training: measured, or as a checkpoint has them."""
    if found is not None:
        attempt.put("network.json", found.facts.network.model_dump(mode="json"))
        return found.facts.network, found.facts.untrained
    network = _count(job, attempt, model)
    with attempt.clock.time("evaluate_untrained", attempt.report):
        return network, _scores(evaluate(model, val, attempt.report.images, group=attempt.group))


def _training_facts(trainer: Trainer) -> dict[str, Any]:
    facts = {"train_images_per_s": trainer.images_per_s, "seconds_waiting_for_data": round(trainer.waited, 3)}
    if trainer.nondeterministic is None:
        return facts
    return facts | {"nondeterministic": trainer.nondeterministic, "determinism": settings()}


def _oracle(job: Job, attempt: Attempt) -> None:
    """Scores what a resize does to the native truth of the prepared images: nothing is built, counted or trained."""
    spec, val, report = job.spec, load(job.val), attempt.report
    source = _native(job, val)
    network = Network.no_network(spec.model, spec.size, len(source.categories))
    attempt.put("network.json", network.model_dump(mode="json"))
    with attempt.clock.time("evaluate", report):
        way, samples = way_of(spec.model), attempt.folder / "samples"
        result = evaluate_oracle(source, val.split, val.ids, spec.size, way, spec.task, report.images, samples)
    attempt.facts["evaluate_images_per_s"] = len(val) / attempt.clock.facts["seconds_evaluate"]
    _write(job, attempt, result.evaluator, train_images=0, vanished=_vanished(result))


def _native(job: Job, val: Prepared) -> Source:
    """The dataset's own files. Raises UserError where they are not those that were prepared."""
    assert job.roots is not None
    found = find_data(job.spec.dataset, job.roots)
    if isinstance(found, Missing):
        raise UserError(f"{found.name}: {found.what}; {found.how}")
    source = found.for_task(job.spec.task)
    if source.fingerprint(val.split) != val.manifest["fingerprint"]:
        raise UserError(f"the annotations of {found.name} have changed since they were prepared; run the suite again")
    return source


def _vanished(result: NativeResult) -> Vanished:
    lost = {name: loss._asdict() for name, loss in vars(result.lost).items()}
    return Vanished.model_validate({"truth_hash": result.truth_hash, **lost})


def _write(
    job: Job,
    attempt: Attempt,
    evaluator: Evaluator,
    train_images: int,
    untrained: Scores | None = None,
    vanished: Vanished | None = None,
    at_sizes: dict[str, Scores] | None = None,
) -> None:
    metrics = Metrics(
        protocol=job.spec.protocol,
        train_images=train_images,
        final=_scores(evaluator),
        untrained=untrained,
        classes=tuple(ClassScores(**row) for row in evaluator.classes()),
        vanished=vanished,
        protocols=evaluator.protocols(),
        at_sizes=at_sizes,
    )
    attempt.check()
    evaluator.write_images(attempt.folder / "images.parquet")
    attempt.put("metrics.json", metrics.model_dump(mode="json"))


def _save(model: SegmentationModel, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    beside = target.with_suffix(".tmp")
    save_file(state, beside)
    with beside.open("rb+") as file:
        os.fsync(file.fileno())
    beside.replace(target)


def _scores(evaluator: Evaluator) -> Scores:
    return Scores.model_validate(evaluator.metrics())
