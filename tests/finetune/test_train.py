"""The training loop: what it takes, what it refuses, what it gives."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from quantizer_small import Builder, network, samples
from torches import need_torch

from edgekit.data import quantize_inputs
from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from edgekit.ops.convert import dequantize
from edgekit.reference import run

torch = need_torch()
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from finetune import DEPLOYED, Distillation, fine_tune  # noqa: E402
from quantizer import quantize  # noqa: E402


def divergence(graph: Graph, teacher: Graph, feeds: dict[str, np.ndarray]) -> float:
    """Mean Kullback-Leibler divergence from the teacher's probabilities."""
    p, q = (run(g, feeds)[g.outputs[0]].astype(np.float64) + 1e-9 for g in (teacher, graph))
    return float((p * np.log(p / q)).sum(axis=1).mean())


def blurred(graph: Graph, spread: float = 0.1) -> Graph:
    """The graph with noise on its weights."""
    rng = np.random.default_rng(0)
    out = graph.copy()
    for name, x in graph.constants.items():
        out.constants[name] = x + rng.normal(0, spread, x.shape).astype(np.float32)
    return out


def sgd(params: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, 0.02, momentum=0.9)


def lbfgs(params: Any) -> torch.optim.Optimizer:
    return torch.optim.LBFGS(params, lr=0.1, max_iter=5)


@pytest.mark.parametrize("optimizer", [None, sgd, lbfgs])
def test_a_student_comes_closer_to_its_teacher(optimizer: Any) -> None:
    teacher, data = network(), samples(128)
    student = blurred(teacher)
    kept = {name: x.copy() for name, x in student.constants.items()}
    tuned = fine_tune(student, data, teacher=teacher, optimizer=optimizer, epochs=12)
    assert divergence(tuned, teacher, data) < 0.5 * divergence(student, teacher, data)
    for name, x in kept.items():
        np.testing.assert_array_equal(student.constants[name], x)


def test_same_seed_same_bytes_and_the_callers_generator_is_left_alone() -> None:
    torch.manual_seed(7)
    want = torch.rand(1)
    torch.manual_seed(7)
    runs = [
        fine_tune(network(), samples(), teacher=network(5), epochs=2, seed=seed)
        for seed in (3, 3, 4)
    ]
    assert torch.rand(1) == want
    same = [
        all(np.array_equal(runs[0].constants[k], r.constants[k]) for k in runs[0].constants)
        for r in runs
    ]
    assert same == [True, True, False]


def test_forms_of_data_are_equal() -> None:
    x = samples(48)["image"]
    y = (np.arange(48) % 5).astype(np.int64)
    parts = [(x[i : i + 16], y[i : i + 16]) for i in range(0, 48, 16)]
    tensors = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    forms: list[Any] = [
        parts,
        [{"image": a, "label": b} for a, b in parts],
        DataLoader(tensors, batch_size=16),
    ]
    found = [fine_tune(network(), form, teacher=network(5), epochs=2) for form in forms]
    for other in found[1:]:
        for name, data in found[0].constants.items():
            np.testing.assert_array_equal(other.constants[name], data)


def test_images_in_the_declared_layout() -> None:
    graph, x = network(), samples(16)["image"]
    graph.metadata["layout"] = {"image": "NCHW"}
    a = fine_tune(graph, [x], teacher=network(5), epochs=1)
    b = fine_tune(graph, [np.ascontiguousarray(x.transpose(0, 3, 1, 2))],
                  teacher=network(5), epochs=1)  # fmt: skip
    np.testing.assert_array_equal(a.constants["w0"], b.constants["w0"])


def test_labels_alone_teach() -> None:
    data, student = samples(64), network()
    labels = (run(student, data)["softmax_8"].argmax(axis=1) + 1) % 5
    tuned = fine_tune(
        student, {**data, "label": labels}, loss=Distillation(label_weight=1.0), epochs=30,
        optimizer=lambda params: torch.optim.Adam(params, 1e-2),
    )  # fmt: skip
    before, after = (
        (run(g, data)["softmax_8"].argmax(1) == labels).mean() for g in (student, tuned)
    )
    assert before == 0 and after > 0.9


def test_values_are_distilled_where_nothing_is_a_class() -> None:
    def regression(seed: int) -> Graph:
        b = Builder(seed)
        x = b.input("x", 1, 6)
        h = b.node("fully_connected", x, b.constant("w", 8, 6), b.constant("b", 8), clamp=[0, None])
        return b.done(b.node("fully_connected", h, b.constant("v", 3, 8), b.constant("c", 3)))

    x = {"x": np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)}
    tuned = fine_tune(regression(0), x, teacher=regression(1), epochs=200, batch_size=64,
                      optimizer=lambda p: torch.optim.Adam(p, 1e-2))  # fmt: skip
    want, have, was = (run(g, x)[g.outputs[0]] for g in (regression(1), tuned, regression(0)))
    assert np.square(have - want).mean() < 0.1 * np.square(was - want).mean()


FOUR = {"weight_bits": {"*": 4, "conv2d_0": 4, "depthwise_conv2d_1": 4, "fully_connected_7": 4},
        "ranges": "minmax"}  # fmt: skip


def integer_error(graph: Graph, want: np.ndarray, data: dict[str, np.ndarray], **how: Any) -> float:
    """Mean squared error of the scores of the graph with four-bit weights."""
    integer = quantize(graph, data, **{**FOUR, **how}).graph
    score = integer.nodes[-1].inputs[0]
    have = run(integer, quantize_inputs(integer, data), keep={score})[score]
    return float(np.square(dequantize(integer.values[score], have) - want).mean())


def scores(graph: Graph, data: dict[str, np.ndarray]) -> np.ndarray:
    return run(graph, data, keep="all")[graph.nodes[-1].inputs[0]]


def test_training_through_the_integers_lowers_their_error() -> None:
    teacher, data = network(), samples(128)
    student, want = blurred(teacher, 0.05), scores(teacher, data)
    tuned = fine_tune(
        student, data, teacher=teacher, quantization=FOUR, calibration=data, epochs=12,
        loss=Distillation(values=True), optimizer=lambda params: torch.optim.Adam(params, 3e-3),
    )  # fmt: skip
    before, after = integer_error(student, want, data), integer_error(tuned, want, data, **DEPLOYED)
    assert after < 0.4 * before


def test_the_best_epoch_is_kept() -> None:
    """Steps that only do harm leave the start."""
    graph, data = network(), samples(64)
    tuned = fine_tune(
        graph, data, epochs=3, loss=lambda ours, theirs, labels: (ours[0] - theirs[0]).abs().mean(),
        optimizer=lambda params: torch.optim.SGD(params, 0.1, weight_decay=0.5),
    )  # fmt: skip
    for name, x in graph.constants.items():
        np.testing.assert_array_equal(tuned.constants[name], x)


def test_training_starts_from_the_post_training_quantizer() -> None:
    graph, data = network(), samples(128)
    still = fine_tune(
        graph, data, quantization=FOUR, calibration=data, epochs=1,
        optimizer=lambda params: torch.optim.SGD(params, 0.0),
    )  # fmt: skip
    want = scores(graph, data)
    start, nearest = (integer_error(g, want, data, **DEPLOYED) for g in (still, graph))
    assert start == pytest.approx(integer_error(graph, want, data), rel=0.1)
    assert start < 0.7 * nearest


def test_progress_ends_at_one() -> None:
    seen: list[tuple[str, float]] = []
    fine_tune(network(), samples(40), epochs=2, progress=lambda t, s: seen.append((t, s)))
    assert len(seen) == 4 and seen[-1][1] == 1.0
    assert [s for _, s in seen] == sorted(s for _, s in seen)
    assert seen[-1][0].startswith("epoch 2 of 2, loss ")


def test_interruption_leaves_the_graph_alone() -> None:
    def stop(text: str, share: float) -> None:
        raise KeyboardInterrupt

    graph = network()
    kept = {name: x.copy() for name, x in graph.constants.items()}
    with pytest.raises(KeyboardInterrupt):
        fine_tune(graph, samples(), teacher=network(5), progress=stop)
    for name, x in kept.items():
        np.testing.assert_array_equal(graph.constants[name], x)


def refused(code: str, **arguments: Any) -> EdgekitError:
    given: dict[str, Any] = {"graph": network(), "data": samples(), "epochs": 1, **arguments}
    with pytest.raises(EdgekitError) as error:
        fine_tune(given.pop("graph"), given.pop("data"), **given)
    assert error.value.code == code, error.value
    return error.value


def test_a_diverging_loss_is_refused() -> None:
    def wild(params: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(params, 3e38)

    found = refused("E263", teacher=network(5), optimizer=wild, epochs=3)
    assert re.match(r"the loss is (inf|nan) in epoch \d, step \d", found.message)
    assert "learning rate" in found.help


def test_nan_in_the_weights_behind_the_last_step_is_refused() -> None:
    class Breaking(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            loss = super().step(closure)
            self.param_groups[0]["params"][0].data[0] = float("nan")
            return loss

    found = refused("E263", optimizer=lambda p: Breaking(p, 0.1), batch_size=1000)
    assert "conv2d_0.weight" in found.message


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("E202", {"data": {"image": np.zeros((4, 8, 8, 3), np.float32)}}),
        ("E202", {"data": [np.zeros((4, 8, 8, 3), np.float32)]}),
        ("E201", {"data": {"picture": np.zeros((4, 8, 8, 2), np.float32)}}),
        ("E204", {"data": [np.full((4, 8, 8, 2), np.nan, np.float32)]}),
        ("E262", {"data": 3}),
        ("E262", {"data": []}),
        ("E262", {"data": (x for x in [samples()["image"]])}),
        ("E262", {"data": [(1, 2, 3)]}),
        ("E264", {"teacher": "other input"}),
        ("E265", {"data": {**samples(8), "label": np.full(8, 5)}}),
        ("E265", {"data": {**samples(8), "label": np.full(8, -1)}}),
        ("E265", {"data": {**samples(8), "label": np.zeros(7, np.int64)}}),
        ("E265", {"data": {**samples(8), "label": np.zeros(8, np.float32)}}),
        ("E266", {"epochs": 0}),
        ("E266", {"batch_size": 0}),
        ("E266", {"optimizer": lambda params: None}),
        ("E207", {"data": [samples()["image"]], "quantization": {}}),
        ("E205", {"data": samples(4), "quantization": {}}),
        ("E211", {"quantization": {"weight_bits": 5}}),
        ("E266", {"quantization": {"rounding": "gptq"}}),
    ],
)  # fmt: skip
def test_refusals(code: str, arguments: dict[str, Any]) -> None:
    if arguments.get("teacher"):
        b = Builder()
        b.done(b.node("softmax", b.input("other", 1, 5)))
        arguments = {"teacher": b.graph}
    assert refused(code, **arguments).help


def test_a_loader_that_runs_dry_is_refused() -> None:
    class Once:
        def __init__(self) -> None:
            self.left = 2

        def __iter__(self) -> Any:
            self.left -= 1
            return iter([samples()["image"]] if self.left >= 0 else [])

    assert "2. time" in refused("E262", data=Once(), epochs=3).message


def test_teachers_with_other_outputs_are_refused() -> None:
    b = Builder()
    x = b.node("reshape", b.input("image", 1, 8, 8, 2), shape=[1, 128])
    b.done(b.node("fully_connected", x, b.constant("w", 3, 128), b.constant("c", 3)))
    assert "[1, 3]" in refused("E264", teacher=b.graph).message


@pytest.mark.parametrize("setting", [{"temperature": 0.0}, {"label_weight": 1.5}])
def test_settings_of_the_loss(setting: dict[str, float]) -> None:
    with pytest.raises(EdgekitError) as error:
        Distillation(**setting)
    assert error.value.code == "E266"
