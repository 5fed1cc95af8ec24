"""Objectives, seen on a whole model: each is the best at what it is for."""

from __future__ import annotations

from functools import cache

import pytest
from built import M4
from shared import SHARED, needs_shared

from codegen.choose import FLASH_RATIO, OBJECTIVES, options
from codegen.lower import build_program, layer_of, weight_bytes
from codegen.program import Program
from edgekit import importers
from edgekit.graph import Graph


@cache
def keyword_spotting() -> Graph:
    return importers.load(SHARED / "models" / "kws_ref_model.tflite")


@cache
def program(objective: str) -> Program:
    return build_program(keyword_spotting(), M4.target, optimize=objective)


@needs_shared
def test_each_objective_is_the_best_at_its_own() -> None:
    arenas = {o: program(o).arena_bytes for o in OBJECTIVES}
    assert min(arenas.values()) == arenas["ram"] < arenas["balanced"]
    assert len(program("size").constants) <= len(program("balanced").constants)
    assert len(program("balanced").constants) <= FLASH_RATIO * weight_bytes(keyword_spotting())
    assert len(program("speed").constants) > len(program("balanced").constants)


@needs_shared
def test_the_runner_up_is_named_with_its_cost() -> None:
    call = program("balanced").calls[2]
    assert call.variant == "rows_5x1"
    assert "instructions" in call.runner_up and "B of constants" in call.runner_up


@needs_shared
@pytest.mark.parametrize("node", [0, 1, 2, 9])
def test_candidates_know_their_cost(node: int) -> None:
    graph = keyword_spotting()
    for option in options(layer_of(graph, graph.nodes[node]), M4.target):
        cost = option.candidate.cost
        assert cost is not None and 0 < cost.instructions <= cost.cycles
        assert sum(option.code.values()) > 0
