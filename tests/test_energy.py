"""Energy per layer from traces whose energy is known: any phase, any analyser, or no figure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from energy_traces import Signal, joulescope, otii, ppk2, runs_of, sample
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.cli import main
from edgekit.devices.firmware.build import build_firmware
from edgekit.devices.firmware.image import load_elf
from edgekit.devices.trace import profile_json
from edgekit.energy import Columns, PowerTrace, Timing, energy, read_trace
from edgekit.energy.account import Energy, load_profile
from edgekit.errors import EdgekitError
from targets import board

LAYERS = (0.004, 0.0007, 0.011)
CURRENTS = (0.010, 0.030, 0.020)
VOLTS = 3.0
TIMING = Timing(("conv", "add", "dense"), LAYERS)
EXPECTED = [1e6 * s * i * VOLTS for s, i in zip(LAYERS, CURRENTS, strict=True)]


def trace_of(signal: Signal, rate: float, phase: float = 0.3, end: float = 0.0) -> PowerTrace:
    at, amperes, level = sample(signal, rate, phase, end or signal.changes[-1][0] + 0.003)
    return PowerTrace(at, amperes, None, level)


def check(found: Energy, layers: tuple[float, ...], amperes: tuple[float, ...]) -> None:
    """Each figure is right to the sample or, beside missed edges, the two that are not known."""
    sample_uj = max(amperes) * found.interval * VOLTS * 1e6
    for layer, seconds, current in zip(found.layers, layers, amperes, strict=True):
        if layer.energy_uj is None:
            assert "too short for this analyser" in layer.why
            if "are needed" in layer.why:
                assert seconds < (32 if "30 are needed" in layer.why else 12) * found.interval
            else:  # beside one that was missed
                assert min(layers) < 2.2 * found.interval
            continue
        step = sample_uj * (1 if found.edges % (len(layers) + 1) == 0 else 3)
        true = 1e6 * seconds * current * VOLTS
        assert layer.min_uj is not None and layer.max_uj is not None
        step *= 1 + 1e-9
        assert true - step <= layer.min_uj <= layer.max_uj <= true + step
        assert true - step <= layer.energy_uj <= true + step


def test_energy_of_each_layer() -> None:
    found = energy("b", TIMING, trace_of(runs_of(LAYERS, CURRENTS, 5), 100e3), VOLTS)
    assert (found.runs, found.refused) == (5, ())
    check(found, LAYERS, CURRENTS)
    assert [x.energy_uj for x in found.layers] == pytest.approx(EXPECTED, rel=0.02)
    assert found.whole.energy_uj == pytest.approx(sum(EXPECTED), rel=0.002)
    assert [x.current_ma for x in found.layers] == pytest.approx([10, 30, 20], rel=0.02)
    assert found.layers[1].samples == pytest.approx(70, abs=1)


@given(
    st.lists(st.tuples(st.floats(2e-5, 6e-3), st.floats(2e-3, 0.1)), min_size=1, max_size=9),
    st.sampled_from([2e4, 1e5, 1e6]),
    st.floats(0, 1),
    st.integers(1, 4),
    st.floats(0.985, 1.015),
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_figure_is_right_or_missing(
    layers: list[tuple[float, float]], rate: float, phase: float, runs: int, clock: float
) -> None:
    """Layers shorter than a sample vanish from the signal; the analyser's clock is another one."""
    seconds, amperes = zip(*layers, strict=True)
    timing = Timing(tuple(f"l{i}" for i in range(len(layers))), tuple(s * clock for s in seconds))
    trace = trace_of(runs_of(seconds, amperes, runs), rate, phase)
    try:
        found = energy("b", timing, trace, VOLTS)
    except EdgekitError as error:
        assert error.code == "E667"
        assert min(seconds) < 4 / rate  # something of it cannot be seen
        return
    assert found.runs <= runs
    check(found, seconds, amperes)


def test_an_analyser_too_slow_for_one_layer() -> None:
    layers, amperes = (0.004, 5e-6, 0.003, 0.002), (0.01, 0.05, 0.02, 0.03)
    timing = Timing(("a", "tiny", "c", "d"), layers)
    found = energy("b", timing, trace_of(runs_of(layers, amperes, 4), 50e3), VOLTS)
    assert found.runs == 4
    assert found.layers[1].energy_uj is None
    assert "0." in found.layers[1].why and "samples of 20 us, 30 are needed" in found.layers[1].why
    assert found.layers[2].energy_uj == pytest.approx(1e6 * 0.003 * 0.02 * VOLTS, rel=0.01)
    last = Timing(("a", "c", "tiny"), (0.004, 0.003, 5e-6))
    signal = runs_of((0.004, 0.003, 5e-6), (0.01, 0.02, 0.05), 4)
    found = energy("b", last, trace_of(signal, 50e3), VOLTS)
    assert found.runs >= 3 and found.layers[0].energy_uj is not None
    assert found.whole.energy_uj is None and "its start or end was missed" in found.layers[1].why


def test_pulses_that_are_no_run_are_left_out() -> None:
    whole = runs_of(LAYERS, CURRENTS, 3, start=0.004)
    glitches = ((0.0004, True), (0.0005, False), (0.0009, True), (0.0013, False))
    found = energy("b", TIMING, trace_of(Signal(glitches + whole.changes, whole.currents), 1e5), 3)
    assert (found.runs, len(found.refused)) == (3, 2)
    assert (
        "edge 1 of 4 found, the next after 100.0 us; the profile has 4000.0 us for 'conv'"
        in (found.refused[0])
    )
    cut = energy("b", TIMING, trace_of(whole, 1e5, end=whole.changes[-2][0]), VOLTS)
    assert cut.runs == 2
    assert "then the recording ends" in cut.refused[0]


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (LAYERS[:2], "no whole run"),
        ((*LAYERS, 0.002), "no whole run of 4 layers"),
        ((0.004, 0.0012, 0.011), "the profile has 1200.0 us for 'l1'"),
    ],
)
def test_another_model_is_refused(layers: tuple[float, ...], said: str) -> None:
    timing = Timing(tuple(f"l{i}" for i in range(len(layers))), layers)
    with pytest.raises(EdgekitError) as caught:
        energy("b", timing, trace_of(runs_of(LAYERS, CURRENTS, 3), 1e5), VOLTS)
    assert caught.value.code == "E667"
    assert said in str(caught.value)


def test_without_edges_or_voltage() -> None:
    flat = PowerTrace(np.arange(9.0), np.ones(9), None, np.zeros(9, bool))
    with pytest.raises(EdgekitError, match="the trace has 0 edges") as caught:
        energy("b", TIMING, flat, VOLTS)
    assert caught.value.code == "E667"
    with pytest.raises(EdgekitError, match="no column for the voltage") as caught:
        energy("b", TIMING, flat)
    assert "--voltage" in caught.value.help


# ---- from the device to the figures

SET, CLEAR, PIN = 0x5000_0508, 0x5000_050C, 1 << 5


def test_from_the_boards_pin_to_energy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The pin's writes on the virtual board make the trace that an analyser would record."""
    from devices.odd_boards import OddBoard

    on = board("virtual-cortex-m4")
    pin = {"EK_TRIGGER_SET": f"{SET:#x}u", "EK_TRIGGER_CLEAR": f"{CLEAR:#x}u",
           "EK_TRIGGER_MASK": f"{PIN}u", "EK_TRIGGER_CLEAR_SHIFT": "0",
           "FAKE_LOOPS": "20u"}  # fmt: skip
    app = Path(__file__).parent / "devices" / "app" / "fake_app.c"
    firmware = build_firmware([app], on, defines=pin, trigger=True)
    machine = OddBoard(on, load_elf(firmware.elf))
    writes: list[tuple[float, bool]] = []

    def write(_engine: object, offset: int, _size: int, value: int, _user: object) -> None:
        if value & PIN:
            writes.append((machine.machine.cycles_now() / on.clock_hz, offset == SET & 0xFFF))

    machine._map(SET & ~0xFFF, 0x1000, lambda *_: 0, write)
    data = bytes(600)
    with machine.session() as session:
        assert session.hello().layers == 3
        assert writes == []  # calibration is not seen
        profile = session.profile([data], repeat=4, warm_up=1)
    assert [high for _, high in writes] == [True, False] * 10  # 5 runs of 4 edges
    layers = [value / on.clock_hz for value in profile.layers]
    gaps = np.diff([t for t, _ in writes]).reshape(-1)
    assert min(gaps[3::4]) > 0.001  # between two runs
    for n in range(5):
        assert gaps[4 * n : 4 * n + 3] == pytest.approx(layers, rel=0.02, abs=1e-6)
    changes = [(0.001 + t, high) for t, high in writes]
    amperes = (0.012, 0.031, 0.018)
    currents = [(0.0, 0.001)]
    for n in range(5):
        currents += [
            (t, i) for (t, _), i in zip(changes[4 * n : 4 * n + 4], (*amperes, 0.001), strict=True)
        ]
    signal = Signal(tuple(changes), tuple(currents))
    figures = {**profile_json(profile, ["first", "second", "third"]), "trigger": True}
    (tmp_path / "p.json").write_text(json.dumps(figures))
    true = [1e6 * s * i * 3.0 for s, i in zip(layers, amperes, strict=True)]
    end = changes[-1][0] + 0.002
    slow, fast = sample(signal, 1e5, 0.4, end), sample(signal, 1e6, 0.4, end)
    for path, enough in (
        (ppk2(tmp_path / "bundled.csv", *slow, pin=3), (False, True, False)),
        (ppk2(tmp_path / "apart.csv", *slow, bundled=False, pin=3), (False, True, False)),
        (joulescope(tmp_path / "fast.csv", *fast, 3.0), (True, True, True)),
    ):
        out = tmp_path / "e.json"
        arguments = ["energy", str(tmp_path / "p.json"), str(path), "--voltage", "3.0"]
        assert main([*arguments, "--json", str(out)]) == 0, capsys.readouterr().err
        said = capsys.readouterr().out
        found = json.loads(out.read_text())
        assert (found["runs"], found["refused"], found["board"]) == (5, [], on.name)
        one_sample = 1e6 * 3.0 * 0.03 * found["interval"]
        for layer, energy_uj, known in zip(found["layers"], true, enough, strict=True):
            assert (f"no figure for '{layer['name']}': too short" in said) == (not known)
            if known:
                assert layer["energy_uj"] == pytest.approx(energy_uj, abs=one_sample)
            else:
                assert layer["energy_uj"] is None


# ---- the files

AT, DRAWN, LEVEL = sample(runs_of(LAYERS, CURRENTS, 2), 20e3, 0.3, 0.04)


def test_the_forms_that_analysers_export(tmp_path: Path) -> None:
    for path in (
        ppk2(tmp_path / "a.csv", AT, DRAWN, LEVEL),
        ppk2(tmp_path / "b.csv", AT, DRAWN, LEVEL, bundled=False, pin=7),
        joulescope(tmp_path / "c.csv", AT, DRAWN, LEVEL, VOLTS),
        otii(tmp_path / "d.csv", AT, DRAWN, LEVEL, VOLTS),
    ):
        found = read_trace(path)
        np.testing.assert_allclose(found.seconds, AT, atol=1e-8)
        np.testing.assert_allclose(found.amperes, DRAWN, rtol=1e-6)
        np.testing.assert_array_equal(found.trigger, LEVEL)
        if path.name > "c":
            assert found.volts is not None
            np.testing.assert_allclose(found.volts, VOLTS)
        else:
            assert found.volts is None


def test_columns_by_name(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("when [us]\tload [nA]\tvdd (mV)\tA\tB\n0\t5\t3000\t1\t0\n100\t6\t3000\t0\t1\n")
    with pytest.raises(EdgekitError, match="no column for the time") as caught:
        read_trace(path)
    assert "when [us], load [nA]" in caught.value.details[0]
    assert "--time-column" in caught.value.help
    with pytest.raises(EdgekitError, match="no column 'wen'") as caught:
        read_trace(path, Columns(time="wen"))
    found = read_trace(path, Columns("when", "load [nA]", "vdd", "b"))
    assert found.seconds.tolist() == pytest.approx([0, 1e-4])
    assert found.amperes.tolist() == pytest.approx([5e-9, 6e-9])
    assert found.volts is not None and found.volts.tolist() == [3, 3]
    assert found.trigger.tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", "E665", "is empty"),
        ("\n\n", "E665", "is empty"),
        ("time,current,D0\n0,1,0\n", "E665", "has 1 samples, 2 are needed"),
        ("time,current,D0\n0,1,0\n1,x,0\n", "E665", "line 3: 'current' is no number: 'x'"),
        ("time,current,D0\n0,1,0\n1,nan,0\n", "E665", "line 3: 'current' is no number"),
        ("time,current,D0\n0,1,0\n\n1,2\n", "E665", "line 4: 2 of 3 columns: '1,2'"),
        ("time,current,D0\n0,1,0\n1,1,0\n1,1,0\n", "E665", "sample 3 (line 4 or later) is at 1 s"),
        ("time,current,D0\n0,1,0\n1,1,high\n", "E665", "'high' in column 'D0' is no level"),
        (
            "time,current,D0-D7\n0,1,01\n1,1,01\n",
            "E665",
            "0 or 1 in every line; sample 1 of 2 has '01'",
        ),
        ("time,current,D0-D1\n0,1,01\n1,1,0\n", "E665", "sample 2 of 2 has '0'"),
        ("time (weeks),current,D0\n0,1,0\n", "E666", "has the unit 'weeks', expected one of s, ms"),
        ("time,voltage,D0\n0,1,0\n", "E666", "no column for the current"),
        ("time,current,x\n0,1,0\n", "E666", "no column for the trigger"),
        ("time,current,D0,D1\n0,1,0,1\n1,1,1,0\n", "E666", "2 pins that move, 1 is needed: D0, D1"),
        ("time,current,D0,D1\n0,1,0,1\n1,1,0,1\n", "E666", "0 pins that move, 1 is needed"),
    ],
)
def test_bad_traces(tmp_path: Path, text: str, code: str, said: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(EdgekitError) as caught:
        read_trace(path)
    assert caught.value.code == code
    assert said in caught.value.message


def test_files_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"\x89PNG\xff\xfe")
    for broken in (path, tmp_path / "missing.csv", tmp_path):
        with pytest.raises(EdgekitError, match="cannot read trace") as caught:
            read_trace(broken)
        assert caught.value.code == "E665"


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_bytes_are_a_trace_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, body: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    for head in (b"", b"time (ms),current (mA),D0\n0,1,0\n", b"t;i;D0-D7\n0;1;00000000\n"):
        path.write_bytes(head + body)
        try:
            found = read_trace(path)
        except EdgekitError as error:
            assert error.code in ("E665", "E666")
        else:
            assert len(found.seconds) == len(found.trigger) == len(found.amperes) >= 2


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_one_damaged_byte(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Cut anywhere: read up to there or refused; never another shape."""
    path = tmp_path_factory.getbasetemp() / "damaged.csv"
    body = ppk2(path, AT[:20], DRAWN[:20], LEVEL[:20]).read_bytes()
    path.write_bytes(body[: data.draw(st.integers(0, len(body)))])
    try:
        found = read_trace(path)
    except EdgekitError as error:
        assert error.code in ("E665", "E666")
    else:
        assert len(found.seconds) == len(found.trigger) <= 20


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{", "cannot read profile"),
        ("[]", "cannot read profile"),
        ('{"hz": 1e6, "layers": []}', "firmware that moves no pin"),
        ('{"hz": 1e6, "trigger": true, "board": "b", "layers": []}', "no layers"),
        ('{"hz": null, "unit": "instructions", "layers": []}', "has instructions and no time"),
        ('{"hz": 0, "trigger": true, "board": "b", "layers": [{"name": "a", "value": 1}]}', "Zero"),
        ('{"hz": 1, "trigger": true, "layers": [{"name": "a", "value": "x"}]}', "ValueError"),
    ],
)
def test_bad_profiles(tmp_path: Path, body: str, said: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(body)
    with pytest.raises(EdgekitError, match="profile") as caught:
        load_profile(path)
    assert caught.value.code == "E668"
    assert said in caught.value.message
    with pytest.raises(EdgekitError, match="No such file"):
        load_profile(tmp_path / "missing.json")


def test_the_command_refuses_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["energy", str(tmp_path / "p.json"), str(tmp_path / "t.csv")]) == 1
    assert capsys.readouterr().err.startswith("error: E668 ")
    assert main(["energy", "p", "t", "--voltage", "0"]) == 2
